"""What makes a row unusable, each said in one sentence."""

from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from scoreward.data.preferences.records import (
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

GO_ON = "--skip-bad (skip_bad=True) leaves such rows out and counts them"


class PreferenceError(ValueError):
    """Preference data that cannot be used."""


class Unusable(ValueError):
    """Why one row cannot be used; whoever knows the file and the row makes a Fault of it."""


def first_of(faults: Sequence[Fault], more_known: bool = True) -> PreferenceError:
    """The first fault, how many more there are, and how to go on without them."""
    more = len(faults) - 1
    rest = f", and {more} more {'rows have' if more > 1 else 'row has'} faults" if more else ""
    rest = rest if more_known else ", and rows after it were not looked at"
    return PreferenceError(f"{faults[0]}{rest}; {GO_ON}")


def counted(dropped: Dropped) -> str:
    """What was left out, in words, with the first fault."""
    ties, bad = dropped.ties, len(dropped.bad)
    said = f"{ties} tie{'s' * (ties != 1)} and {bad} faulty row{'s' * (bad != 1)} left out"
    return said + (f" ({dropped.bad[0]})" if bad else "")


def check(record: Record) -> None:
    """Refuse a record that teaches nothing or something wrong.  Raises Unusable."""
    _texts({"the prompt": said(record.prompt)})
    if isinstance(record, ImagePair | TextPair):
        _numbers({"score_w": [record.score_w], "score_l": [record.score_l]})
    if isinstance(record, TextPair):
        _texts({"chosen": record.chosen, "rejected": record.rejected})
        if record.chosen == record.rejected:
            raise Unusable("chosen and rejected are the same text")
    elif isinstance(record, TextBinary):
        _texts({"completion": record.completion})
        _numbers({"weight": [record.weight]})
    elif isinstance(record, TextGroup):
        _texts({f"completion {i}": text for i, text in enumerate(record.completions)})
        _several(record.completions, {"rewards": record.rewards})
    elif isinstance(record, ImageGroup):
        _several(record.images, record.scores)


def said(prompt: str | Sequence[Mapping[str, str]]) -> str:
    """A prompt as text: of a chat, what was said, without roles."""
    if isinstance(prompt, str):
        return prompt.strip()
    return "\n".join(str(message["content"]) for message in prompt).strip()


def _texts(named: Mapping[str, str]) -> None:
    for name, text in named.items():
        if not text.strip():
            raise Unusable(f"{name} is empty")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Unusable(f"{name} has half a character, a lone surrogate") from None


def _numbers(named: Mapping[str, Sequence[float | None]]) -> None:
    for name, values in named.items():
        for value in values:
            if value is not None and not isfinite(value):
                raise Unusable(f"{name} is {value}, which is not a finite number")


def _several(members: Sequence[Any], scores: Mapping[str, Sequence[float]]) -> None:
    if len(members) < 2:
        raise Unusable(f"a group needs at least two members, and this one has {len(members)}")
    for name, values in scores.items():
        if len(values) != len(members):
            raise Unusable(f"{name} has {len(values)} numbers for {len(members)} members")
    _numbers(scores)


def pictures(record: Record) -> Iterator[Any]:
    """The pictures of a record, if it has any."""
    if isinstance(record, ImagePair):
        yield from (record.winner, record.loser)
    elif isinstance(record, ImageBinary):
        yield record.image
    elif isinstance(record, ImageGroup):
        yield from record.images
