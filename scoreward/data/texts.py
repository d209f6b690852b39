"""The one door for text that people give: what encoding, where lines end, what counts as text.

A file is UTF-8, with or without a byte-order mark. LF, CRLF and CR end a line and nothing else
does. A table is one text or one JSON object a line, JSON, CSV, TSV or Parquet, as its suffix says,
and may be compressed with gzip.
"""

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import category

from scoreward.made_of import note

LINE = re.compile(r"\r\n|\r|\n")
MARK = "\ufeff"
OTHERS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}  # by the bytes a file begins with; the longer ones first
LONGEST = 1 << 30  # bytes of a text file, unpacked; ours
SHOWN = 60  # characters of what is quoted in a sentence


class TextError(ValueError):
    """A file, or a value in it, that is not text as it should be."""


@dataclass(frozen=True)
class FileRow:
    """What one row of a table holds, and where that is."""

    place: str  # "line 3 of prompts.jsonl"
    values: Mapping[str, Any]

    def text(self, name: str) -> str:
        """A value that must be there and say something.  Raises TextError."""
        if name not in self.values:
            there = ", ".join(map(str, self.values)) or "nothing"
            raise TextError(f'{self.place} has no "{name}"; it has {there}')
        return checked(self.values[name], f'"{name}" in {self.place}')


def checked(value: object, what: str) -> str:
    """The value without blanks around it, if it is text that says something.  Raises TextError."""
    if not isinstance(value, str):
        raise TextError(f"{what} is {json_like(value)}, expected text")
    if blank(value):
        raise TextError(f"{what} is empty, expected text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise TextError(
            f"{what} has half a character, a lone surrogate, as a text that was cut in the middle "
            f"of an emoji; write it again: {value[:SHOWN]!r}"
        ) from None
    return value.strip()


def blank(text: str) -> bool:
    """Whether nothing in it can be seen: spaces, marks, control characters."""
    return all(category(one)[0] == "Z" or category(one) in ("Cc", "Cf") for one in text)


def json_like(value: object) -> str:
    """A value of a file as the file would have it, cut."""
    try:
        said = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        said = repr(value)
    return said if len(said) <= SHOWN else f"{said[:SHOWN]} ..."


def text_of(path: Path) -> str:
    """A whole text file; `.gz` is unpacked.  Raises TextError naming the first line that is not
    UTF-8."""
    raw = content_of(path)
    for start, name in OTHERS.items():
        if raw.startswith(start):
            raise TextError(f"{path} is {name}, expected UTF-8; save it with that encoding")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = len(LINE.findall(raw[: error.start].decode("utf-8-sig", "replace"))) + 1
        raise TextError(
            f"line {line} of {path} is not UTF-8: it has the byte 0x{raw[error.start]:02x}, as "
            "Latin-1 and other encodings of Windows write; save the file as UTF-8"
        ) from None


def content_of(path: Path) -> bytes:
    """The bytes of a file, unpacked.  Raises TextError for what cannot be read or is too large."""
    try:
        note(path)
        if suffix_of(path)[1]:
            with gzip.open(path) as stream:
                raw = stream.read(LONGEST + 1)
        else:
            if path.stat().st_size > LONGEST:
                raise TextError(f"{path} is larger than the {LONGEST >> 30} GiB of a text file")
            raw = path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TextError(f"{path} does not unpack, it is damaged or no gzip: {error}") from None
    except IsADirectoryError:
        raise TextError(f"{path} is a folder, expected a file") from None
    except OSError as error:
        raise TextError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(raw) > LONGEST:
        raise TextError(f"{path} unpacks to more than the {LONGEST >> 30} GiB of a text file")
    return raw


def lines_of(path: Path) -> list[str]:
    """The lines of a text file; the first has number 1.  Raises TextError."""
    return [line.removeprefix(MARK) for line in LINE.split(text_of(path))]


