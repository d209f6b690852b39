"""Settings as words of a command line: the way back from a value to the options that mean it."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from scoreward.methods.base import Settings

UNWRITTEN = (bool, int, float, str, Path, tuple)


class Unspoken(ValueError):
    """A setting that no command line can say, by its name."""


def words(settings: Settings, given: Mapping[str, Any]) -> list[str]:
    """The options of all settings that are other than their defaults.

    Raises Unspoken for a value that is neither a number nor a text, and no dataclass of such.
    """
    made: list[str] = []
    for name, setting in settings.items():
        made += _words("" if setting.flat else name, given[name], setting.default)
    return made


def _words(name: str, value: Any, default: Any) -> Iterator[str]:
    if value is default:
        return
    if is_dataclass(value) and type(value) is type(default):
        for field in fields(value):
            inner = f"{name}.{field.name}" if name else field.name
            yield from _words(inner, getattr(value, field.name), getattr(default, field.name))
    elif value is None or isinstance(value, UNWRITTEN):
        if type(value) is not type(default) or value != default:
            yield from _option(name.replace("_", "-"), value)
    else:
        raise Unspoken(name)


def _option(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        head, dot, last = name.rpartition(".")
        yield f"--{head}{dot}{'' if value else 'no-'}{last}"
        return
    yield f"--{name}"
    for one in value if isinstance(value, tuple) else (value,):
        if not (one is None or isinstance(one, UNWRITTEN[:-1])):
            raise Unspoken(name)
        yield str(one)
