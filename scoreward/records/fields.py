"""The border to JSON: an object is read field by field, and what does not fit becomes a sentence.

A folder may be unfinished, interrupted or from another version, so a value of another kind than
expected is left out rather than refused, and never silently. null is absent: it is what a number
that is not finite is written as.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, TypeVar

if TYPE_CHECKING:
    Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
else:
    Json = object  # what checks types at run time cannot follow one that names itself

Numbers = Mapping[str, float]
Series = list[float | None]
SHOWN = 40  # characters of a wrong value that are quoted; ours

T = TypeVar("T")


class Doubts:
    """What was left out: one sentence for each kind of fault, however many lines have it."""

    def __init__(self) -> None:
        self._faults: dict[str, list[str]] = {}

    def add(self, place: str, fault: str, came: Json | None = None, advice: str = "") -> None:
        """`place` says where, `fault` what was expected; only the first place is quoted."""
        but = "" if came is None else f", not {repr(came)[:SHOWN]},"
        self._faults.setdefault(fault, []).append(f"{place} {fault}{but} and was left out{advice}")

    def sentences(self) -> list[str]:
        more = {1: "", 2: "; so was 1 more"}
        return [
            found[0] + more.get(len(found), f"; so were {len(found) - 1} more") + "."
            for found in self._faults.values()
        ]


@dataclass(frozen=True)
class Fields:
    """A JSON object from a known place, and how to read each kind of field."""

    held: dict[str, Json] = field(default_factory=dict)
    place: str = "a record"  # file and line
    doubts: Doubts = field(default_factory=Doubts)

    def _read(self, key: str, read: Callable[[Json], T | None], expected: str) -> T | None:
        value = self.held.get(key)
        found = None if value is None else read(value)
        if found is None and value is not None and value == value:  # NaN is absent, like null
            self.doubts.add(f"In {self.place}", f"`{key}` should be {expected}", value)
        return found

    def number(self, key: str) -> float | None:
        return self._read(key, finite, "a number")

    def count(self, key: str) -> int | None:
        found = self.number(key)
        return None if found is None else int(found)

    def text(self, key: str) -> str:
        """ "" if absent."""
        return self._read(key, lambda v: v if isinstance(v, str) else None, "a text") or ""

    def flag(self, key: str) -> bool:
        """What is no flag counts as set if it is anything at all."""
        return bool(self.held.get(key))

    def items(self, key: str) -> list[Json]:
        """Empty if absent."""
        return self._read(key, lambda v: v if isinstance(v, list) else None, "a list") or []

    def texts(self, key: str) -> list[str]:
        return [str(one) for one in self.items(key)]

    def series(self, key: str) -> Series:
        return [finite(one) for one in self.items(key)]

    def inside(self, *keys: str) -> "Fields":
        """The object under these keys, an empty one if absent."""
        found = self
        for key in keys:
            held = found._read(key, lambda v: v if isinstance(v, dict) else None, "an object")
            found = Fields(held or {}, f"{found.place}, `{key}`", found.doubts)
        return found

    def objects(self) -> Iterator[tuple[str, "Fields"]]:
        """Every entry that is an object."""
        return ((k, self.inside(k)) for k, v in self.held.items() if isinstance(v, dict))

    def each(self, key: str) -> "list[Fields]":
        """The objects of a list."""
        place = f"{self.place}, `{key}`"
        return [Fields(v, place, self.doubts) for v in self.items(key) if isinstance(v, dict)]

    def numbers(self) -> Numbers:
        """Every entry that is a number, in order."""
        return {k: n for k, v in self.held.items() if (n := finite(v)) is not None}

    def counts(self) -> Mapping[str, int]:
        return {k: int(v) for k, v in self.numbers().items()}

    def columns(self) -> dict[str, Series]:
        """Every entry that is a list, as numbers."""
        return {k: self.series(k) for k, v in self.held.items() if isinstance(v, list)}


def finite(value: Json) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def parsed(text: str) -> dict[str, Json] | None:
    """The JSON object that a text is, or None."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def read_object(path: Path, doubts: Doubts) -> Fields:
    """A file that holds one object; an empty one where there is no file."""
    held = {}
    if path.is_file():
        held = parsed(path.read_text(encoding="utf-8", errors="replace"))
        if held is None:
            doubts.add(path.name, "is not a JSON object")
    return Fields(held or {}, path.name, doubts)


def read_lines(path: Path, doubts: Doubts) -> list[Fields]:
    """A file of one object a line; what is none is left out."""
    found = []
    text = path.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        held = parsed(line)
        place = f"line {number} of {path.name}"
        if held is not None:
            found.append(Fields(held, place, doubts))
        elif line.strip():
            advice = ": a kill may cut off the last line, any other was changed by hand"
            doubts.add(place.capitalize(), "should be a JSON object", line, advice)
    return found
