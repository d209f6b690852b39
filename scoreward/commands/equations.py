"""`scoreward equations`: the index of equations, without torch, so that it answers at once."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from scoreward.equations import print_index


@dataclass(frozen=True)
class EquationsOptions:
    """Where each equation is: file and line, its test, and what it says."""

    paper: Annotated[str | None, tyro.conf.Positional] = None  # a key of papers.toml


def equations(words: list[str]) -> int:
    """scoreward equations [PAPER]"""
    options = tyro.cli(EquationsOptions, args=words, prog="scoreward equations")
    print_index(options.paper)
    return 0
