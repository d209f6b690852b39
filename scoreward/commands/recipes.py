"""From words of a command line to a run: which method on which task, its settings as options."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from typing import Annotated, Any, TypeVar, cast

import tyro

from scoreward.methods.base import Method, Settings
from scoreward.methods.drawn import Drawn
from scoreward.methods.sampling import Noisy, Sampling
from scoreward.objectives.base import Objective
from scoreward.own import own
from scoreward.recipes import Recipe, joined, of_function, recipe
from scoreward.training.run import Run

T = TypeVar("T")


@dataclass(frozen=True)
class Command:
    """What a command line asks to be run: settings that become options, and who makes the run."""

    settings: Settings
    run: Callable[..., Run]
    about: str = ""
    renamed: Mapping[str, str] = field(default_factory=dict)
    model: Callable[..., Any] | None = None  # the model alone; None: the run has to be made


def find(words: Sequence[str]) -> tuple[Command, list[str]]:
    """METHOD [--on TASK], TASK_METHOD, FILE.py:FUNCTION, and the words that are left.

    Raises ValueError for a name that there is not, and for a pair that cannot be.
    """
    name, rest = words[0], list(words[1:])
    on, rest = taken(rest, "--on")
    loss, rest = taken(rest, "--method.name")  # what losses on texts were called by
    if ":" in name:
        return _from_file(name, on), rest
    if on is None and loss is not None and "_" in name:
        on, name = next(p for p in ("tiny_llama", "smollm") if name.startswith(p)), loss
    return _command(recipe(name, on)), rest


def _command(pair: Recipe) -> Command:
    return Command(pair.settings, pair.run, pair.about, pair.task.renamed, pair.model)


def _from_file(name: str, on: str | None) -> Command:
    """A function that makes a run, a method of the user's own, or an objective."""
    found = own(name, "recipe")
    path, _, function = name.rpartition(":")
    if isinstance(found, type) and issubclass(found, Objective):
        found = found()
    if isinstance(found, Objective):
        # a method of the user's own: noise at every step if it learns from paths
        about = (type(found).__doc__ or function).strip().split("\n")[0]
        steps = Noisy("ddim", 1.0) if found.needs.data == "paths" else Sampling()
        smooth = found.needs.data == "starts"
        found = Drawn(function.lower(), about, found, steps=steps, smooth=smooth)
    if isinstance(found, Method):
        place = joined("vgrpo", on or "portraits").task
        return _command(Recipe(found, place))
    if isinstance(found, type) or not callable(found):
        raise ValueError(f"{path!r} has no function {function!r} that could be a recipe")
    if on is not None:
        raise ValueError(
            f"{name} is a function that makes a whole run, so there is nothing to put it --on; an "
            "objective or a Method of your own takes --on TASK"
        )
    make = cast(Callable[..., Run], found)
    return Command(of_function(make), make, make.__doc__ or "")


def taken(words: list[str], option: str) -> tuple[str | None, list[str]]:
    """The value of one option, and the other words."""
    for at, word in enumerate(words):
        if word == option:
            if at + 1 == len(words) or words[at + 1].startswith("--"):
                raise ValueError(f"{option} needs a name behind it")
            return words[at + 1], words[:at] + words[at + 2 :]
        if word.startswith(f"{option}="):
            return word.partition("=")[2], words[:at] + words[at + 1 :]
    return None, words


def renewed(words: Sequence[str], renamed: Mapping[str, str]) -> list[str]:
    """Options by their present names."""
    present = []
    for word in words:
        name, equals, value = word.partition("=")
        for before, now in renamed.items():
            if name == before or (before.endswith(".") and name.startswith(before)):
                word = now + name.removeprefix(before) + equals + value
                break
        present.append(word)
    return present


def parse(command: Command, options: type[T], words: list[str], program: str) -> tuple[T, Run]:
    """Read `options` and the run's settings from one command line, and make the run.

    Exits with tyro's message for unknown options, which suggests the nearest one.
    """
    words = renewed(words, command.renamed)
    parsed, settings = read_settings(command.settings, command.about, options, words, program)
    run = command.run(**settings)
    if not isinstance(run, Run):
        raise ValueError(f"the recipe returned a {type(run).__name__}; it must return a Run")
    return parsed, run


def read_settings(
    settings: Settings, about: str, options: type[T], words: list[str], program: str
) -> tuple[T, dict[str, Any]]:
    """`options`, and beside them settings by name, from one command line."""
    flat = Annotated[options, tyro.conf.arg(prefix_name=False, name="")]
    fields = [
        (
            name,
            s.hint,
            field() if s.default is ... else field(default_factory=lambda s=s: s.default),
        )
        for name, s in settings.items()
    ]
    whole = make_dataclass("Settings", [("own_options", flat), *fields], kw_only=True)
    whole.__doc__ = about
    parsed: Any = tyro.cli(whole, args=words, prog=program)
    return parsed.own_options, {name: getattr(parsed, name) for name in settings}
