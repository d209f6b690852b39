"""GenEval: does a picture hold the objects, numbers, colours and positions that were asked for?

What is asked for is GenEval's metadata, one clause per kind of object:

    {"include": [{"class": "dog", "count": 1, "color": "brown"},
                 {"class": "bench", "count": 1, "position": ["right of", 0]}],
     "exclude": [{"class": "dog", "count": 2}]}

A position is relative to the objects of the clause with that number. This module is the logic
alone: given what a detector found, is it right? `strict` follows GenEval's own evaluation, `graded`
gives partial credit as Flow-GRPO's reward does, with two differences told below.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COLORS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")
RELATIONS = ("left of", "right of", "above", "below")
MARGIN = 0.1  # of the sizes, by which objects must be apart to be beside one another; GenEval's


@dataclass(frozen=True)
class Detection:
    """An object in a picture; the box is (left, top, right, bottom) in pixels."""

    label: str
    score: float
    box: tuple[float, float, float, float]


ColorOf = Callable[[Detection], str]


@dataclass(frozen=True)
class Clause:
    """So many objects of a kind, perhaps of a colour, perhaps in relation to an earlier clause."""

    kind: str
    count: int = 1
    color: str | None = None
    position: tuple[str, int] | None = None


@dataclass(frozen=True)
class Scene:
    """What a picture must hold, and what it must not hold that often."""

    include: tuple[Clause, ...]
    exclude: tuple[Clause, ...] = ()
    tag: str = ""

    @classmethod
    def read(cls, metadata: Mapping[str, Any]) -> "Scene":
        parts = [metadata.get(name, []) for name in ("include", "exclude")]
        if not all(isinstance(p, list) and all(isinstance(c, Mapping) for c in p) for p in parts):
            raise ValueError(
                f"`include` and `exclude` of {dict(metadata)} are not GenEval's; expected lists of "
                'objects such as {"class": "cat", "count": 2}'
            )
        include = tuple(_clause(c, i, metadata) for i, c in enumerate(metadata.get("include", [])))
        exclude = tuple(_clause(c, 0, metadata) for c in metadata.get("exclude", []))
        if not include:
            raise ValueError(f"{dict(metadata)} includes no object; expected at least one clause")
        return cls(include, exclude, str(metadata.get("tag", "")))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Everything that a detector must look for."""
        return tuple(dict.fromkeys(clause.kind for clause in (*self.include, *self.exclude)))


def _clause(content: Mapping[str, Any], number: int, metadata: Mapping[str, Any]) -> Clause:
    wrong = ValueError(
        f"clause {dict(content)} of {dict(metadata)} is not GenEval's; expected a class, a count "
        f"of 1 or more, perhaps a color ({', '.join(COLORS)}) and perhaps a position such as "
        '["left of", 0] with the number of an earlier clause'
    )
    if not isinstance(content.get("class"), str) or content.keys() - {
        *("class", "count", "color", "position")
    }:
        raise wrong
    count, color, position = content.get("count", 1), content.get("color"), content.get("position")
    if not isinstance(count, int) or count < 1 or color not in (None, *COLORS):
        raise wrong
    if position is not None and not (
        len(position) == 2 and position[0] in RELATIONS and position[1] in range(number)
    ):
        raise wrong
    return Clause(content["class"], count, color, tuple(position) if position else None)


def read_metadata(file: str | Path) -> dict[str, Scene]:
    """Prompt → what it asks for, from GenEval's evaluation_metadata.jsonl or one like it."""
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {str(path)!r}; expected GenEval's metadata, one JSON object a line"
        )
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    return {row["prompt"]: Scene.read(row) for row in rows}


def confident(
    found: Iterable[Detection], threshold: float, overlap: float = 1.0, most: int = 16
) -> list[Detection]:
    """Objects surer than `threshold`, surest first, at most `most` of a kind.

    Of two of a kind that overlap by `overlap` or more only the surer stays; 1 keeps both, as in
    GenEval.
    """
    ordered = sorted((f for f in found if f.score > threshold), key=lambda f: -f.score)
    stay: list[Detection] = []
    for candidate in ordered:
        same = [f for f in stay if f.label == candidate.label]
        doubled = overlap < 1 and any(shared(f.box, candidate.box) >= overlap for f in same)
        if len(same) < most and not doubled:
            stay.append(candidate)
    return stay


def shared(a: Sequence[float], b: Sequence[float]) -> float:
    """Area of the intersection over area of the union."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / union if union > 0 else 0.0


def relations(a: Detection, b: Detection) -> set[str]:
    """Where a is relative to b; nothing if they are not clearly apart."""
    offset, apart = [], []
    for low, high in ((0, 2), (1, 3)):
        distance = (a.box[low] + a.box[high]) / 2 - (b.box[low] + b.box[high]) / 2
        sizes = a.box[high] - a.box[low] + b.box[high] - b.box[low]
        offset.append(distance)
        apart.append(max(abs(distance) - MARGIN * sizes, 0) * (1 if distance >= 0 else -1))
    if max(abs(value) for value in apart) < 1e-3:
        return set()
    length = (offset[0] ** 2 + offset[1] ** 2) ** 0.5
    right, down = apart[0] / length, apart[1] / length
    holds = {"left of": right < -0.5, "right of": right > 0.5, "above": down < -0.5}
    holds["below"] = down > 0.5
    return {name for name, true in holds.items() if true}


def strict(found: Sequence[Detection], scene: Scene, color_of: ColorOf) -> bool:
    """Every clause holds. More objects than asked for are right unless `exclude` forbids them.

    Colour and position are those of the surest objects.
    """
    groups: list[list[Detection]] = []  # empty where a clause failed
    for clause in scene.include:
        chosen = [f for f in found if f.label == clause.kind][: clause.count]
        holds = len(chosen) == clause.count
        if holds and clause.color is not None:
            holds = all(color_of(f) == clause.color for f in chosen)
        if holds and clause.position is not None:
            relation, other = clause.position
            holds = _all_in(relation, chosen, groups[other])
        groups.append(chosen if holds else [])
    forbidden = (len([f for f in found if f.label == c.kind]) >= c.count for c in scene.exclude)
    return all(groups) and not any(forbidden)


def graded(found: Sequence[Detection], scene: Scene, color_of: ColorOf) -> float:
    """Mean credit over counts, colours and positions, in [0, 1].

    A count earns 1 − |found − asked| / asked; colour and position are looked at only where the
    count is right, and earn 0 otherwise. Unlike Flow-GRPO's server no credit falls below 0, and a
    wrong position earns 0 rather than the half that it gets there.
    """
    credits: list[float] = []
    groups: list[list[Detection]] = []
    for clause in scene.include:
        chosen = [f for f in found if f.label == clause.kind]
        credits.append(max(0.0, 1 - abs(len(chosen) - clause.count) / clause.count))
        holds = len(chosen) == clause.count
        if clause.color is not None:
            right = sum(color_of(f) == clause.color for f in chosen) if holds else 0
            credits.append(right / clause.count)
            holds = right == clause.count
        if clause.position is not None:
            relation, other = clause.position
            holds = holds and bool(groups[other]) and _all_in(relation, chosen, groups[other])
            credits.append(float(holds))
        groups.append(chosen if holds else [])
    return sum(credits) / len(credits)


def _all_in(relation: str, these: Sequence[Detection], those: Sequence[Detection]) -> bool:
    return all(relation in relations(a, b) for a in these for b in those)
