"""Command `plan`: what a method on a task needs, computed before anything is loaded."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from scoreward.commands.live import say_held_out
from scoreward.commands.talk import console
from scoreward.commands.train import build
from scoreward.core.chain import Sampler
from scoreward.core.keys import Key
from scoreward.core.likelihood import draw_times
from scoreward.models.diffusers.plan import Memory, Sizes, planned
from scoreward.models.diffusers.skeleton import without_weights
from scoreward.objectives.paths.base import PathObjective
from scoreward.objectives.samples.pairs import PairObjective
from scoreward.training.run import Run
from scoreward.training.sources.branching import Branching
from scoreward.training.sources.online import Online

CARDS = (12, 16, 24, 48, 80)
OWN = 2**30  # bytes that a driver and its kernels take besides tensors; ours


USAGE = (
    "usage: scoreward plan METHOD [--on TASK] [--card GB] [options of `train`], for example: "
    "scoreward plan vgrpo --on sd35 --model FOLDER --card 24"
)


@dataclass(frozen=True)
class RoundCost:
    """Of a round of one run: rows of the network, and what a device holds."""

    sizes: Sizes
    behaviour: int  # evaluations without gradient
    trained: int  # evaluations with gradient, each costing three


@dataclass(frozen=True)
class Rung:
    """Settings that save memory, and what they change."""

    words: tuple[str, ...]
    changes: str


LADDER = (
    Rung((), "nothing"),
    Rung(("--loading.offload",), "time: VAE and text encoders leave the device after use"),
    Rung(
        ("--geometry.rollout-batch", "2", "--geometry.micro-batch", "1", "--loading.decode", "1"),
        "time: smaller batches in memory, the same round",
    ),
    Rung(("--loading.checkpointing",), "time: activations are computed twice"),
    Rung(("--loading.tiling",), "pictures: large ones are decoded in overlapping tiles"),
    Rung(("--loading.quantise", "nf4"), "the model: frozen weights are rounded to 4 bits"),
    Rung(("--loading.height", "512", "--loading.width", "512"), "the task: smaller pictures"),
)
"""Tried in this order, each with those before it."""


def plan(words: list[str]) -> int:
    """scoreward plan METHOD [--on TASK] [--card GB] [options]"""
    if words and words[0] in ("-h", "--help"):
        console.print(USAGE, highlight=False)
        return 0
    if not words or words[0].startswith("-"):
        raise ValueError(f"which method? {USAGE}")
    card, rest = _card(words[1:])
    used = () if card is None else fitting(words[0], rest, card)
    if used is None:
        console.print(f"no setting tried here makes it fit {card} GB:")
        used = tuple(LADDER)
    more = [word for rung in used for word in rung.words]
    run, memory, cost = on_paper(words[0], [*rest, *more])
    for line in run.source.geometry.explain():
        console.print(line, style="dim")
    say_held_out(run, console)
    _show(memory, cost)
    for rung in used:
        if rung.words:
            console.print(f"add {' '.join(rung.words)}: changes {rung.changes}")
    return 0


def _card(words: list[str]) -> tuple[int | None, list[str]]:
    """--card GB, and the other words."""
    if "--card" not in words:
        return None, words
    at = words.index("--card")
    memory = words[at + 1] if at + 1 < len(words) else "nothing"
    if not memory.isdigit() or int(memory) < 1:
        raise ValueError(f"--card takes the memory of a card in whole GB, got {memory}")
    return int(memory), words[:at] + words[at + 2 :]


def fitting(recipe: str, words: list[str], card: int) -> tuple[Rung, ...] | None:
    """The first rungs of the ladder with which a recipe fits, or None."""
    for length in range(1, len(LADDER) + 1):
        rungs = LADDER[:length]
        more = [word for rung in rungs for word in rung.words]
        _, memory, _ = on_paper(recipe, [*words, *more])
        if memory.peak + OWN <= card * 2**30:
            return rungs
    return None


def on_paper(recipe: str, words: list[str]) -> tuple[Run, Memory, RoundCost]:
    """The run a command line means, its memory and its cost, without any weights."""
    with without_weights() as mode, tempfile.TemporaryDirectory() as nowhere:
        run, _ = build(recipe, [*words, "--folder", str(Path(nowhere) / "run")], "scoreward plan")
        cost = cost_of(run)
        return run, planned(run.model, mode, cost.sizes), cost


def cost_of(run: Run, processes: int = 1) -> RoundCost:
    """Rows and evaluations of a round; the largest share, if several processes make it."""
    geometry, objective = run.source.geometry, run.objective
    sampler: Sampler = run.source.sampler(0)
    samples = max(len(geometry.share(r, processes)) for r in range(processes))
    rows, others, latents = _rows(run, sampler)
    drawn, trained = _shared(run, sampler, samples, samples * rows)
    twice = 1 if run.guidance == 1 else 2
    # rows of the network in one row of a micro-batch: pairs of a sample are asked together
    at_once = 1 if isinstance(objective, PathObjective) else rows
    sizes = Sizes(
        samples=samples,
        prompts=-(-samples // geometry.group),
        rollout=min(geometry.rollout_batch, samples),
        scored=min(samples, geometry.group * max(1, geometry.rollout_batch // geometry.group)),
        train=min(run.source.micro(objective.needs), trained) * at_once,
        stored=latents,
        snapshots=3 + (objective.slow_decay(0) is not None),
        guidance=run.guidance,
    )
    behaviour = (drawn + trained * others) * twice
    return RoundCost(sizes, behaviour, trained * geometry.epochs * twice)


def _shared(run: Run, sampler: Sampler, samples: int, rows: int) -> tuple[int, int]:
    """Evaluations of the rollout and rows trained, where samples share parts of their paths."""
    source, drawn = run.source, samples * sampler.calls
    steps = run.objective.needs.trained(sampler.stochastic(run.model.process), sampler.steps)
    if isinstance(source, Branching):
        layout = source.layout
        return samples // layout.block * layout.calls(steps, sampler.steps), samples
    if isinstance(source, Online) and source.tree is not None:
        width, ends = source.tree.width, enumerate(zip(sampler.kernels, sampler.times[1:]))
        drawn = sum(samples // width(i) * kernel.evaluations(s) for i, (kernel, s) in ends)
        rows = sum(samples // width(i + 1) for i in steps)
    return drawn, rows


def _rows(run: Run, sampler: Sampler) -> tuple[int, int, int]:
    """Of each sample: rows trained, frozen readings of each row, latents kept."""
    objective = run.objective
    several = run.source.geometry.updates > 1
    if isinstance(objective, PathObjective):
        stochastic = sampler.stochastic(run.model.process)
        one = isinstance(run.source, Branching)  # a branch has one transition
        rows = 1 if one else len(objective.needs.trained(stochastic, sampler.steps))
        # what rounds coarsely asks the old policy again, see objectives.replay.again
        again = several and run.mixed_precision != "no"
        return rows, int(objective.kl > 0) + again, rows * (3 + (objective.kl > 0))
    if isinstance(objective, PairObjective):
        rule = (objective.times, objective.fraction)
        rows = len(draw_times(sampler.times, objective.pairs, Key((0,)), *rule))
        old = objective.compares and (several or objective.old_decay(1) != 0)
        others = int(old) + objective.refers
        others += objective.slow_anchor > 0
        return rows, others, rows * (2 + others)
    return getattr(objective, "last", sampler.steps), 0, 0


def _show(memory: Memory, cost: RoundCost) -> None:
    table = Table("part", "GiB", title="memory of one device, computed", title_justify="left")
    for name, size in memory.resident.items():
        table.add_row(name, gib(size))
    for name, size in memory.phases.items():
        table.add_row(f"while {name}", gib(size))
    table.add_row("peak", gib(memory.peak), style="bold")
    console.print(table)
    total = cost.behaviour + 3 * cost.trained
    console.print(
        f"{memory.parameters:,} parameters, {memory.trainable:,} of them trained; a round costs "
        f"{total:,} network evaluations: {cost.behaviour:,} without gradient and {cost.trained:,} "
        "with, which count three."
    )
    console.print(verdict(memory.peak))


def verdict(peak: int) -> str:
    """The smallest usual card that holds it, with 1 GiB to spare for the driver."""
    for card in CARDS:
        if peak + OWN <= card * 2**30:
            return f"computed to fit a card of {card} GB; not measured on one."
    return (
        f"needs {gib(peak + OWN)} GiB, more than one card of {CARDS[-1]} GB: lower "
        "geometry.micro_batch and geometry.rollout_batch, choose loading.checkpointing, "
        "loading.offload, or loading.quantise nf4"
    )


def gib(size: int) -> str:
    """Bytes in GiB."""
    return f"{size / 2**30:.3f}" if size < 2**30 else f"{size / 2**30:.2f}"
