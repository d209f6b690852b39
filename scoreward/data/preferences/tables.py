"""Rows as plain dicts, from Parquet or JSON on disk, a folder of either, or a hub.

No Parquet file is ever held whole: it is scanned in batches, and single rows come from `datasets`,
which maps it into memory. Rows come without decoded pictures: a picture is what the file holds,
bytes or a path.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scoreward.data.preferences.records import PreferenceError, Unusable

Row = dict[str, Any]
SUFFIXES = (".parquet", ".jsonl", ".json")
_BATCH = 64  # rows read at once while scanning


@dataclass(frozen=True)
class RecordTable:
    """Rows of one file, or of one split of a data set; a stream refuses `row`."""

    file: str
    folder: Path  # where relative paths of pictures begin
    columns: tuple[str, ...]
    scan: Callable[[], Iterator[Row | Unusable]]
    row: Callable[[int], Row]


def tables(source: Path | str, streaming: bool = False, split: str = "train") -> list[RecordTable]:
    """Every table of a file, a folder or a data set on a hub.  Raises PreferenceError."""
    path = Path(source)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix in SUFFIXES)
        if not found:
            raise PreferenceError(f"{path} has no {', '.join(SUFFIXES)} file in it")
        return [_table(p, streaming) for p in found]
    if path.is_file():
        return [_table(path, streaming)]
    if path.suffix or path.is_absolute() or str(source).count("/") != 1:
        raise PreferenceError(f"there is no file or folder {str(source)!r}")
    return [_from_hub(str(source), streaming, split)]


def _table(path: Path, streaming: bool) -> RecordTable:
    if path.suffix not in SUFFIXES:
        raise PreferenceError(f"{path} is not one of {', '.join(SUFFIXES)}")
    if path.stat().st_size == 0:
        raise PreferenceError(f"{path} is empty")
    if path.suffix == ".parquet":
        return _parquet(path, streaming)
    return _lines(path) if path.suffix == ".jsonl" else _array(path)


def _parquet(path: Path, streaming: bool) -> RecordTable:
    """Scanned in batches as it lies there; `datasets` maps it into memory for single rows."""
    import pyarrow
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            columns, count = tuple(file.schema_arrow.names), file.metadata.num_rows
    except (pyarrow.ArrowException, OSError) as error:
        raise PreferenceError(f"{path} is not a Parquet file: {_line(error)}") from None
    if count == 0:
        raise PreferenceError(f"{path} is empty: it has columns but no rows")

    def scan() -> Iterator[Row]:
        try:
            with ParquetFile(path, pre_buffer=False) as file:
                for batch in file.iter_batches(_BATCH):
                    yield from batch.to_pylist()
        except (pyarrow.ArrowException, OSError) as error:
            raise PreferenceError(f"{path} cannot be read: {_line(error)}") from None

    @cache
    def mapped() -> Any:
        return _loaded(str(path), "parquet", str(path), "train", False)

    row = _refuse if streaming else lambda i: mapped()[i].to_pylist()[0]
    return RecordTable(str(path), path.parent, columns, scan, row)


def _from_hub(name: str, streaming: bool, split: str) -> RecordTable:
    arrow = _loaded(name, name, None, split, streaming)

    def scan() -> Iterator[Row]:
        for batch in arrow.iter(_BATCH):
            yield from batch.to_pylist()

    columns = tuple(arrow.column_names or next(scan(), {}))
    row = _refuse if streaming else lambda i: arrow[i].to_pylist()[0]
    return RecordTable(name, Path(), columns, scan, row)


def _loaded(file: str, builder: str, data_files: str | None, split: str, streaming: bool) -> Any:
    """A data set whose rows come as Arrow tables, pictures undecoded."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        with _quiet():
            found: Any = load_dataset(
                builder, data_files=data_files, split=split, streaming=streaming
            )
    except (DatasetsError, OSError, ValueError) as error:
        raise PreferenceError(f"{file} cannot be read: {_line(error)}") from None
    return found.with_format("arrow")


def _line(error: BaseException) -> str:
    """What went wrong underneath, on one line."""
    return " ".join(str(error.__cause__ or error).split())[:300]


def _refuse(index: int) -> Row:
    raise PreferenceError(f"a stream is read from its beginning, so it has no row {index}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars of `datasets`, which belong to no one here."""
    from datasets.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _lines(path: Path) -> RecordTable:
    """JSON, one object a line; remembers where each line begins."""
    starts: list[int] = []
    with path.open("rb") as file:
        place = 0
        for line in file:
            if line.strip():
                starts.append(place)
            place += len(line)
    if not starts:
        raise PreferenceError(f"{path} is empty")

    def row(i: int) -> Row:
        with path.open("rb") as file:
            file.seek(starts[i])
            return _object(file.readline())

    def scan() -> Iterator[Row | Unusable]:
        with path.open("rb") as file:
            for line in file:
                if line.strip():
                    try:
                        yield _object(line)
                    except Unusable as fault:
                        yield fault

    first = next(((r) for r in scan() if isinstance(r, dict)), {})
    return RecordTable(str(path), path.parent, tuple(first), scan, row)


def _object(line: bytes) -> Row:
    try:
        found = json.loads(line)
    except ValueError:
        raise Unusable(f"it is not JSON: {line[:60]!r}") from None
    if not isinstance(found, dict):
        raise Unusable(f"it is not a JSON object: {line[:60]!r}")
    return found


def _array(path: Path) -> RecordTable:
    """A JSON array of objects, held whole because JSON cannot be read in pieces."""
    try:
        rows = json.loads(path.read_bytes())
    except ValueError:
        raise PreferenceError(f"{path} is not JSON; one object a line is .jsonl") from None
    if not isinstance(rows, list) or not all(isinstance(r, dict) for r in rows):
        raise PreferenceError(f"{path} should be a JSON array of objects")
    if not rows:
        raise PreferenceError(f"{path} is empty")
    return RecordTable(str(path), path.parent, tuple(rows[0]), lambda: iter(rows), rows.__getitem__)
