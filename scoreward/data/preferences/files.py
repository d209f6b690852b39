"""Preference records in files: read without holding them, written whole or not at all.

One scan makes records from rows, checks them, and counts ties and faults. A sequence scans once
when it is opened and then makes record i anew from its row when asked; a stream scans as it goes.
Pictures are stored as `datasets` stores them, so a file opens anywhere as a data set with images.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

from PIL.Image import Image

from scoreward.data.pictures import rgb
from scoreward.data.preferences.columns import Reading, Recognised, recognised
from scoreward.data.preferences.layouts import Make, Tie
from scoreward.data.preferences.records import (
    Dropped,
    Fault,
    ImageBinary,
    ImageGroup,
    ImagePair,
    PreferenceError,
    Record,
    TextBinary,
    TextGroup,
    TextPair,
    Turns,
    Unusable,
    check,
    completions,
    counted,
    first_of,
)
from scoreward.data.preferences.tables import Row, files_of, tables
from scoreward.data.store import written_whole

R = TypeVar("R", bound=Record)
ROWS = 100  # held at once while writing


@dataclass(frozen=True)
class _Part:
    """A table and how its rows become records."""

    of: Recognised
    make: Make
    folder: Path  # of its pictures

    def cases(self) -> Iterator[tuple[int, list[Row | Unusable]]]:
        """Rows that belong together: one alone, or neighbours with the same value of a column."""
        together, held = self.of.layout.together, list[Row | Unusable]()
        start, key = 0, None
        for i, row in enumerate(self.of.table.scan()):
            mine = row.get(together) if together and isinstance(row, dict) else None
            if held and (mine is None or mine != key):
                yield start, held
                held = []
            if not held:
                start, key = i, mine
            held.append(row)
        if held:
            yield start, held


class Records(Sequence[R], Generic[R]):
    """Records on disk: length, index and iteration; pictures are decoded when they are used."""

    def __init__(self, parts: Sequence[_Part], places: array, dropped: Dropped) -> None:
        self._parts, self._places = parts, places
        self.dropped = dropped

    def __iter__(self) -> Iterator[R]:
        """Read from the beginning, and so without looking for each."""
        wanted = [tuple(self._place(i)) for i in range(len(self))]
        if wanted != sorted(wanted):
            yield from (self[i] for i in range(len(self)))
            return
        waiting = iter(wanted)
        place = next(waiting, None)
        for record, here in Stream[R](self._parts, skip_bad=True).placed(checked=False):
            if here == place:
                yield record
                place = next(waiting, None)
        if place is not None:
            raise PreferenceError(f"{self._parts[0].of.table.file} has changed while it was read")

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
        rows = [part.of.table.row(i) for i in range(first, first + count)]
        made: Any = [r for r in part.make(rows, part.folder) if not isinstance(r, Tie)]
        return made[member]

    def _place(self, index: int) -> array:
        """Of a record: its table, its first row, how many rows, and which record of theirs."""
        at = range(len(self))[index] * 4
        return self._places[at : at + 4]

    def read_of(self, source: Path | str, how: Reading) -> dict[str, Any]:
        """For run.json: which files are read and which are not, and which columns are not."""
        folder, said = Path(source), dict[str, Any]()
        if folder.is_dir():
            mine, others = files_of(folder, how.split)
            names = ([str(p.relative_to(folder)) for p in some[:20]] for some in (mine, others))
            said = {"split": how.split, **dict(zip(("files", "files_left_out"), names))}
        unread = sorted({name for part in self._parts for name in part.of.unread})
        told = {"columns": list(how.columns), "columns_not_read": unread}
        return said | {name: value for name, value in told.items() if value}

    def where(self, index: int) -> tuple[str, int]:
        """The file and the row that a record comes from."""
        number, first, _, _ = self._place(index)
        return self._parts[number].of.table.file, first

    def select(self, indices: Sequence[int], bad: Sequence[Fault] = ()) -> "Records[R]":
        """Only these records, still on disk; `bad` is added to what was left out."""
        places = array("q", (value for i in indices for value in self._place(i)))
        return Records(self._parts, places, Dropped(self.dropped.ties, (*self.dropped.bad, *bad)))


class Stream(Iterable[R], Generic[R]):
    """Records read once through, never all held; `dropped` counts what the last pass left out."""

    def __init__(self, parts: Sequence[_Part], skip_bad: bool, eager: bool = False) -> None:
        self._parts, self._skip, self._eager = parts, skip_bad, eager
        self._ties, self._bad = 0, list[Fault]()

    @property
    def dropped(self) -> Dropped:
        return Dropped(self._ties, tuple(self._bad))

    def __iter__(self) -> Iterator[R]:
        return (record for record, _ in self.placed())

    def placed(self, checked: bool = True) -> Iterator[tuple[R, tuple[int, int, int, int]]]:
        """Records that can be used, with their places; unless they have been `checked` before.

        Raises PreferenceError unless faults are skipped: at the first, or if it is `eager` in the
        end, with their number.
        """
        self._ties, self._bad = 0, []
        for number, part in enumerate(self._parts):
            for first, rows in part.cases():
                try:
                    for row in rows:
                        if isinstance(row, Unusable):
                            raise row
                    made = list(part.make([r for r in rows if isinstance(r, dict)], part.folder))
                    kept: list[Any] = [r for r in made if not isinstance(r, Tie)]
                    for record in kept if checked else ():
                        check(record)
                except Unusable as why:
                    self._bad.append(Fault(part.of.table.file, first, str(why)))
                    if not self._skip and not self._eager:
                        raise first_of(self._bad, more_known=False) from None
                    continue
                self._ties += len(made) - len(kept)
                yield from ((r, (number, first, len(rows), i)) for i, r in enumerate(kept))
        if self._bad and not self._skip:
            raise first_of(self._bad)


def read(
    kind: type[R], source: Path | str, skip_bad: bool = False, how: Reading = Reading()
) -> Records[R]:
    """Records of one kind as a lazy sequence with `dropped`.  Raises PreferenceError.

    `source` is a file, a folder of files or a data set on a hub. Every row is checked once; with
    `skip_bad` rows that cannot be used are left out and counted.
    """
    parts = _parts(kind, source, how, streaming=False)
    scan: Stream[R] = Stream(parts, skip_bad, eager=True)
    places = array("q", (value for _, place in scan.placed() for value in place))
    if not places:
        raise PreferenceError(f"no row of {source} can be used: {counted(scan.dropped)}")
    return Records(parts, places, scan.dropped)


def kind_of(source: Path | str, how: Reading = Reading(), among: Sequence[type] = ()) -> type:
    """What a file holds: the first kind of its layout, or the first that is `among` these."""
    kinds = recognised(tables(source, streaming=True, split=how.split)[0], how).kinds
    return next((kind for kind in kinds if kind in among), kinds[0])


def stream(
    kind: type[R], source: Path | str, skip_bad: bool = False, how: Reading = Reading()
) -> Stream[R]:
    """As `read`, but rows pass by and are never all held, so a fault shows when it is met."""
    return Stream(_parts(kind, source, how, streaming=True), skip_bad)


def _parts(kind: type, source: Path | str, how: Reading, streaming: bool) -> list[_Part]:
    parts: list[_Part] = []
    for one in (recognised(found, how) for found in tables(source, streaming, how.split)):
        first = parts[0].of if parts else one
        both = first.layout.columns, one.layout.columns
        if not (both[0] <= both[1] or both[1] <= both[0]):
            raise PreferenceError(
                f"{source} holds files of several layouts: {first.table.file} is "
                f"{first.layout.name} and {one.table.file} is {one.layout.name}; name one file, or "
                "put the others away"
            )
        if kind not in one.kinds:
            held = " or ".join(k.__name__ for k in one.kinds)
            raise PreferenceError(
                f"{one.table.file} has the layout {one.layout.name}, which holds {held}, not "
                f"{kind.__name__}; `scoreward pairs make` makes pairs of groups"
            )
        parts.append(_Part(one, one.layout.makes[kind], how.pictures or one.table.folder))
    return parts


read_image_pairs = partial(read, ImagePair)
read_image_binary = partial(read, ImageBinary)
read_image_groups = partial(read, ImageGroup)
read_text_pairs = partial(read, TextPair)
read_text_binary = partial(read, TextBinary)
read_text_groups = partial(read, TextGroup)


def write(path: Path | str, records: Iterable[Record]) -> int:
    """Write records of one kind to a Parquet file; returns how many.  Raises PreferenceError."""
    import pyarrow
    from pyarrow.parquet import ParquetWriter

    target, waiting, count = Path(path), iter(records), 0
    first = next(waiting, None)
    if first is None:
        raise PreferenceError(f"there are no records to write to {target}")
    chat, waiting = not isinstance(first.prompt, str), chain([first], waiting)
    schema = _features(type(first), chat).arrow_schema
    with written_whole(target) as aside, ParquetWriter(aside, schema) as writer:
        while batch := list(islice(waiting, ROWS)):
            rows: list[Row] = []
            for record in batch:
                try:
                    rows.append(_row(record, type(first), chat))
                except Unusable as why:
                    fault = Fault(str(target), count + len(rows), str(why))
                    raise PreferenceError(f"{fault}; not written") from None
            writer.write_table(pyarrow.Table.from_pylist(rows, schema))
            count += len(rows)
    return count


def _row(record: Record, kind: type[Record], chat: bool) -> Row:
    """A record as a file holds it.  Raises Unusable."""
    if type(record) is not kind:
        raise Unusable(f"it is a {type(record).__name__} among {kind.__name__}s")
    if chat is isinstance(record.prompt, str):
        raise Unusable("one file holds prompts as texts or as chats, not both")
    check(record)
    if any(isinstance(text, Turns) for text in completions(record)):
        raise Unusable("its answer has several turns, which files of ours have no column for")
    row = dict(vars(record))
    if chat:
        row["prompt"] = [dict(m) for m in record.prompt if not isinstance(m, str)]
    match record:
        case ImagePair():
            row |= {"winner": packed(record.winner), "loser": packed(record.loser)}
        case ImageBinary():
            row |= {"image": packed(record.image)}
        case ImageGroup():
            scores = [{"name": n, "values": list(map(float, v))} for n, v in record.scores.items()]
            row |= {"images": [packed(image) for image in record.images], "scores": scores}
    return row


def packed(picture: Image) -> Row:
    """A picture as `datasets` stores one, as it is to be looked at, without loss."""
    buffer = BytesIO()
    rgb(picture).save(buffer, format="PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def _features(kind: type[Record], chat: bool) -> Any:
    from datasets import Features, Image, List, Value

    string, real, whole = Value("string"), Value("float64"), Value("int64")
    prompt = List({"role": string, "content": string}) if chat else string
    scored = {"score_w": real, "score_l": real, "id": string, "source": string}
    columns: dict[type, dict[str, object]] = {
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
