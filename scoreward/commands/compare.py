"""The command `compare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from scoreward.commands.talk import console
from scoreward.report.comparison.page import Asked, write_comparison


@dataclass(frozen=True)
class CompareOptions:
    """Compare several runs at equal network evaluations, on one HTML page."""

    runs: Annotated[list[Path], tyro.conf.Positional]  # run folders and curves.jsonl files
    out: Path = Path("compare.html")  # the page written
    level: tuple[float, ...] = ()  # further reward and judge levels to reach
    against: str | None = None  # method that ratios are relative to; default the best
    sampler: Literal["ode", "sde"] = "ode"  # whose scores are compared


def compare(words: list[str]) -> int:
    """scoreward compare RUN..."""
    options = tyro.cli(CompareOptions, args=words, prog="scoreward compare")
    asked = Asked(options.sampler, options.level, options.against)
    console.print(f"comparison: {write_comparison(options.runs, options.out, asked)}")
    return 0
