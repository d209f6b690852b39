"""Commands that look: `sample`, `evaluate`, `report`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from rich.console import Console
from rich.table import Table

from scoreward.commands.again import Precision, trained
from scoreward.commands.gap import show
from scoreward.core.chain import draw
from scoreward.core.denoiser import Denoiser, Guided, InPrecision
from scoreward.core.device import chosen, placed
from scoreward.core.keys import Key, normal_each
from scoreward.core.rows import moved
from scoreward.methods.sampling import Sampling
from scoreward.models.base import Model
from scoreward.records.fields import Fields
from scoreward.records.reading import gap_record
from scoreward.report import write_report
from scoreward.report.run.gap import points
from scoreward.tasks import task
from scoreward.tasks.builtin import BuiltIn, HeldOut
from scoreward.training.checkpoint import CheckpointError, newest, read_snapshot, read_tensors
from scoreward.training.evaluations.pictures import evaluate as measure
from scoreward.training.evaluations.pictures import measure_gap
from scoreward.training.folder import LARGEST, RunFolder, save_grid, stills
from scoreward.training.team import Team

console = Console()


@dataclass(frozen=True)
class Which:
    """Which weights: the shipped ones, those of a run, or a file."""

    run: Path | None = None  # a run folder; its newest checkpoint's averaged weights
    weights: Path | None = None  # a safetensors file of the built-in model
    built_in: Literal["portraits", "lettering", "emoji"] = "portraits"  # without a run: which model
    guidance: float = 1.0  # classifier-free guidance; 1 is none
    device: str = "auto"  # cpu, cuda, cuda:1, mps …; auto: the accelerator torch sees, else the CPU

    def model(self) -> Model:
        """The model with these weights."""
        return self.opened()[0]

    def opened(self) -> tuple[Model, Precision]:
        """The same, and what its network computes in."""
        if self.run is not None:
            return _of_run(self.run)
        if self.weights is not None:
            return _fitting(read_tensors(self.weights), str(self.weights), self.built_in), None
        return built_in(self.built_in).open(None), None

    def task(self) -> BuiltIn:
        """Whose prompts and scorers fit the model."""
        if self.run is None:
            return built_in(self.built_in)
        name = RunFolder(self.run).told().recipe.partition("_")[0]
        return built_in(name if name in DRAWN else "portraits")

    def denoiser(self, model: Model, precision: Precision) -> Denoiser:
        """The denoiser, guided if asked."""
        plain = InPrecision(model.denoiser, precision)
        return plain if self.guidance == 1.0 else Guided(plain, self.guidance, model.null)


def _of_run(folder: Path) -> tuple[Model, Precision]:
    """The model of a run with its newest averaged weights, adapters included."""
    about, path = RunFolder(folder).told(), newest(folder / "checkpoints")
    if path is None or about.origin_recipe:
        return trained(folder)
    return _fitting(read_snapshot(path, "ema"), str(folder), "portraits"), None  # from Python


def _fitting(tensors: dict[str, torch.Tensor], name: str, model: str) -> Model:
    try:
        return built_in(model).open(tensors)
    except RuntimeError:
        raise CheckpointError(
            f"{name} does not hold weights of the built-in model ({model}) of the default size; "
            "sample and evaluate read runs of the portraits, lettering and emoji tasks, and "
            "--built-in says which model a weights file belongs to"
        ) from None


def built_in(name: str) -> BuiltIn:
    """A built-in task by name."""
    found = task(name)
    assert isinstance(found, BuiltIn)  # noqa: S101
    return found


DRAWN = ("portraits", "lettering", "emoji")
Flat = tyro.conf.arg(prefix_name=False, name="")


@dataclass(frozen=True)
class SampleOptions:
    """Draw pictures for prompts, for example "a happy person with long blond hair, a red hat"."""

    prompts: Annotated[list[str], tyro.conf.Positional]  # one or more prompts
    which: Annotated[Which, Flat] = Which()
    sampling: Sampling = Sampling()
    count: int = 8  # pictures per prompt
    seed: int = 0  # of the noise
    scale: int = 8  # screen pixels per picture pixel of small pictures
    out: Path = Path("samples.png")  # the picture written


def sample(words: list[str]) -> int:
    """scoreward sample "PROMPT" …"""
    options = tyro.cli(SampleOptions, args=words, prog="scoreward sample")
    (model, precision), device = options.which.opened(), chosen(options.which.device)
    model.network.to(device).eval()
    denoiser = options.which.denoiser(model, precision)
    prompts = [p for p in options.prompts for _ in range(options.count)]
    cond = model.encode(prompts)
    cond = None if cond is None else moved(cond, device)
    keys = [
        Key(("sample", options.seed, p, i)) for p in options.prompts for i in range(options.count)
    ]
    steps = options.sampling
    sampler = steps.sampler(model.grid(steps.steps) if steps.shift == 1 else None)
    x = sampler.start(model.process) * normal_each((k / "start" for k in keys), model.shape)
    x = placed(x, device)
    with torch.no_grad():
        media = stills(model.decode(draw(sampler, denoiser, x, keys, cond)))
    if media is None:
        raise ValueError("the model of this run makes vectors; there is nothing to draw")
    scale = options.scale if max(media.shape[-2:]) < LARGEST // 2 else 1
    save_grid(media.repeat_interleave(scale, 2).repeat_interleave(scale, 3), options.out)
    console.print(f"{len(media)} pictures: {options.out}")
    return 0


@dataclass(frozen=True)
class EvaluateOptions:
    """Measure a model on held-out prompts under the ODE and the SDE sampler."""

    which: Annotated[Which, Flat] = Which()
    held_out: HeldOut = HeldOut()


def evaluate(words: list[str]) -> int:
    """scoreward evaluate [--run FOLDER]"""
    options = tyro.cli(EvaluateOptions, args=words, prog="scoreward evaluate")
    (model, precision), team = options.which.opened(), Team(device=options.which.device)
    model.network.to(team.device).eval()
    denoiser = options.which.denoiser(model, precision)
    settings = options.which.task().evaluation(options.held_out)
    numbers = measure(settings, model, denoiser, team).numbers
    samplers = [name for name in numbers if name != "gap"]
    table = Table("", *(f"{s.upper()} sampler" for s in samplers))
    for name in numbers[samplers[0]]:
        values = [numbers[s][name] for s in samplers]
        if isinstance(values[0], float):
            table.add_row(name, *(f"{v:.4f}" for v in values))
        else:
            for part in values[0]:
                table.add_row(f"  {part}", *(f"{v[part]:.4f}" for v in values))
    console.print(table)
    if settings.gap.etas:
        records = measure_gap(settings, model, denoiser, team)
        found = [gap_record(Fields({"round": 0, **one})) for one in records]
        show(points([one for one in found if one is not None], "reward"))
    return 0


@dataclass(frozen=True)
class ReportOptions:
    """Write report.html into a run folder."""

    folder: Annotated[Path, tyro.conf.Positional]  # the run folder
    beside: Path | None = None  # another run to show beside it


def report(words: list[str]) -> int:
    """scoreward report FOLDER"""
    options = tyro.cli(ReportOptions, args=words, prog="scoreward report")
    console.print(f"report: {write_report(options.folder, options.beside)}")
    return 0
