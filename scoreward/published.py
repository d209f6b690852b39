"""What authors published, as data, and which settings of ours it is.

`assets/published/settings.toml` holds one table per method, base and task. `rows.toml` beside it
says where each number stands here, and why where ours is another one; docs/published.md is made of
both. A test fails when an equal pair drifts apart, and when a difference with a reason is gone.
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import isclose
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "assets" / "published"
SENTENCE_END = (".", ")")


@dataclass(frozen=True)
class PublishedNumber:
    """One published number and the setting of ours that it is.

    `ours` is a recipe, or MODULE:NAME of a class or of a table of defaults; `attribute` leads from
    there by dots. `because` is empty where both must be equal, else it says why they are not.
    """

    ours: str
    table: str
    key: str
    attribute: str
    because: str = ""


@cache
def tables() -> Mapping[str, Mapping[str, Any]]:
    """Every table by its name METHOD.BASE.TASK, what it inherits filled in."""
    raw = _named(_read("settings.toml"))
    return {name: _filled(name, raw) for name in raw}


@cache
def rows() -> tuple[PublishedNumber, ...]:
    """All pairs of a published number and a setting of ours."""
    given = _read("rows.toml")
    return tuple(
        row
        for ours, pairs in given["rows"].items()
        for table, parts in pairs.items()
        for row in _rows(ours, table, parts, given["places"])
    )


def unlisted() -> Mapping[tuple[str, str], str]:
    """Defaults that name a source whose number is in no table, and where it comes from."""
    given = _read("rows.toml")["unlisted"]
    return {(owner, name): said for owner, names in given.items() for name, said in names.items()}


def agrees(key: str, published: Any, ours: Any) -> bool:
    """Whether a setting of ours is the published one.

    Numbers to a relative 1e-9, lists element by element; one number of ours agrees with a published
    interval that holds it. `words` of rows.toml says what is called otherwise here.
    """
    called = _read("rows.toml")["words"].get(key, {}).get(str(ours))
    if called is not None:
        return published in called
    if isinstance(published, bool) or isinstance(ours, bool) or ours is None:
        return published is ours
    if isinstance(published, (int, float)) and isinstance(ours, (int, float)):
        return isclose(published, ours, rel_tol=1e-9)
    if isinstance(published, list):
        if isinstance(ours, (int, float)):
            interval = len(published) == 2 and published[0] <= published[1]
            return interval and published[0] <= ours <= published[1]
        same = isinstance(ours, Sequence) and len(ours) == len(published)
        return same and all(agrees(key, p, o) for p, o in zip(published, ours, strict=True))
    return published == ours


def published(row: PublishedNumber) -> Any:
    """The published number of a row; a key may end in .NUMBER, the element of a list."""
    return at(tables()[row.table], row.key)


def at(thing: Any, path: str) -> Any:
    """What stands there: attributes, keys and numbers of elements, joined by dots."""
    for part in path.split("."):
        if isinstance(thing, Mapping):
            thing = thing[part]
        elif isinstance(thing, Sequence) and part.isdigit():
            thing = thing[int(part)]
        else:
            thing = getattr(thing, part)
    return thing


def _rows(
    ours: str, table: str, parts: Mapping[str, Any], places: Mapping[str, str]
) -> Iterator[PublishedNumber]:
    """`same` lists keys at their usual places and "KEY -> PLACE", or maps keys to places."""
    same = parts.get("same", [])
    for entry in same:
        key, _, place = entry.partition(" -> ")
        yield PublishedNumber(
            ours, table, key, place or (same if isinstance(same, Mapping) else places)[key]
        )
    for key, said in parts.get("differs", {}).items():
        place, because = (places[key], said) if isinstance(said, str) else said
        if not because.endswith(SENTENCE_END):
            raise ValueError(f"rows.toml: {ours}, {key}: the reason must be a sentence")
        yield PublishedNumber(ours, table, key, place, because)


def _named(tree: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    if len(prefix) == 3:
        return {".".join(prefix): dict(tree)}
    found = [_named(inner, (*prefix, name)) for name, inner in tree.items()]
    return {name: table for part in found for name, table in part.items()}


def _filled(name: str, raw: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    table = dict(raw[name])
    parent = table.pop("inherits", None)
    return table if parent is None else _filled(parent, raw) | table


@cache
def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / name).read_text(encoding="utf-8"))
