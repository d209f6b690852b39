"""Which columns a file has decides how its rows become records.

A layout is a name, the columns that give it away, and a function from the row (or the rows that
belong together) to records. Here are the layouts of our own files; recognise.py chooses.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from scoreward.data.preferences.faults import Unusable
from scoreward.data.preferences.pictures import opened
from scoreward.data.preferences.records import (
    ImageBinary,
    ImageGroup,
    ImagePair,
    Record,
    TextBinary,
    TextGroup,
    TextPair,
)
from scoreward.data.preferences.tables import Row


class Tie(Enum):
    """Two candidates of which none was preferred."""

    TIE = "tie"


TIE = Tie.TIE
Made = Iterator[Record | Tie]


@dataclass(frozen=True)
class Layout:
    """How rows with these columns become records, of one kind or of a choice."""

    name: str
    columns: frozenset[str]  # that must be there
    makes: Mapping[type, Callable[[Sequence[Row], Path], Made]]  # by kind; raise Unusable
    together: str = ""  # neighbours with the same value of this column are one case

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(sorted(self.columns))})"


def cell(row: Row, name: str) -> Any:
    """A value that must be there.  Raises Unusable."""
    if row.get(name) is None:
        raise Unusable(f"{name} is missing")
    return row[name]


def text(row: Row, name: str) -> str:
    """A text that must be there, empty or not.  Raises Unusable."""
    value = cell(row, name)
    if not isinstance(value, str):
        raise Unusable(f"{name} is {value!r}, which is not text"[:200])
    return value


def number(name: str, value: Any) -> float:
    """A number; not a finite one is refused later, in one place.  Raises Unusable."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unusable(f"{name} is {value!r}, which is not a number"[:200])
    return float(value)


def maybe(row: Row, name: str) -> float | None:
    """A number that may be missing."""
    return None if row.get(name) is None else number(name, row[name])


def flag(row: Row, name: str) -> bool:
    """True or false, also as 1 or 0.  Raises Unusable."""
    value = cell(row, name)
    if value not in (True, False):
        raise Unusable(f"{name} is {value!r}; expected true or false")
    return bool(value)


def prompt_of(row: Row, name: str = "prompt") -> str | list[dict[str, str]]:
    """Text, or the messages of a chat."""
    value = cell(row, name)
    return value if isinstance(value, str) else messages(name, value)


def messages(name: str, value: Any) -> list[dict[str, str]]:
    """A chat, checked: each message has a role and a content.  Raises Unusable."""
    if not isinstance(value, list) or not all(isinstance(m, dict) for m in value):
        raise Unusable(f"{name} is {value!r}, neither text nor a list of messages"[:200])
    for message in value:
        if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
            raise Unusable(f"a message in {name} lacks its role or content: {message!r}"[:200])
    return [{"role": m["role"], "content": m["content"]} for m in value]


def _image_pair(rows: Sequence[Row], folder: Path) -> Made:
    row = rows[0]
    yield ImagePair(
        text(row, "prompt"),
        opened("winner", cell(row, "winner"), folder),
        opened("loser", cell(row, "loser"), folder),
        maybe(row, "score_w"),
        maybe(row, "score_l"),
        str(row.get("id") or ""),
        str(row.get("source") or ""),
    )


def _image_binary(rows: Sequence[Row], folder: Path) -> Made:
    row = rows[0]
    image = opened("image", cell(row, "image"), folder)
    wins, losses = row.get("wins"), row.get("losses")
    known = str(row.get("id") or "")
    yield ImageBinary(text(row, "prompt"), image, flag(row, "desirable"), wins, losses, known)


def _image_group(rows: Sequence[Row], folder: Path) -> Made:
    row = rows[0]
    images = [opened(f"image {i}", v, folder) for i, v in enumerate(cell(row, "images"))]
    scores = {
        text(s, "name"): [number("scores", v) for v in cell(s, "values")]
        for s in cell(row, "scores")
    }
    seeds = tuple(row.get("seeds") or ())
    yield ImageGroup(text(row, "prompt"), images, scores, seeds, str(row.get("id") or ""))


def _text_pair(rows: Sequence[Row], folder: Path) -> Made:
    row = rows[0]
    yield TextPair(
        prompt_of(row),
        text(row, "chosen"),
        text(row, "rejected"),
        maybe(row, "score_w"),
        maybe(row, "score_l"),
        str(row.get("id") or ""),
        str(row.get("source") or ""),
    )


def _text_binary(rows: Sequence[Row], folder: Path) -> Made:
    row = rows[0]
    weight = maybe(row, "weight")
    yield TextBinary(
        prompt_of(row),
        text(row, "completion"),
        flag(row, "desirable"),
        1.0 if weight is None else weight,
        str(row.get("id") or ""),
    )


def _text_group(rows: Sequence[Row], folder: Path) -> Made:
    row = rows[0]
    completions = [text({"completion": c}, "completion") for c in cell(row, "completions")]
    rewards = [number("rewards", r) for r in cell(row, "rewards")]
    yield TextGroup(prompt_of(row), completions, rewards, str(row.get("id") or ""))


def _own(kind: type, columns: str, make: Callable[[Sequence[Row], Path], Made]) -> Layout:
    return Layout(f"scoreward {kind.__name__}", frozenset(columns.split()), {kind: make})


OWN = (
    _own(ImagePair, "prompt winner loser", _image_pair),
    _own(ImageBinary, "prompt image desirable", _image_binary),
    _own(ImageGroup, "prompt images scores", _image_group),
    _own(TextPair, "prompt chosen rejected score_w score_l id source", _text_pair),
    _own(TextBinary, "prompt completion desirable", _text_binary),
    _own(TextGroup, "prompt completions rewards", _text_group),
)