def suffix_of(path: Path) -> tuple[str, bool]:
    """What a file says it holds, in small letters, and whether it is compressed."""
    parts = [part.lower() for part in path.suffixes]
    packed = parts[-1:] == [".gz"]
    rest = parts[:-1] if packed else parts
    return (rest[-1] if rest else ""), packed


def table(path: Path, line: str) -> Iterator[FileRow]:
    """The rows of a file, blank lines left out; a line of a `.txt` is the value named `line`.

    Raises TextError for a suffix that is not one of `TABLES`, and for what is not such a file.
    """
    suffix, packed = suffix_of(path)
    if suffix not in TABLES or (packed and suffix == ".parquet"):
        known = ", ".join(TABLES)
        raise TextError(f"{path} is none of {known} (all but Parquet also with .gz after it)")
    return TABLES[suffix](path, line)


def _plain(path: Path, name: str) -> Iterator[FileRow]:
    for number, line in enumerate(lines_of(path), 1):
        if not blank(line):
            yield FileRow(f"line {number} of {path}", {name: line})


def _json_lines(path: Path, name: str) -> Iterator[FileRow]:
    for number, line in enumerate(lines_of(path), 1):
        if not blank(line):
            place = f"line {number} of {path}"
            yield FileRow(place, json_object(line, place))


def _json(path: Path, name: str) -> Iterator[FileRow]:
    """An array of objects; a file of one object a line is read as that."""
    text = text_of(path)
    if blank(text):
        return
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):
        held = None
    if not isinstance(held, list):
        yield from _json_lines(path, name)
        return
    for number, entry in enumerate(held):
        place = f"entry {number} of {path}"
        if not isinstance(entry, dict):
            raise TextError(f"{place} is {json_like(entry)}, expected a JSON object")
        yield FileRow(place, entry)


def json_object(line: str, place: str) -> dict[str, Any]:
    """One JSON object.  Raises TextError."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        raise TextError(f"{place} is not a JSON object: {line.strip()[:SHOWN]!r}")
    return entry


def _separated(comma: str) -> Callable[[Path, str], Iterator[FileRow]]:
    def rows(path: Path, name: str) -> Iterator[FileRow]:
        reader = csv.reader(io.StringIO(text_of(path), newline=""), delimiter=comma, strict=True)
        names: list[str] = []
        try:
            for cells in reader:
                place = f"line {reader.line_num} of {path}"
                if not any(map(str.strip, cells)):
                    continue
                if not names:
                    names = header(cells, place)
                elif len(cells) != len(names):
                    raise TextError(
                        f"{place} has {len(cells)} cells, and the first line names {len(names)}: "
                        f"{', '.join(names)}"
                    )
                else:
                    yield FileRow(place, dict(zip(names, cells)))
        except csv.Error as error:
            raise TextError(f"line {reader.line_num} of {path} cannot be read: {error}") from None

    return rows


def header(cells: list[str], place: str) -> list[str]:
    """The names of the columns of a CSV.  Raises TextError."""
    names = [cell.strip() for cell in cells]
    if "" in names or len(set(names)) < len(names):
        raise TextError(
            f"{place} should name the columns, each by another name, and has {', '.join(names)}"
        )
    return names


def _parquet(path: Path, name: str) -> Iterator[FileRow]:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise TextError(
            f"{path} is Parquet, which needs: pip install 'scoreward[preferences]'"
        ) from None
    try:
        note(path)
        with ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(1024):
                for entry in batch.to_pylist():
                    yield FileRow(f"row {number} of {path}", entry)
                    number += 1
    except (pyarrow.ArrowException, OSError) as error:
        said = " ".join(str(error).split())[:300]
        raise TextError(f"{path} is not a Parquet file that can be read: {said}") from None


TABLES: Mapping[str, Callable[[Path, str], Iterator[FileRow]]] = {
    ".txt": _plain,
    ".jsonl": _json_lines,
    ".json": _json,
    ".csv": _separated(","),
    ".tsv": _separated("\t"),
    ".parquet": _parquet,
}
"""What a file holds, by its suffix."""
