"""Preference records in Parquet files: written whole or not at all, read without holding them.

Pictures are stored as `datasets` stores them, so a file opens anywhere as a data set with images.
Reading checks every row once; a sequence then makes record i anew from its row when asked.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from scoreward.preferences.faults import (
    PreferenceError,
    Unusable,
    check,
    first_of,
    pictures,
)
from scoreward.preferences.layouts import Layout, Tie, recognise
from scoreward.preferences.pictures import decode, stored
from scoreward.preferences.records import (
    Dropped,
    Fault,
    ImageBinary,
    ImageGroup,
    ImagePair,
    Record,
    TextBinary,
    TextGroup,
    TextPair,
)
from scoreward.preferences.tables import Row, Table, tables

R = TypeVar("R", bound=Record)
_ROWS = 100  # rows held at once while writing


# Writing


def write(path: Path | str, records: Iterable[Record]) -> int:
    """Write records of one kind to a Parquet file; returns how many.  Raises PreferenceError.

    The file is written aside and renamed, so that it is there whole or not at all.
    """
    target = Path(path)
    waiting = iter(records)
    first = next(waiting, None)
    if first is None:
        raise PreferenceError(f"there are no records to write to {target}")
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        count = _written(aside, target, first, chain([first], waiting))
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)
    return count


def _written(aside: Path, target: Path, first: Record, records: Iterable[Record]) -> int:
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    kind, chat = type(first), not isinstance(first.prompt, str)
    schema = _features(kind, chat).arrow_schema
    count, waiting = 0, iter(records)
    with ParquetWriter(aside, schema) as writer:
        while batch := list(islice(waiting, _ROWS)):
            rows = [_row(r, kind, chat, target, count + i) for i, r in enumerate(batch)]
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
            count += len(rows)
    return count


def _row(record: Record, kind: type, chat: bool, target: Path, number: int) -> Row:
    try:
        if type(record) is not kind:
            raise Unusable(f"it is a {type(record).__name__} among {kind.__name__}s")
        if chat is isinstance(record.prompt, str):
            raise Unusable("one file holds prompts as texts or as chats, not both")
        check(record)
    except Unusable as why:
        raise PreferenceError(f"{Fault(str(target), number, str(why))}; not written") from None
    row = dict(vars(record))
    if chat:
        row["prompt"] = [dict(m) for m in record.prompt if not isinstance(m, str)]
    return row | _stored(record)


def _stored(record: Record) -> Row:
    """What a file holds otherwise than the record does."""
    if isinstance(record, ImagePair):
        return {"winner": stored(record.winner), "loser": stored(record.loser)}
    if isinstance(record, ImageBinary):
        return {"image": stored(record.image)}
    if isinstance(record, ImageGroup):
        scores = [{"name": n, "values": list(map(float, v))} for n, v in record.scores.items()]
        return {"images": [stored(i) for i in record.images], "scores": scores}
    return {}


def _features(kind: type, chat: bool) -> Any:
    from datasets import Features, Image, List, Value

    string, real, whole = Value("string"), Value("float64"), Value("int64")
    prompt = List({"role": string, "content": string}) if chat else string
    scored = {"score_w": real, "score_l": real, "id": string, "source": string}
    columns: dict[type, dict[str, Any]] = {
        ImagePair: {"winner": Image(), "loser": Image(), **scored},
        ImageBinary: {
            "image": Image(), "desirable": Value("bool"), "wins": whole, "losses": whole,
            "id": string,
        },
        ImageGroup: {
            "images": List(Image()), "scores": List({"name": string, "values": List(real)}),
            "seeds": List(whole), "id": string,
        },
        TextPair: {"chosen": string, "rejected": string, **scored},
        TextBinary: {
            "completion": string, "desirable": Value("bool"), "weight": real, "id": string,
        },
        TextGroup: {"completions": List(string), "rewards": List(real), "id": string},
    }  # fmt: skip
    return Features({"prompt": prompt} | columns[kind])


# Reading


@dataclass(frozen=True)
class _Case:
    """The rows of one table that belong together, and which of their records is meant."""

    table: int
    rows: range
    member: int


class Stored(Sequence[R], Generic[R]):
    """Records on disk: length, index and iteration, each made from its row when asked for."""

    def __init__(self, found: list[Table], layouts: list[Layout], scanned: "_Scan") -> None:
        self._tables, self._layouts = found, layouts
        self._cases = [place for _, place in scanned.records()]
        self.dropped: Dropped = scanned.dropped

    def __len__(self) -> int:
        return len(self._cases)

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[R]: ...
    def __getitem__(self, index: int | slice) -> R | Sequence[R]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        case = self._cases[index]
        table = self._tables[case.table]
        row_at = table.row
        if row_at is None:
            raise PreferenceError(f"{table.file} is a stream and has no record {index}")
        rows = [row_at(i) for i in case.rows]
        made = self._layouts[case.table].make(rows, table.folder)
        kept = [r for r in made if not isinstance(r, Tie)]
        return kept[case.member]  # pyright: ignore[reportReturnType]


class Stream(Iterable[R], Generic[R]):
    """Records read once through, never all held; `dropped` counts what this pass left out."""

    def __init__(self, begin: Callable[[], "_Scan"]) -> None:
        self._begin = begin
        self._scan = begin()

    @property
    def dropped(self) -> Dropped:
        return self._scan.dropped

    def __iter__(self) -> Iterator[R]:
        self._scan = self._begin()
        for record, _ in self._scan.records():
            yield record  # pyright: ignore[reportReturnType]


class _Scan:
    """One pass over all rows: records that can be used, and what was left out."""

    def __init__(
        self, found: list[Table], layouts: list[Layout], skip_bad: bool, whole: bool, eager: bool
    ) -> None:
        self._tables, self._layouts = found, layouts
        self._skip, self._whole, self._eager = skip_bad, whole, eager
        self._ties, self._bad = 0, list[Fault]()

    @property
    def dropped(self) -> Dropped:
        return Dropped(self._ties, tuple(self._bad))

    def records(self) -> Iterator[tuple[Record, _Case]]:
        """Raises PreferenceError at the first fault (a stream), or with their count (eager)."""
        for number, (table, layout) in enumerate(zip(self._tables, self._layouts)):
            for rows, where in _cases(table, layout.together):
                yield from self._case(number, table, layout, rows, where)
        if self._bad and not self._skip:
            raise first_of(self._bad)

    def _case(
        self, number: int, table: Table, layout: Layout, rows: list[Row | Unusable], where: range
    ) -> Iterator[tuple[Record, _Case]]:
        kept: list[Record] = []
        ties = 0
        try:
            for made in layout.make([_usable(r) for r in rows], table.folder):
                if isinstance(made, Tie):
                    ties += 1
                else:
                    check(made)
                    if self._whole:
                        _decoded(made)
                    kept.append(made)
        except Unusable as why:
            self._bad.append(Fault(table.file, where.start, str(why)))
            if not self._skip and not self._eager:
                raise first_of(self._bad) from None
            return
        self._ties += ties
        yield from ((record, _Case(number, where, i)) for i, record in enumerate(kept))


def _usable(row: Row | Unusable) -> Row:
    if isinstance(row, Unusable):
        raise row
    return row


def _decoded(record: Record) -> None:
    for picture in pictures(record):
        decode(picture)
    if isinstance(record, ImagePair) and _same(record.winner, record.loser):
        raise Unusable("winner and loser are the same picture")


def _same(one: Any, other: Any) -> bool:
    return (one.mode, one.size, one.tobytes()) == (other.mode, other.size, other.tobytes())


def _cases(table: Table, together: str) -> Iterator[tuple[list[Row | Unusable], range]]:
    """Rows that belong together: one alone, or neighbours with the same value of a column."""
    held: list[Row | Unusable] = []
    start, key = 0, None
    for i, row in enumerate(table.scan()):
        mine = row.get(together) if together and isinstance(row, dict) else None
        if held and (mine is None or mine != key):
            yield held, range(start, i)
            held = []
        if not held:
            start, key = i, mine
        held.append(row)
    if held:
        yield held, range(start, start + len(held))


def read(
    kind: type[R],
    source: Path | str,
    skip_bad: bool = False,
    *,
    layout: str = "auto",
    decoded: bool = True,
) -> Stored[R]:
    """Records of one kind as a lazy sequence with `dropped`.  Raises PreferenceError.

    `source` is a file, a folder of files or a data set on a hub. Every row is checked once;
    `decoded=False` reads only the headers of pictures then, which is faster and trusts the rest.
    """
    found = tables(source)
    layouts = [_fitting(kind, table, layout) for table in found]
    records = Stored[R](found, layouts, _Scan(found, layouts, skip_bad, decoded, True))
    if not len(records):
        raise PreferenceError(f"{source} has no usable row: {counted(records.dropped)}")
    return records


def stream(
    kind: type[R],
    source: Path | str,
    skip_bad: bool = False,
    *,
    layout: str = "auto",
    decoded: bool = True,
) -> Stream[R]:
    """As `read`, but rows pass by and are never all held, so faults show when they are met."""
    found = tables(source, streaming=True)
    layouts = [_fitting(kind, table, layout) for table in found]
    return Stream[R](lambda: _Scan(found, layouts, skip_bad, decoded, False))


def _fitting(kind: type, table: Table, layout: str) -> Layout:
    found = recognise(table.file, table.columns, layout)
    if found.kind is not kind:
        raise PreferenceError(
            f"{table.file} has the layout {found.name}, which holds {found.kind.__name__} records, "
            f"not {kind.__name__}"
        )
    return found


def counted(dropped: Dropped) -> str:
    """What was left out, in words."""
    return f"{dropped.ties} ties and {len(dropped.bad)} faulty rows left out"


def read_image_pairs(source: Path | str, skip_bad: bool = False) -> Stored[ImagePair]:
    """Pairs of pictures; see `read`."""
    return read(ImagePair, source, skip_bad)


def read_image_binary(source: Path | str, skip_bad: bool = False) -> Stored[ImageBinary]:
    """Pictures wanted or not; see `read`."""
    return read(ImageBinary, source, skip_bad)


def read_image_groups(source: Path | str, skip_bad: bool = False) -> Stored[ImageGroup]:
    """Groups of scored pictures; see `read`."""
    return read(ImageGroup, source, skip_bad)


def read_text_pairs(source: Path | str, skip_bad: bool = False) -> Stored[TextPair]:
    """Pairs of completions; see `read`."""
    return read(TextPair, source, skip_bad)


def read_text_binary(source: Path | str, skip_bad: bool = False) -> Stored[TextBinary]:
    """Completions wanted or not; see `read`."""
    return read(TextBinary, source, skip_bad)


def read_text_groups(source: Path | str, skip_bad: bool = False) -> Stored[TextGroup]:
    """Groups of scored completions; see `read`."""
    return read(TextGroup, source, skip_bad)


def write_pairs(path: Path | str, records: Iterable[ImagePair | TextPair]) -> int:
    """Write pairs of one kind; see `write`."""
    return write(path, records)
