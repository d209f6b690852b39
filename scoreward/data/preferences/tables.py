"""Rows as plain dicts, from Parquet, JSON, CSV or tar on disk, a folder of them, or a hub.

No Parquet file or tar is ever held whole: it is scanned in batches, and single rows come from
`datasets`, which maps it into memory, or from their place in the tar. Rows come without decoded
pictures: a picture is what the file holds, bytes or a path. Of a folder with several splits one is
read.
"""

import json
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from scoreward.data.preferences.records import PreferenceError, Unusable
from scoreward.data.texts import TextError, suffix_of, table
from scoreward.made_of import note

Row = dict[str, Any]
SUFFIXES = (".parquet", ".jsonl", ".json", ".csv", ".tsv", ".tar")
SPLITS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "eval", "evaluation"), "validation"),
}
"""What a file or a folder is called that holds a split, and the split."""
ABOUT = ("dataset_info.json", "dataset_infos.json", "state.json", "dataset_dict.json")
"""Files of `datasets` that hold no rows."""
PICTURES = ("png", "jpg", "jpeg", "webp", "bmp", "tif", "tiff")
_BATCH = 64  # rows read at once while scanning


@dataclass(frozen=True)
class RecordTable:
    """Rows of one file, or of one split of a data set; a stream refuses `row`."""

    file: str
    folder: Path  # where relative paths of pictures begin
    columns: tuple[str, ...]
    scan: Callable[[], Iterator[Row | Unusable]]
    row: Callable[[int], Row]

    def renamed(self, columns: Mapping[str, str]) -> "RecordTable":
        """The same with other names of columns, present name by wanted one.

        Raises PreferenceError for a column that is not there, or is called for twice.
        """
        if absent := [name for name in columns.values() if name not in self.columns]:
            raise PreferenceError(
                f"{self.file} has no column {absent[0]!r}, it has {', '.join(self.columns)}"
            )
        kept = [name for name in self.columns if name not in columns.values()]
        if twice := [name for name in kept if name in columns]:
            raise PreferenceError(
                f"{self.file} has a column {twice[0]!r} already, so {columns[twice[0]]!r} cannot "
                "be called that; rename one of them in the file"
            )
        called = {before: name for name, before in columns.items()}

        def changed(row: Row) -> Row:
            return {called.get(name, name): value for name, value in row.items()}

        def scan() -> Iterator[Row | Unusable]:
            return (row if isinstance(row, Unusable) else changed(row) for row in self.scan())

        return replace(
            self, columns=(*kept, *columns), scan=scan, row=lambda i: changed(self.row(i))
        )


def tables(source: Path | str, streaming: bool = False, split: str = "train") -> list[RecordTable]:
    """Every table of a file, a folder or a data set on a hub.  Raises PreferenceError."""
    path = Path(source)
    if path.is_dir():
        return [_table(file, streaming) for file in files_of(path, split)[0]]
    if path.is_file():
        if split != "train":
            raise PreferenceError(f"{path} is one file and has no splits; leave out --split")
        return [_table(path, streaming)]
    if path.suffix or path.is_absolute() or str(source).count("/") != 1:
        raise PreferenceError(f"there is no file or folder {str(source)!r}")
    return [_from_hub(str(source), streaming, split)]


def files_of(folder: Path, split: str) -> tuple[list[Path], list[Path]]:
    """The files of a split in a folder and the folders in it, and those of other splits.

    A folder whose names tell no splits is read whole. Raises PreferenceError.
    """
    found = [p for p in sorted(folder.rglob("*")) if p.is_file() and _holds_rows(p, folder)]
    if not found:
        raise PreferenceError(f"{folder} has no {', '.join(SUFFIXES)} file in it")
    splits = {path: split_of(path.relative_to(folder)) for path in found}
    told = sorted({name for name in splits.values() if name})
    if not told and split == "train":
        return found, []
    wanted = SPLITS.get(split, split)
    if untold := [path for path, name in splits.items() if not name and told]:
        raise PreferenceError(
            f"{folder} holds the splits {', '.join(told)}, and {untold[0].relative_to(folder)} "
            "does not say of which it is; name one file, or put it away"
        )
    if wanted not in told:
        raise PreferenceError(
            f"{folder} has no file of the split {split!r}; it has {', '.join(told) or 'no splits'}"
            + ("; --split says which is read" if told else "")
        )
    mine = [path for path, name in splits.items() if name == wanted]
    return mine, [path for path in found if path not in mine]


