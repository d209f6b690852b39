"""Commands that list what there is: `methods`, `tasks`, `rewards`."""

from dataclasses import dataclass
from typing import Literal

import tyro
from rich.table import Table

from scoreward.commands.talk import console
from scoreward.methods import methods as every_method
from scoreward.methods.drawn import Drawn
from scoreward.recipes import Recipe, unknown
from scoreward.rewards.catalogue import NAMES
from scoreward.tasks import PLACES, task


@dataclass(frozen=True)
class MethodsOptions:
    """List the methods: what each learns from, and what it is."""

    on: str | None = None  # only those that train on this task, and whose settings they have
    online: bool = False  # only those that draw their own samples
    offline: bool = False  # only those that learn from what is there
    needs: Literal["gradient", "pairs", "pictures"] | None = None  # only those that need it


def methods(words: list[str]) -> int:
    """scoreward methods [--on TASK] [--online] [--offline] [--needs WHAT]"""
    options = tyro.cli(MethodsOptions, args=words, prog="scoreward methods")
    if options.online and options.offline:
        raise ValueError("--online and --offline leave nothing; give one of them")
    if options.on is not None and options.on not in PLACES:
        raise ValueError(unknown("task", options.on, list(PLACES)))
    place = None if options.on is None else task(options.on)
    table = Table("method", "learns from", *(["settings"] if place else []), "what it is", box=None)
    for one in every_method().values():
        pair = None if place is None else Recipe(one, place)
        online = isinstance(one, Drawn)
        needs = {
            None: True,
            "gradient": one.differentiates,
            "pairs": one.data.startswith("pairs"),
            "pictures": one.data == "captioned pictures",
        }[options.needs]
        other_kind = (options.online and not online) or (options.offline and online)
        if other_kind or not needs or (pair and pair.refusal):
            continue
        reward = ", reward with a gradient" if one.differentiates else ""
        table.add_row(one.name, one.data + reward, *([pair.standing] if pair else []), one.about)
    console.print(table)
    return 0


@dataclass(frozen=True)
class TasksOptions:
    """List the tasks: what each draws, and what it is."""


def tasks(words: list[str]) -> int:
    """scoreward tasks"""
    tyro.cli(TasksOptions, args=words, prog="scoreward tasks")
    table = Table("task", "draws", "what it is", box=None)
    for name in PLACES:
        one = task(name)
        table.add_row(name, one.draws, one.about)
    console.print(table)
    return 0


@dataclass(frozen=True)
class RewardsOptions:
    """List the rewards that have a name; any function (media, prompts) is one: FILE.py:FUNCTION."""

    gradient: bool = False  # only those that can be differentiated


def rewards(words: list[str]) -> int:
    """scoreward rewards [--gradient]"""
    options = tyro.cli(RewardsOptions, args=words, prog="scoreward rewards")
    table = Table("reward", "gradient", "what it is", box=None)
    for name, entry in NAMES.items():
        if entry.gradient or not options.gradient:
            shown = f"{name}[=…]" if entry.takes else name
            what = f"{entry.what}; takes {entry.takes}" if entry.takes else entry.what
            table.add_row(shown.replace("[", "\\["), "yes" if entry.gradient else "no", what)
    console.print(table)
    return 0
