"""Commands that look: `sample`, `evaluate`, `report`."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from rich.table import Table

from scoreward.commands.again import Reopened, built, put, trained
from scoreward.commands.gap import show
from scoreward.commands.recipes import renewed, taken
from scoreward.commands.talk import console
from scoreward.commands.train import where_started
from scoreward.core.chain import draw
from scoreward.core.denoiser import Denoiser, Guided, InPrecision
from scoreward.core.device import chosen, placed
from scoreward.core.keys import Key, normal_each
from scoreward.core.rows import moved
from scoreward.data.texts import checked
from scoreward.methods.sampling import Sampling
from scoreward.models.base import Model
from scoreward.records.fields import Fields
from scoreward.records.reading import gap_record
from scoreward.report import write_report
from scoreward.report.run.gap import points
from scoreward.tasks import task
from scoreward.tasks.builtin import BuiltIn, HeldOut
from scoreward.training.checkpoint import CheckpointError, newest, read_snapshot, read_tensors
from scoreward.training.evaluations.pictures import Evaluation, measure_gap
from scoreward.training.evaluations.pictures import evaluate as measure
from scoreward.training.folder import LARGEST, RunFolder, save_grid, stills
from scoreward.training.team import Team


@dataclass(frozen=True)
class Which:
    """Which weights: the shipped ones, those of a run, or a file."""

    run: Path | None = None  # a run folder; its newest checkpoint's averaged weights
    weights: Path | None = None  # a safetensors file of the built-in model
    built_in: Literal["portraits", "lettering", "emoji"] = "portraits"  # without a run: which model
    guidance: float | None = None  # classifier-free guidance, 1 is none; default: the run's
    device: str | None = None  # cpu, cuda, cuda:1, mps, auto …; default: the run's, or auto

    def opened(self) -> Reopened:
        """The model, and how a run uses it."""
        if self.run is not None:
            about, path = RunFolder(self.run).told(), newest(self.run / "checkpoints")
            if path is None or about.origin_recipe:
                found = trained(self.run)
            else:  # from Python
                tensors = read_snapshot(path, "ema")
                found = Reopened(_fitting(tensors, str(self.run), "portraits"))
        elif self.weights is not None:
            tensors = read_tensors(self.weights)
            found = Reopened(_fitting(tensors, str(self.weights), self.built_in))
        else:
            found = Reopened(built_in(self.built_in).open(None))
        guidance = found.guidance if self.guidance is None else self.guidance
        return replace(found, guidance=guidance, device=self.device or found.device)


def denoiser_of(found: Reopened) -> Denoiser:
    """The denoiser in its precision, guided if asked."""
    plain = InPrecision(found.model.denoiser, found.precision)
    return plain if found.guidance == 1.0 else Guided(plain, found.guidance, found.model.null)


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


Flat = tyro.conf.arg(prefix_name=False, name="")


@dataclass(frozen=True)
class SampleOptions:
    """Draw pictures for prompts, for example "a happy person with long blond hair, a red hat"."""

    prompts: Annotated[list[str], tyro.conf.Positional]  # one or more prompts
    which: Annotated[Which, Flat] = Which()
    solver: Literal["ddim", "euler", "heun", "dpmpp"] = "ddim"  # ddim is the one that takes eta
    steps: int | None = None  # default: as the run is measured, or 10
    eta: float = 0.0  # 0 is the ODE, 1 the reverse SDE, above 1 more noise than that
    shift: float = 1.0  # of the time grid; 1 is the model's own
    count: int = 8  # pictures per prompt
    seed: int = 0  # of the noise
    scale: int = 8  # screen pixels per picture pixel of small pictures
    out: Path = Path("samples.png")  # the picture written


def sample(words: list[str]) -> int:
    """scoreward sample "PROMPT" …"""
    words = renewed(words, {"--sampling.": "--"})
    options = tyro.cli(SampleOptions, args=words, prog="scoreward sample")
    asked = [checked(prompt, "a prompt") for prompt in options.prompts]
    found = options.which.opened()
    model, device = found.model, chosen(found.device)
    model.network.to(device).eval()
    steps = Sampling(options.solver, options.steps or found.steps, options.eta, options.shift)
    prompts = [p for p in asked for _ in range(options.count)]
    cond = model.encode(prompts)
    cond = None if cond is None else moved(cond, device)
    keys = [Key(("sample", options.seed, p, i)) for p in asked for i in range(options.count)]
    sampler = steps.sampler(model.grid(steps.steps) if steps.shift == 1 else None)
    x = sampler.start(model.process) * normal_each((k / "start" for k in keys), model.shape)
    x = placed(x, device)
    with torch.no_grad():
        media = stills(model.decode(draw(sampler, denoiser_of(found), x, keys, cond)))
    if media is None:
        raise ValueError("the model of this run makes vectors; there is nothing to draw")
    scale = options.scale if max(media.shape[-2:]) < LARGEST // 2 else 1
    save_grid(media.repeat_interleave(scale, 2).repeat_interleave(scale, 3), options.out)
    console.print(f"{len(media)} pictures: {options.out}")
    return 0


@dataclass(frozen=True)
class EvaluateOptions:
    """Measure a model on held-out prompts under the ODE and the SDE sampler.

    With --run FOLDER the run is measured as it measures itself: its prompts, rewards, guidance,
    steps, precision and device; options of `train` behind it change that.
    """

    which: Annotated[Which, Flat] = Which()
    held_out: HeldOut = HeldOut()


def evaluate(words: list[str]) -> int:
    """scoreward evaluate [--run FOLDER [options of train]]"""
    run, rest = taken(words, "--run")
    if run is not None and (RunFolder(Path(run)).told().origin_recipe):
        with where_started(RunFolder(Path(run))) as folder:
            return _evaluate_run(folder, rest)
    options = tyro.cli(EvaluateOptions, args=words, prog="scoreward evaluate")
    found = options.which.opened()
    settings = built_in(options.which.built_in).evaluation(options.held_out)
    return _measured(settings, found, Team(device=found.device))


def _evaluate_run(folder: RunFolder, words: list[str]) -> int:
    """A run as it measures itself, with its newest averaged weights."""
    guidance, words = taken(words, "--guidance")
    path = newest(folder.checkpoints)
    if path is None:
        raise CheckpointError(f"{folder.path} has no checkpoint yet")
    run = built(folder, "measure it there", words)
    if not isinstance(run.evaluation, Evaluation):
        what = "measures nothing" if run.evaluation is None else "is measured on texts"
        raise ValueError(f"{folder.path} {what}; its report shows what there is")
    put(read_snapshot(path, "ema"), run.model, path, run.name)
    scale = run.guidance if guidance is None else float(guidance)
    team = run.team()
    return _measured(run.evaluation, Reopened(run.model, scale, 0, team.precision), team)


def _measured(settings: Evaluation, found: Reopened, team: Team) -> int:
    """Measure and print."""
    found.model.network.to(team.device).eval()
    denoiser = denoiser_of(found)
    numbers = measure(settings, found.model, denoiser, team).numbers
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
    said = "" if found.guidance == 1 else f", guidance {found.guidance:g}"
    console.print(f"{len(settings.prompts)} prompts{said}, on {team.device}")
    if settings.gap.etas:
        records = measure_gap(settings, found.model, denoiser, team)
        gaps = [gap_record(Fields({"round": 0, **one})) for one in records]
        show(points([one for one in gaps if one is not None], "reward"))
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
