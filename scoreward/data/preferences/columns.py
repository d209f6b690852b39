"""What the columns of a table are: by their names, or as whoever reads it says; never a guess."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from scoreward.data.preferences.layouts import OWN, Layout, holds_picture
from scoreward.data.preferences.layouts_images import PUBLIC_IMAGES
from scoreward.data.preferences.layouts_texts import PUBLIC_TEXTS
from scoreward.data.preferences.records import ImageBinary, ImageGroup, ImagePair, PreferenceError
from scoreward.data.preferences.tables import RecordTable
from scoreward.data.texts import blank

KNOWN = (*OWN, *PUBLIC_IMAGES, *PUBLIC_TEXTS)  # of two that fit, the earlier one is meant
FIELDS = {"system", *(column for layout in KNOWN for column in layout.columns)}
PROMPTS = ("question", "instruction", "query", "input", "problem")  # what else prompts are called
ASKED = {"prompt", "caption"}  # what layouts call them
HARMLESS = (
    *("id", "ids", "uid", "uuid", "hash", "index", "source", "sources", "origin", "dataset"),
    *("subset", "split", "model", "models", "name", "generator", "annotator", "rater", "path"),
    *("license", "language", "lang", "date", "time", "timestamp", "url", "score", "scores"),
    *("rating", "rank", "label", "margin", "category", "type", "topic", "tags", "rationale"),
)
"""What a column is called that no model is told: the last word of its name."""
SIDES = re.compile(r"chosen|rejected|winner|loser|[a-z]?")  # words that only say which answer
LOOKED = 50  # rows in which texts are looked for
PICTURED = (ImagePair, ImageBinary, ImageGroup)


@dataclass(frozen=True)
class Reading:
    """How preference files are read."""

    layout: str = "auto"  # by the columns, or a layout by name
    columns: tuple[str, ...] = ()  # where they are called otherwise: prompt=question
    pictures: Path | None = None  # the folder that paths of pictures lead into; default: the file's
    split: str = "train"  # of a folder or a data set that has several

    def renamed(self) -> dict[str, str]:
        """Column of the file by what it is.  Raises PreferenceError."""
        found: dict[str, str] = {}
        for one in self.columns:
            name, equals, column = one.partition("=")
            if not (name and equals and column) or name in found or column in found.values():
                raise PreferenceError(
                    f"--columns takes WHAT=COLUMN, each once, as in prompt=question; got {one!r}"
                )
            if name not in FIELDS:
                raise PreferenceError(
                    f"no layout has a column {name!r}; columns are {', '.join(sorted(FIELDS))}"
                )
            found[name] = column
        return found


@dataclass(frozen=True)
class Recognised:
    """A table with its columns called as its layout has them."""

    table: RecordTable
    layout: Layout
    kinds: tuple[type, ...]  # what its rows can be; the first is meant
    unread: tuple[str, ...]  # columns of texts that no record has


def recognised(found: RecordTable, how: Reading) -> Recognised:
    """What a table is.  Raises PreferenceError where that would be a guess."""
    names = how.renamed()
    here = {*found.columns, *names}
    others = [name for name in PROMPTS if name in found.columns and name not in names.values()]
    said = bool(here & ASKED)
    fits = any("prompt" in one.columns <= here | {"prompt"} for one in KNOWN)
    if not said and fits and len(others) == 1:
        names["prompt"] = others[0]
    table = found.renamed(names) if names else found
    rows = [row for row in islice(table.scan(), LOOKED) if isinstance(row, dict)]
    pictured = next(
        (holds_picture(v) for r in rows for n in ("chosen", "completion") if (v := r.get(n))), None
    )
    layout = recognise(table.file, table.columns, how.layout, pictured)
    kinds = tuple(k for k in layout.makes if pictured in (None, k in PICTURED))
    texts = {name: value for row in rows for name, value in row.items() if _is_text(value)}
    with_system = kinds[:1] and kinds[0] not in PICTURED and layout.columns & {"chosen", "label"}
    read = {*layout.columns, *(["system"] if with_system else [])}
    unread = tuple(name for name in texts if name not in read and says(name))
    bare = "prompt" not in names and "system" in texts and isinstance(texts.get("chosen"), str)
    if not said and (unread or bare):
        lost = [*unread, *(["system"] if bare and "system" not in unread else [])]
        likely = [name for name in lost if {*_words(name)} & {"prompt", *PROMPTS}]
        raise PreferenceError(
            f"{table.file} has no column prompt, and texts that would not be read: "
            f"{', '.join(lost)}; say what they are, for example --columns "
            f"prompt={(likely or lost)[0]}"
        )
    return Recognised(table, layout, kinds, unread)


def _is_text(value: Any) -> bool:
    """Whether a value says something: words, or a list of messages; numbers in a CSV do not."""
    if isinstance(value, list):
        return bool(value) and isinstance(value[0], dict) and not holds_picture(value)
    return isinstance(value, str) and not blank(value) and not re.fullmatch(r"[-+.e\d]+", value)


def _words(name: str) -> list[str]:
    return re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())


def says(name: str) -> bool:
    """Whether a column of this name may be part of what a model is told."""
    words = [word for word in _words(name) if not SIDES.fullmatch(word)]
    return not words or words[-1] not in HARMLESS


def recognise(
    file: str, columns: Sequence[str], layout: str = "auto", pictured: bool | None = None
) -> Layout:
    """The layout named, or the first that fits the columns and holds pictures, or texts, as said.

    Raises PreferenceError.
    """
    named = [one for one in KNOWN if layout in ("auto", one.name)]
    if not named:
        names = ", ".join(one.name for one in KNOWN)
        raise PreferenceError(f"there is no layout {layout!r}; there are auto, {names}")
    fitting = [one for one in named if one.columns <= set(columns)]
    if pictured is not None:
        held = [one for one in fitting if any((k in PICTURED) is pictured for k in one.makes)]
        if fitting and not held:
            raise PreferenceError(
                f"{file} has {'pictures' if pictured else 'texts'} for answers, which the "
                f"layout {fitting[0].name} does not take"
            )
        fitting = held
    if fitting:
        return fitting[0]
    nearest = min(named, key=lambda one: len(one.columns - set(columns)) / len(one.columns))
    missing = ", ".join(sorted(nearest.columns - set(columns)))
    raise PreferenceError(
        f"{file} has the columns {', '.join(columns) or '(none)'}, which fit no layout that is "
        f"asked for; {nearest.name}, the nearest, also needs {missing}; --columns WHAT=COLUMN says "
        f"what is called otherwise; layouts are {'; '.join(map(str, named))}"
    )
