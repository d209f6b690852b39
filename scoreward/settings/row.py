"""A row: what differs for a method on a task."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from scoreward.core.advantage import Advantages
from scoreward.methods.base import Shared


class Row(NamedTuple):
    """What differs for a method on a task, and what that is, in a sentence."""

    method: str
    task: str
    about: str
    changes: Mapping[str, Any]
    variant: str = ""  # another goal than the usual one: TASK_METHOD_VARIANT
    ours: bool = False  # we looked for them, as authors have none for this model


def row(method: str, task: str, about: str, variant: str = "", **changes: Any) -> Row:
    """A row, its changes by the name of the setting."""
    return Row(method, task, about, changes, variant)


def ours(method: str, task: str, about: str, **changes: Any) -> Row:
    """The same with settings of ours."""
    return Row(method, task, about, changes, ours=True)


def sizes(base: Shared, advantages: Advantages | None = None, **geometry: Any) -> Shared:
    """Rounds of other sizes."""
    return replace(
        base,
        geometry=replace(base.geometry, **geometry),
        advantages=advantages or base.advantages,
    )
