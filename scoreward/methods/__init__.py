"""Every method by name: `methods["vgrpo"]`, `list(methods)`; a row each in pictures.py, texts.py.

>>> import scoreward as sw
>>> sw.methods["vgrpo"].objective.pairs
4
>>> "dpo" in sw.methods
True
"""

import sys
from functools import cache

from scoreward.listed import Listed
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


def names() -> list[str]:
    """Every method, each name once."""
    return list(dict.fromkeys(name for name, _ in methods()))


def named(name: str) -> Method:
    """A method by name.  KeyError, with all names, for one that there is not."""
    found = method(name, "pictures")
    if found is None:
        raise KeyError(f"there is no method {name!r}; have {', '.join(names())}")
    return found


sys.modules[__name__].__class__ = Listed
