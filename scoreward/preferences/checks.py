"""Checks that need to know the model: whether prompts leave room for an answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from scoreward.preferences.faults import first_of
from scoreward.preferences.records import Fault, TextBinary, TextGroup, TextPair
from scoreward.preferences.stored import Stored

T = TypeVar("T", TextPair, TextBinary, TextGroup)
Prompt = str | Sequence[Mapping[str, str]]


def check_lengths(
    records: Stored[T], tokens_of: Callable[[Prompt], int], limit: int, skip_bad: bool = False
) -> Stored[T]:
    """Records whose prompt is shorter than the context of `limit` tokens; counts the others.

    `tokens_of` gives the length of a prompt as the model reads it, template included.  Raises
    PreferenceError, unless faults are skipped or nothing is left.
    """
    kept, bad = list[int](), list[Fault]()
    for i, record in enumerate(records):
        length = tokens_of(record.prompt)
        if length < limit:
            kept.append(i)
            continue
        why = (
            f"the prompt has {length} tokens, which leaves no room for an answer in a context of "
            f"{limit}"
        )
        bad.append(Fault(*records.where(i), why))
    if bad and not (skip_bad and kept):
        raise first_of(bad)
    return records.select(kept, bad)
