"""`scoreward curate`: rich preference pairs by critique and editing, with live counts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from rich.live import Live
from rich.table import Table

from scoreward.commands.recipes import read_settings
from scoreward.commands.talk import console
from scoreward.curation.finish import finish
from scoreward.curation.records import STAGES
from scoreward.curation.run import Curation, Progress
from scoreward.curation.stages import Pipeline
from scoreward.own import own
from scoreward.recipes import of_function
from scoreward.report.curation import write_curation
from scoreward.tasks.curating import portraits

USAGE = (
    "usage: scoreward curate NAME [options], for example: scoreward curate portraits --pairs 500, "
    "or a function of your own as my_pipeline.py:function"
)
BUILT_IN: dict[str, Callable[..., Pipeline]] = {"portraits": portraits}


@dataclass(frozen=True)
class CurateOptions:
    """How many pairs, and where."""

    pairs: int = 500  # to make
    folder: Path | None = None  # of the curation; default runs/curate_NAME
    seed: int = 0  # of everything random
    workers: int = 1  # processes; the result does not depend on their number
    threads: int = 1  # of each process


def curate(words: list[str]) -> int:
    """scoreward curate NAME [options]"""
    if words[:1] in (["-h"], ["--help"]):
        console.print(f"{USAGE}; the settings of one: scoreward curate portraits -h")
        return 0
    if not words or words[0].startswith("-"):
        raise ValueError(f"which pipeline? {USAGE}")
    name, rest = words[0], words[1:]
    options, _ = parsed(name, rest)
    folder = options.folder or Path("runs") / f"curate_{name.rpartition(':')[2]}"
    curation = Curation(
        partial(build, name, rest),
        folder,
        options.pairs,
        options.seed,
        options.workers,
        options.threads,
    )
    last = watch(curation)
    summary = finish(curation, last)
    conclude(summary, write_curation(folder))
    return 0


def build(name: str, words: list[str]) -> Pipeline:
    """The pipeline that a command line means; every worker builds its own."""
    _, settings = parsed(name, words)
    pipeline = found(name)(**settings)
    if not isinstance(pipeline, Pipeline):
        raise ValueError(
            f"{name} returned a {type(pipeline).__name__}; it must return a "
            "scoreward.curation.stages.Pipeline"
        )
    return pipeline


def found(name: str) -> Callable[..., Pipeline]:
    """A built-in pipeline by name, or a function of the user's own as FILE.py:FUNCTION."""
    if ":" in name:
        function = own(name, "pipeline")
        if not callable(function):
            path, _, wanted = name.rpartition(":")
            raise ValueError(f"{path!r} has no function {wanted!r} that could be a pipeline")
        return cast(Callable[..., Pipeline], function)
    if name not in BUILT_IN:
        raise ValueError(
            f"unknown pipeline {name!r}; there is {', '.join(BUILT_IN)}, or a function of your own "
            "as my_pipeline.py:function"
        )
    return BUILT_IN[name]


def parsed(name: str, words: list[str]) -> tuple[CurateOptions, dict[str, Any]]:
    """Our options, and the arguments of the pipeline's function, from one command line."""
    function, program = found(name), f"scoreward curate {name}"
    settings = of_function(function, "pipeline")
    return read_settings(settings, function.__doc__ or "", CurateOptions, words, program)


def watch(curation: Curation) -> Progress:
    """Do the work, showing the counts; the last of them."""
    steps = curation.steps()
    last = next(steps)
    if last.finished:
        state = "finished already" if last.kept >= last.wanted else "no prompts are left"
        console.print(f"{curation.folder}: {state}, {last.kept} pairs kept")
        return last
    if last.entries:
        console.print(f"going on in {curation.folder}, where {last.kept} pairs are kept")
    with Live(counts(last), console=console, refresh_per_second=4) as live:
        for last in steps:
            live.update(counts(last))
    if not console.is_terminal:
        console.print()  # the last view ends without a new line there
    return last


def counts(now: Progress) -> Table:
    """How many passed each stage so far, and why the others did not."""
    table = Table(title=f"batch {now.batch} of {now.batches}, {now.kept} of {now.wanted} pairs")
    table.add_column("stage")
    table.add_column("passed", justify="right")
    for i, stage in enumerate(STAGES):
        table.add_row(stage, str(sum(now.stages[s] for s in STAGES[i:])))
    for reason, count in now.reasons.most_common(8):
        table.add_row(f"left: {reason}", str(count), style="dim")
    return table


def conclude(summary: dict[str, Any], page: Path) -> None:
    """The result in a few lines."""
    wanted, count = summary["asked_for"], summary["pairs"]
    if count < wanted:
        console.print(f"only {count} of {wanted} pairs: no prompts are left", style="yellow")
    for name, judge in summary["judges"].items():
        if judge["share"] is not None:
            console.print(
                f"{name}, which decided nothing: the winner is better in {judge['share']:.1%} "
                f"[{judge['low']:.1%}, {judge['high']:.1%}], as good in {judge['equal']}, "
                f"worse in {judge['worse']} of {count}"
            )
    if count:
        console.print(f"pairs: {page.parent / 'pairs.parquet'}")
    console.print(f"report: {page}")
