"""Which columns a file has decides how its rows become records.

A layout is a name, the columns that give it away, and a function from the row (or the rows that
belong together) to records. Here are the layouts of our own files; files.py chooses.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from PIL import Image

from scoreward.data.pictures import PictureError
from scoreward.data.pictures import picture as a_picture
from scoreward.data.preferences.records import (
    ImageBinary,
    ImageGroup,
    ImagePair,
    Prompt,
    Record,
    TextBinary,
    TextGroup,
    TextPair,
    Unusable,
)
from scoreward.data.preferences.tables import PICTURES, Row

LONGEST_PATH = 1024  # characters; what is longer is a picture in base64
CODED = re.compile(r"(iVBORw0KGgo|/9j/|UklGR|SUkq|TU0AK|Qk)[A-Za-z0-9+/\s]{60,}={0,2}\s*")
"""A PNG, JPEG, WebP, TIFF or BMP in base64."""
NAMED = re.compile(rf"\S{{1,{LONGEST_PATH}}}\.({'|'.join(PICTURES)})$", re.IGNORECASE)


class Tie(Enum):
    """Two candidates of which none was preferred."""

    TIE = "tie"


TIE = Tie.TIE
Made = Iterator[Record | Tie]
Make = Callable[[Sequence[Row], Path], Made]
"""(rows that are one case, folder of pictures) → records; raises Unusable."""


@dataclass(frozen=True)
class Layout:
    """How rows with these columns become records, of one kind or of a choice."""

    name: str
    columns: frozenset[str]  # that must be there
    makes: Mapping[type, Make]  # by kind
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


def number(name: str, value: object) -> float:
    """A number; not a finite one is refused later, in one place.  Raises Unusable."""
    if isinstance(value, str):  # as a CSV has it
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unusable(f"{name} is {value!r}, which is not a number"[:200])
    return float(value)


def maybe(row: Row, name: str) -> float | None:
    """A number that may be missing."""
    return None if row.get(name) in (None, "") else number(name, row[name])


def flag(row: Row, name: str) -> bool:
    """True or false, also as 1 or 0, or as a CSV has them.  Raises Unusable."""
    value = cell(row, name)
    if isinstance(value, str):
        value = {"true": True, "1": True, "false": False, "0": False}.get(value.lower(), value)
    if value not in (True, False):
        raise Unusable(f"{name} is {value!r}; expected true or false")
    return bool(value)


def word(row: Row, name: str) -> str:
    """An id or a source as text; nothing where there is none."""
    return str(row.get(name) or "")


def prompt_of(row: Row) -> Prompt:
    """Text, or the messages of a chat."""
    value = cell(row, "prompt")
    return value if isinstance(value, str) else messages("prompt", value)


def messages(name: str, value: object) -> list[dict[str, str]]:
    """A chat, checked: each message has a role and a content.  Raises Unusable."""
    if not isinstance(value, list) or not all(isinstance(m, dict) for m in value):
        raise Unusable(f"{name} is {value!r}, neither text nor a list of messages"[:200])
    for message in value:
        if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
            raise Unusable(f"a message in {name} lacks its role or content: {message!r}"[:200])
    return [{"role": m["role"], "content": m["content"]} for m in value]


def opened(name: str, value: object, folder: Path) -> Image.Image:
    """The picture of one cell, as it is to be looked at: bytes, base64 or a path in the folder.

    `datasets` stores bytes and path together; a list of one picture is that picture. Raises
    Unusable.
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    content = value.get("bytes") or value.get("path") if isinstance(value, dict) else value
    if not content:
        raise Unusable(f"there is no picture in {name}")
    if isinstance(content, str):
        content = _spelled(name, content, folder)
    elif not isinstance(content, bytes):
        raise Unusable(f"{name} is {type(content).__name__}, not a picture's bytes or path")
    try:
        what = f"the picture in {name}" if isinstance(content, bytes) else f"{content} in {name}"
        return a_picture(content, what)
    except PictureError as fault:
        raise Unusable(str(fault)) from None


