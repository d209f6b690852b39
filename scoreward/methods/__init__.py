"""Every method by name: `methods["vgrpo"]`, `list(methods)`; a row each in pictures.py, texts.py.

>>> import scoreward as sw
>>> sw.methods["vgrpo"].objective.pairs
4
>>> "dpo" in sw.methods
True
"""

import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType

from scoreward.methods.base import Draws, Method


@cache
def methods() -> dict[tuple[str, Draws], Method]:
    """All rows by name and what is trained: rainbow_po is a loss on texts and one on pictures."""
    from scoreward.methods import pictures, texts

    return {(one.name, one.draws): one for one in (*pictures.METHODS, *texts.METHODS)}


def method(name: str, draws: Draws) -> Method | None:
    """A method by name; the row for what the task draws, if it has several."""
    other: Draws = "texts" if draws == "pictures" else "pictures"
    return methods().get((name, draws)) or methods().get((name, other))


class _Listed(ModuleType):
    """This package as what it lists."""

    def __getitem__(self, name: str) -> Method:
        found = method(name, "pictures")
        if found is None:
            raise KeyError(f"there is no method {name!r}; have {', '.join(self)}")
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(name for name, _ in methods()))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in list(iter(self))


sys.modules[__name__].__class__ = _Listed
