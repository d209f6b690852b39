"""Records on disk as a sequence or a stream, and what was left out of them.

One scan serves both: it makes records from rows, checks them, and counts ties and faults. The
sequence scans once when it is opened and then makes record i anew from its row when asked.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from scoreward.data.preferences.faults import (
    PreferenceError,
    Unusable,
    check,
    counted,
    first_of,
    pictures,
)
from scoreward.data.preferences.layouts import Layout, Tie
from scoreward.data.preferences.pictures import decode, same
from scoreward.data.preferences.recognise import recognise
from scoreward.data.preferences.records import Dropped, Fault, ImagePair, Record
from scoreward.data.preferences.tables import RecordTable, Row, tables

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Reading:
    """How files are read."""

    layout: str = "auto"  # by the columns, or a layout by name
    decoded: bool = True  # decode every picture once while checking; False trusts their headers
    pictures: Path | None = None  # where relative paths begin; beside the file if None
    split: str = "train"  # of a data set on a hub


@dataclass(frozen=True)
class _Part:
    """A table and how its rows become records."""

    table: RecordTable
    layout: Layout
    make: Callable[[Sequence[Row], Path], Iterator[Record | Tie]]
    folder: Path


class Records(Sequence[R], Generic[R]):
    """Records on disk: length, index and iteration; pictures are decoded when they are used."""

    def __init__(self, parts: Sequence[_Part], places: array, dropped: Dropped) -> None:
        self._parts, self._places = parts, places
        self.dropped = dropped

    def __len__(self) -> int:
        return len(self._places) // 4

    @overload
    def __getitem__(self, index: int) -> R: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[R]: ...
    def __getitem__(self, index: int | slice) -> R | Sequence[R]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        number, first, count, member = self._place(index)
        part = self._parts[number]
        rows = [part.table.row(i) for i in range(first, first + count)]
        made: Any = [r for r in part.make(rows, part.folder) if not isinstance(r, Tie)]
        return made[member]

    def _place(self, index: int) -> array:
        """Of a record: its table, its first row, how many rows, and which record of theirs."""
        at = range(len(self))[index] * 4
        return self._places[at : at + 4]

    def where(self, index: int) -> tuple[str, int]:
        """The file and the row that a record comes from."""
        number, first, _, _ = self._place(index)
        return self._parts[number].table.file, first

    def select(self, indices: Sequence[int], bad: Sequence[Fault] = ()) -> "Records[R]":
        """Only these records, still on disk; `bad` is added to what was left out."""
        places = array("q", (value for i in indices for value in self._place(i)))
        return Records(self._parts, places, Dropped(self.dropped.ties, (*self.dropped.bad, *bad)))


class Stream(Iterable[R], Generic[R]):
    """Records read once through, never all held; `dropped` counts what the last pass left out."""

    def __init__(self, parts: Sequence[_Part], skip_bad: bool, decoded: bool) -> None:
        self._begin = lambda: _Scan(parts, decoded, eager=False, skip_bad=skip_bad)
        self._scan = self._begin()

    @property
    def dropped(self) -> Dropped:
        return self._scan.dropped

    def __iter__(self) -> Iterator[R]:
        self._scan = self._begin()
        record: Any
        for record, _ in self._scan.records():
            yield record


class _Scan:
    """One pass over all rows."""

    def __init__(self, parts: Sequence[_Part], decoded: bool, eager: bool, skip_bad: bool) -> None:
        self._parts, self._decoded = parts, decoded
        self._eager, self._skip = eager, skip_bad
        self._ties, self._bad = 0, list[Fault]()

    @property
    def dropped(self) -> Dropped:
        return Dropped(self._ties, tuple(self._bad))

    def records(self) -> Iterator[tuple[Record, tuple[int, int, int, int]]]:
        """Records that can be used, with their places.

        Raises PreferenceError unless faults are skipped: at the first of a stream, and of a
        sequence in the end, with their number.
        """
        for number, part in enumerate(self._parts):
            for first, rows in _cases(part.table, part.layout.together):
                kept = self._kept(part, first, rows)
                yield from ((r, (number, first, len(rows), i)) for i, r in enumerate(kept))
        if self._bad and not self._skip:
            raise first_of(self._bad)

    def _kept(self, part: _Part, first: int, rows: list[Row | Unusable]) -> list[Record]:
        try:
            made = list(part.make([_usable(row) for row in rows], part.folder))
            kept = [r for r in made if not isinstance(r, Tie)]
            for record in kept:
                check(record)
                if self._decoded:
                    _decode(record)
        except Unusable as why:
            self._bad.append(Fault(part.table.file, first, str(why)))
            if not self._skip and not self._eager:
                raise first_of(self._bad, more_known=False) from None
            return []
        self._ties += len(made) - len(kept)
        return kept


def _usable(row: Row | Unusable) -> Row:
    if isinstance(row, Unusable):
        raise row
    return row


def _decode(record: Record) -> None:
    for picture in pictures(record):
        decode(picture)
    if isinstance(record, ImagePair) and same(record.winner, record.loser):
        raise Unusable("winner and loser are the same picture")


def _cases(table: RecordTable, together: str) -> Iterator[tuple[int, list[Row | Unusable]]]:
    """Rows that belong together: one alone, or neighbours with the same value of a column."""
    held: list[Row | Unusable] = []
    start, key = 0, None
    for i, row in enumerate(table.scan()):
        mine = row.get(together) if together and isinstance(row, dict) else None
        if held and (mine is None or mine != key):
            yield start, held
            held = []
        if not held:
            start, key = i, mine
        held.append(row)
    if held:
        yield start, held


def read(
    kind: type[R], source: Path | str, skip_bad: bool = False, how: Reading = Reading()
) -> Records[R]:
    """Records of one kind as a lazy sequence with `dropped`.  Raises PreferenceError.

    `source` is a file, a folder of files or a data set on a hub. Every row is checked once; with
    `skip_bad` rows that cannot be used are left out and counted.
    """
    parts = _parts(kind, source, how, streaming=False)
    scan = _Scan(parts, how.decoded, eager=True, skip_bad=skip_bad)
    places = array("q", (value for _, place in scan.records() for value in place))
    if not places:
        raise PreferenceError(f"no row of {source} can be used: {counted(scan.dropped)}")
    return Records(parts, places, scan.dropped)


def kind_of(source: Path | str, how: Reading = Reading(), among: Sequence[type] = ()) -> type:
    """What a file holds: the first kind of its layout, or the first that is `among` these."""
    table = tables(source, streaming=True, split=how.split)[0]
    kinds = list(recognise(table.file, table.columns, how.layout).makes)
    return next((kind for kind in kinds if kind in among), kinds[0])


def stream(
    kind: type[R], source: Path | str, skip_bad: bool = False, how: Reading = Reading()
) -> Stream[R]:
    """As `read`, but rows pass by and are never all held, so a fault shows when it is met."""
    return Stream(_parts(kind, source, how, streaming=True), skip_bad, how.decoded)


def _parts(kind: type, source: Path | str, how: Reading, streaming: bool) -> list[_Part]:
    return [_part(kind, table, how) for table in tables(source, streaming, how.split)]


def _part(kind: type, table: RecordTable, how: Reading) -> _Part:
    layout = recognise(table.file, table.columns, how.layout)
    if kind not in layout.makes:
        held = " or ".join(k.__name__ for k in layout.makes)
        raise PreferenceError(
            f"{table.file} has the layout {layout.name}, which holds {held}, not {kind.__name__}; "
            f"`scoreward pairs make` makes pairs of groups"
        )
    return _Part(table, layout, layout.makes[kind], how.pictures or table.folder)
