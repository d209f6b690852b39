"""Preference records in Parquet files: written whole or not at all, read without holding them.

Pictures are stored as `datasets` stores them, so a file opens anywhere as a data set with images.
"""

import os
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Any

from scoreward.data.preferences.faults import PreferenceError, Unusable, check
from scoreward.data.preferences.pictures import stored
from scoreward.data.preferences.records import (
    Fault,
    ImageBinary,
    ImageGroup,
    ImagePair,
    Record,
    TextBinary,
    TextGroup,
    TextPair,
)
from scoreward.data.preferences.stored import Reading, Records, Stream, read, stream
from scoreward.data.preferences.tables import Row

__all__ = [
    "Reading",
    "Records",
    "Stream",
    "read",
    "read_image_binary",
    "read_image_groups",
    "read_image_pairs",
    "read_text_binary",
    "read_text_groups",
    "read_text_pairs",
    "stream",
    "write",
    "write_pairs",
]
_ROWS = 100  # rows held at once while writing


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


def read_image_pairs(
    source: Path | str, skip_bad: bool = False, how: Reading = Reading()
) -> Records[ImagePair]:
    """Pairs of pictures; see `read`."""
    return read(ImagePair, source, skip_bad, how)


def read_image_binary(
    source: Path | str, skip_bad: bool = False, how: Reading = Reading()
) -> Records[ImageBinary]:
    """Pictures wanted or not; see `read`."""
    return read(ImageBinary, source, skip_bad, how)


def read_image_groups(
    source: Path | str, skip_bad: bool = False, how: Reading = Reading()
) -> Records[ImageGroup]:
    """Groups of scored pictures; see `read`."""
    return read(ImageGroup, source, skip_bad, how)


def read_text_pairs(
    source: Path | str, skip_bad: bool = False, how: Reading = Reading()
) -> Records[TextPair]:
    """Pairs of completions; see `read`."""
    return read(TextPair, source, skip_bad, how)


def read_text_binary(
    source: Path | str, skip_bad: bool = False, how: Reading = Reading()
) -> Records[TextBinary]:
    """Completions wanted or not; see `read`."""
    return read(TextBinary, source, skip_bad, how)


def read_text_groups(
    source: Path | str, skip_bad: bool = False, how: Reading = Reading()
) -> Records[TextGroup]:
    """Groups of scored completions; see `read`."""
    return read(TextGroup, source, skip_bad, how)


def write_pairs(path: Path | str, records: Iterable[ImagePair | TextPair]) -> int:
    """Write pairs of one kind; see `write`."""
    return write(path, records)
