"""The command `gap`: what a sampler's noise is worth in reward, over training and over steps."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table

from scoreward.commands.again import built
from scoreward.commands.talk import console
from scoreward.commands.train import where_started
from scoreward.core.denoiser import Denoiser, Guided, InPrecision
from scoreward.models.weights import Weights
from scoreward.records.reading import GAP_FILE, read_run
from scoreward.report.run import gap as drawing
from scoreward.training import checkpoint
from scoreward.training.evaluations.gap import Gap
from scoreward.training.evaluations.pictures import measure_gap
from scoreward.training.folder import RunFolder, RunFolderError, record
from scoreward.training.run import Run
from scoreward.training.trainer import Evaluations


@dataclass(frozen=True)
class GapOptions:
    """Draw the reward gap of a run: reward under noise less reward under the ODE.

    A run that was asked for it has it in its records. For any other, or with --again, it is
    measured now: of the model before training and of every checkpoint that was kept.
    """

    folder: Annotated[Path, tyro.conf.Positional]  # the run folder
    measure: Annotated[Gap, tyro.conf.arg(prefix_name=False, name="")] = Gap(etas=(0.5, 1.0, 1.5))
    score: str = "reward"  # which score is drawn and printed
    again: bool = False  # measure now even if the run was measured
    out: Path | None = None  # the picture written; default gap.png in the run folder
    json: bool = False  # print the numbers as JSON instead of a table
    device: str | None = None  # to measure on; default: where the run was asked to be


def gap(words: list[str]) -> int:
    """scoreward gap RUN"""
    options = tyro.cli(GapOptions, args=words, prog="scoreward gap")
    if options.again or not read_run(options.folder).gaps:
        with where_started(RunFolder(options.folder)) as folder:
            measure(folder, options.measure, not options.json, options.device)
    run = read_run(options.folder)
    found = drawing.points(run.gaps, options.score)
    if not found:
        raise ValueError(
            f"{options.folder} has no gap of the score {options.score!r}; it has "
            f"{', '.join(run.scored) or 'none'}"
        )
    target = drawing.draw(run, options.score, options.out or options.folder / "gap.png")
    if options.json:
        points = [asdict(p) for p in found]
        print(json.dumps({"score": options.score, "points": points, "picture": str(target)}))
        return 0
    show(found)
    console.print(f"picture: {target}")
    return 0


def show(found: list[drawing.Point]) -> None:
    """The table on the terminal."""
    head = ("round", "sampler", "steps", "mean ± s.e.", "gap ± 95 %", "grid ± 95 %")
    table = Table(*head, box=None)
    for row in drawing.rows(found):
        table.add_row(*row)
    console.print(table)
    console.print(
        "gap: less the ODE on the same steps.  grid: less the same sampler on the converged grid "
        "(*).",
        style="dim",
    )


def measure(folder: RunFolder, settings: Gap, talk: bool = True, device: str | None = None) -> None:
    """Write gap.jsonl: the model before training and every checkpoint that was kept."""
    run = built(folder, "train it with Evaluation(..., gap=Gap(etas=(1.0,)))")
    if checkpoint.newest(folder.checkpoints) is None:
        raise RunFolderError(
            f"{folder.path} has neither a gap in its records nor a checkpoint to measure; wait for "
            "its first checkpoint, or train with --held-out.gap.etas 0.5 1 1.5"
        )
    if run.evaluation is None:
        raise RunFolderError(f"the recipe {run.name} measures nothing, so there is no gap of it")
    evaluation = replace(run.evaluation, gap=settings)
    run = replace(run, device=device or run.device)
    lines = []
    for round, seconds, spent, reading in _moments(folder, run):
        if talk:
            console.print(f"measuring round {round}", style="dim")
        found = measure_gap(evaluation, run.model, reading, run.team())
        lines += [record("gap", round, seconds, spent, one) for one in found]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder.path / GAP_FILE).write_text(text)


def _moments(folder: RunFolder, run: Run) -> Iterator[tuple[int, float, Evaluations, Denoiser]]:
    """(round, seconds, evaluations, denoiser) before training and of each checkpoint, in order."""
    model, team = run.model, run.team()
    model.network.to(team.device).eval()
    weights = Weights(model.network)
    reading: Denoiser = InPrecision(model.denoiser, team.precision)
    if run.guidance != 1.0:
        reading = Guided(reading, run.guidance, model.null)
    yield 0, 0.0, Evaluations(), reading
    for path in checkpoint.kept(folder.checkpoints):
        tensors = checkpoint.read_snapshot(path, "ema")
        if tensors.keys() != weights.parameters.keys():
            raise checkpoint.CheckpointError(f"{path} does not fit the recipe {run.name!r}")
        weights.load(tensors)
        state = json.loads((path / "state.json").read_text())
        spent = Evaluations(**state["evaluations"])
        yield int(state["round"]), float(state["seconds"]), spent, reading