def _holds_rows(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and suffix_of(path)[0] in SUFFIXES and path.name not in ABOUT


def split_of(path: Path) -> str:
    """The split that a path in a data set tells, "" if none; the file's own name comes first."""
    for part in reversed(path.parts):
        words = re.split(r"[^a-z]+", part.lower())
        if found := [SPLITS[word] for word in words if word in SPLITS]:
            return found[0]
    return ""


def _table(path: Path, streaming: bool) -> RecordTable:
    suffix, packed = suffix_of(path)
    if suffix not in SUFFIXES or (packed and suffix in (".parquet", ".tar")):
        raise PreferenceError(f"{path} is not one of {', '.join(SUFFIXES)}, or unpack it first")
    if path.stat().st_size == 0:
        raise PreferenceError(f"{path} is empty")
    note(path)
    if suffix == ".parquet":
        return _parquet(path, streaming)
    if suffix == ".tar":
        return _tar(path)
    return _lines(path) if suffix == ".jsonl" and not packed else _held(path)


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
    for place, line in _pieces(path):
        if line.strip():
            starts.append(place)
    if not starts:
        raise PreferenceError(f"{path} is empty")

    def row(i: int) -> Row:
        with path.open("rb") as file:
            file.seek(starts[i])
            return _object(re.split(rb"[\r\n]", file.readline())[0])

    def scan() -> Iterator[Row | Unusable]:
        for _, line in _pieces(path):
            if line.strip():
                try:
                    yield _object(line)
                except Unusable as fault:
                    yield fault

    return RecordTable(str(path), path.parent, _columns(path, scan), scan, row)


def _columns(path: Path, scan: Callable[[], Iterator[Row | Unusable]]) -> tuple[str, ...]:
    """Those of the first row that can be read.  Raises PreferenceError if none can."""
    first = None
    for one in scan():
        if isinstance(one, dict):
            return tuple(one)
        first = first or one
    raise PreferenceError(f"no row of {path} can be read; row 0: {first}")


def _pieces(path: Path) -> Iterator[tuple[int, bytes]]:
    """Where each line begins, and the line, whatever of LF, CRLF and CR ends it.

    Raises PreferenceError for UTF-16 and UTF-32.
    """
    with path.open("rb") as file:
        place = 0
        for line in file:
            if place == 0 and line.startswith((b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")):
                raise PreferenceError(f"{path} is UTF-16 or UTF-32, expected UTF-8; save it again")
            for piece in re.findall(rb"[^\r]*\r?|[^\r]+", line):
                yield place, piece
                place += len(piece)


def _object(line: bytes) -> Row:
    try:
        found = json.loads(line.removeprefix(b"\xef\xbb\xbf").decode())
    except UnicodeDecodeError:
        raise Unusable(f"it is not UTF-8: {line[:60]!r}") from None
    except (ValueError, RecursionError):
        raise Unusable(f"it is not JSON: {line[:60]!r}") from None
    if not isinstance(found, dict):
        raise Unusable(f"it is not a JSON object: {line[:60]!r}")
    return found


def _held(path: Path) -> RecordTable:
    """JSON arrays, CSV, TSV and what is compressed: held whole, for they have no places in them."""
    try:
        rows: list[Row] = [dict(row.values) for row in table(path, "prompt")]
    except TextError as error:
        raise PreferenceError(str(error)) from None
    if not rows:
        raise PreferenceError(f"{path} is empty")
    return RecordTable(str(path), path.parent, tuple(rows[0]), lambda: iter(rows), rows.__getitem__)


def _tar(path: Path) -> RecordTable:
    """Files that differ only in what follows their first dot are one row: `7.json`, `7.winner.png`.

    The fields of a `.json` are columns, a `.txt` and a picture are the column before their suffix
    (`text` and `image` if there is none). Only places are remembered.
    """
    members: dict[str, list[tuple[str, int, int]]] = {}
    try:
        with tarfile.open(path, "r:") as file:
            for one in file:
                if one.isfile() and not Path(one.name).name.startswith("."):
                    head, _, kind = Path(one.name).name.partition(".")
                    key = str(Path(one.name).parent / head)
                    members.setdefault(key, []).append((kind, one.offset_data, one.size))
    except (tarfile.TarError, OSError) as error:
        raise PreferenceError(f"{path} is not a tar that can be read: {_line(error)}") from None
    if not members:
        raise PreferenceError(f"{path} is empty")
    places = list(members.values())

    def row(i: int) -> Row:
        made: Row = {}
        with path.open("rb") as file:
            for kind, place, size in places[i]:
                file.seek(place)
                made |= _member(kind.lower(), file.read(size))
        return made

    def scan() -> Iterator[Row | Unusable]:
        for i in range(len(places)):
            try:
                yield row(i)
            except Unusable as fault:
                yield fault

    return RecordTable(str(path), path.parent, _columns(path, scan), scan, row)


def _member(kind: str, content: bytes) -> Row:
    """The columns that one file of a tar is.  Raises Unusable."""
    name, _, suffix = kind.rpartition(".")
    if suffix == "json":
        found = _object(content.replace(b"\n", b" "))
        return {name: found} if name else found
    if suffix == "txt":
        try:
            return {name or "text": content.decode("utf-8-sig").strip()}
        except UnicodeDecodeError:
            raise Unusable(f"{kind} is not UTF-8") from None
    return {(name or "image") if suffix in PICTURES else kind: content}
