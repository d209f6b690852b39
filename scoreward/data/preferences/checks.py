"""Checks that need to know the model: room for an answer, the size of pictures."""

from collections.abc import Callable
from typing import TypeVar

from scoreward.data.preferences.files import Records
from scoreward.data.preferences.records import (
    Fault,
    Prompt,
    Record,
    Unusable,
    first_of,
    pictures,
)

R = TypeVar("R", bound=Record)


def fitting(
    records: Records[R], check: Callable[[R], object], skip_bad: bool = False
) -> Records[R]:
    """Records at which `check` raises no ValueError; the others are faults with file and row.

    Raises PreferenceError, unless faults are skipped and something is left.
    """
    kept, bad = list[int](), list[Fault]()
    for i, record in enumerate(records):
        try:
            check(record)
            kept.append(i)
        except ValueError as why:
            bad.append(Fault(*records.where(i), str(why)))
    if bad and not (skip_bad and kept):
        raise first_of(bad)
    return records.select(kept, bad)


def check_lengths(
    records: Records[R], tokens_of: Callable[[Prompt], int], limit: int, skip_bad: bool = False
) -> Records[R]:
    """Records whose prompt is shorter than the context of `limit` tokens; see `fitting`.

    `tokens_of` gives the length of a prompt as the model reads it, template included.
    """

    def check(record: R) -> None:
        length = tokens_of(record.prompt)
        if length >= limit:
            raise Unusable(
                f"the prompt has {length} tokens, which leaves no room for an answer in a context "
                f"of {limit}"
            )

    return fitting(records, check, skip_bad)


def check_sizes(records: Records[R], size: tuple[int, int], skip_bad: bool = False) -> Records[R]:
    """Records whose pictures have this width and height; see `fitting`."""

    def check(record: R) -> None:
        for picture in pictures(record):
            if picture.size != size:
                raise Unusable(unlike(picture.size, size))

    return fitting(records, check, skip_bad)


def unlike(size: tuple[int, int], wanted: tuple[int, int]) -> str:
    """What is wrong with a picture of another size than the model draws."""
    return (
        f"a picture of the pairs has {size[0]} x {size[1]} pixels and this model draws "
        f"{wanted[0]} x {wanted[1]}; resize the pictures of the file first"
    )