def _spelled(name: str, text: str, folder: Path) -> bytes | Path:
    """What a text in the place of a picture means.  Raises Unusable."""
    head, comma, coded = text.partition(",")
    if head.startswith("data:") and comma:
        return _unpacked(name, coded)
    if "://" in text[:12]:
        raise Unusable(f"{name} is an address on the web, {text[:80]}; download its picture first")
    if len(text) > LONGEST_PATH or CODED.fullmatch(text):
        return _unpacked(name, text)
    gone = Unusable(
        f"{name} names a picture that is not there, {folder / text}; --pictures says where such "
        "paths begin"
    )
    try:
        path, root = (folder / text).resolve(), folder.resolve()
        there = path.is_file()
    except (OSError, ValueError, RuntimeError):  # no path: too long, with a zero, in a circle
        raise gone from None
    # a hub's cache has links beside its files, into a folder of its own
    blobs = root.parents[1] / "blobs" if root.parent.name == "snapshots" else root
    if not (path.is_relative_to(root) or path.is_relative_to(blobs)):
        raise Unusable(
            f"{name} names a picture outside of {folder}, {text}; --pictures says in which folder "
            "such pictures are"
        )
    if not there:
        raise gone
    return path


def _unpacked(name: str, text: str) -> bytes:
    try:
        return b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise Unusable(f"{name} is neither a path nor a picture in base64: {text[:60]!r}") from None


def holds_picture(value: object) -> bool:
    """Whether a cell is a picture: bytes, what `datasets` stores, base64, a path, or a list of one.

    A text is a picture's path or address if it has no space and ends as one.
    """
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        return "bytes" in value and "role" not in value
    if isinstance(value, str):
        return bool(value.startswith("data:image/") or CODED.fullmatch(value) or NAMED.match(value))
    return isinstance(value, bytes)


def picture(row: Row, name: str, folder: Path) -> Image.Image:
    """A picture that must be there.  Raises Unusable."""
    return opened(name, cell(row, name), folder)


CELLS: Mapping[str, Callable[[Row, str], object]] = {
    "prompt": lambda row, _: prompt_of(row),
    "scores": lambda row, name: {
        text(one, "name"): [number(name, v) for v in cell(one, "values")] for one in cell(row, name)
    },
    "completions": lambda row, name: [
        text({"completion": one}, "completion") for one in cell(row, name)
    ],
    "rewards": lambda row, name: [number(name, v) for v in cell(row, name)],
    "seeds": lambda row, name: tuple(row.get(name) or ()),
    "weight": lambda row, name: 1.0 if row.get(name) is None else maybe(row, name),
    "chosen": text,
    "rejected": text,
    "completion": text,
    "desirable": flag,
    "score_w": maybe,
    "score_l": maybe,
    "wins": Row.get,
    "losses": Row.get,
    "id": word,
    "source": word,
}
"""Our files have the fields of a record as columns; this is how each but pictures is read."""


def _own(kind: type[Record], columns: str) -> Layout:
    def make(rows: Sequence[Row], folder: Path) -> Made:
        row, values = rows[0], dict[str, Any]()
        for name in kind.__dataclass_fields__:
            if name == "images":
                cells = enumerate(cell(row, name))
                values[name] = [opened(f"image {i}", value, folder) for i, value in cells]
            elif name == "prompt" and kind in (ImagePair, ImageBinary, ImageGroup):
                values[name] = text(row, name)
            elif name in CELLS:
                values[name] = CELLS[name](row, name)
            else:
                values[name] = picture(row, name, folder)
        yield kind(**values)

    return Layout(f"scoreward {kind.__name__}", frozenset(columns.split()), {kind: make})


OWN = (
    _own(ImagePair, "prompt winner loser"),
    _own(ImageBinary, "prompt image desirable"),
    _own(ImageGroup, "prompt images scores"),
    _own(TextPair, "prompt chosen rejected score_w score_l id source"),
    _own(TextBinary, "prompt completion desirable"),
    _own(TextGroup, "prompt completions rewards"),
)
