"""One preference in memory, for pictures and for texts, and what makes one unusable.

Winners come first everywhere. A tie has no winner and belongs in no pair: readers drop and count
it. What a source does not know is None. files.py reads and writes records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Self

from PIL.Image import Image

from scoreward.data.pictures import rgb
from scoreward.data.texts import blank

GO_ON = "--skip-bad (skip_bad=True) leaves such rows out and counts them"
Prompt = str | Sequence[Mapping[str, str]]
"""Text, or the messages of a chat (role, content) which the model's template renders."""


class Turns(str):
    """An answer of several turns, the first and the last the assistant's; as text all it says."""

    __slots__ = ("messages",)
    messages: Sequence[Mapping[str, str]]

    def __new__(cls, messages: Sequence[Mapping[str, str]]) -> Self:
        turns = super().__new__(cls, "\n".join(one["content"] for one in messages))
        turns.messages = [dict(one) for one in messages]
        return turns

    def __reduce__(self) -> tuple[Any, ...]:
        return Turns, (self.messages,)


@dataclass(frozen=True)
class ImagePair:
    """Two pictures for one prompt, the first preferred."""

    prompt: str
    winner: Image
    loser: Image
    score_w: float | None = None  # of whatever decided, in its own units
    score_l: float | None = None
    id: str = ""
    source: str = ""  # who preferred: people, a reward by name, curation


@dataclass(frozen=True)
class ImageBinary:
    """One picture that is wanted or not."""

    prompt: str
    image: Image
    desirable: bool
    wins: int | None = None
    losses: int | None = None
    id: str = ""


@dataclass(frozen=True)
class ImageGroup:
    """Several pictures for one prompt with the scores of each reward."""

    prompt: str
    images: Sequence[Image]
    scores: Mapping[str, Sequence[float]]
    seeds: Sequence[int] = ()
    id: str = ""


@dataclass(frozen=True)
class TextPair:
    """Two completions of one prompt, the first preferred."""

    prompt: Prompt
    chosen: str
    rejected: str
    score_w: float | None = None
    score_l: float | None = None
    id: str = ""
    source: str = ""


@dataclass(frozen=True)
class TextBinary:
    """One completion that is wanted or not."""

    prompt: Prompt
    completion: str
    desirable: bool
    weight: float = 1.0
    id: str = ""


@dataclass(frozen=True)
class TextGroup:
    """Several completions of one prompt with a reward each."""

    prompt: Prompt
    completions: Sequence[str]
    rewards: Sequence[float]
    id: str = ""


Pair = ImagePair | TextPair
Binary = ImageBinary | TextBinary
Group = ImageGroup | TextGroup
Record = Pair | Binary | Group


@dataclass(frozen=True)
class Fault:
    """A row that cannot be used, with where it is and why, in one sentence."""

    file: str
    row: int  # from 0, in the file's own order
    why: str

    def __str__(self) -> str:
        return f"row {self.row} of {self.file}: {self.why}"


@dataclass(frozen=True)
class Dropped:
    """What a reader left out."""

    ties: int = 0
    bad: Sequence[Fault] = field(default_factory=tuple)


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
    texts: dict[str, str] = {"the prompt": said(record.prompt)}
    numbers: dict[str, Sequence[float | None]] = {}
    members: Sequence[object] | None = None
    match record:
        case ImagePair():
            numbers = {"score_w": [record.score_w], "score_l": [record.score_l]}
        case TextPair():
            numbers = {"score_w": [record.score_w], "score_l": [record.score_l]}
            texts |= {"chosen": record.chosen, "rejected": record.rejected}
        case TextBinary():
            texts |= {"completion": record.completion}
            numbers = {"weight": [record.weight]}
        case TextGroup():
            texts |= {f"completion {i}": text for i, text in enumerate(record.completions)}
            members, numbers = record.completions, {"rewards": record.rewards}
        case ImageGroup():
            members, numbers = record.images, dict(record.scores)
    for name, text in texts.items():
        if blank(text):
            raise Unusable(f"{name} is empty")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise Unusable(f"{name} has half a character, a lone surrogate") from None
    if isinstance(record, TextPair) and record.chosen == record.rejected:
        raise Unusable("chosen and rejected are the same text")
    if isinstance(record, ImagePair) and alike(record.winner, record.loser):
        raise Unusable("winner and loser are the same picture")
    if members is not None:
        if len(members) < 2:
            raise Unusable(f"a group needs at least two members, and this one has {len(members)}")
        for name, values in numbers.items():
            if len(values) != len(members):
                raise Unusable(f"{name} has {len(values)} numbers for {len(members)} members")
    for name, values in numbers.items():
        for value in values:
            if value is not None and not isfinite(value):
                raise Unusable(f"{name} is {value}, which is not a finite number")


def alike(one: Image, other: Image) -> bool:
    """Whether two pictures look the same, pixel by pixel."""
    one, other = rgb(one), rgb(other)
    return (one.size, one.tobytes()) == (other.size, other.tobytes())


def said(prompt: Prompt) -> str:
    """A prompt as text: of a chat, what was said, without roles."""
    if isinstance(prompt, str):
        return prompt.strip()
    return "\n".join(str(message["content"]) for message in prompt).strip()


def pictures(record: Record) -> Sequence[Image]:
    """The pictures of a record, if it has any."""
    match record:
        case ImagePair():
            return record.winner, record.loser
        case ImageBinary():
            return (record.image,)
        case ImageGroup():
            return record.images
        case _:
            return ()


def completions(record: Record) -> Sequence[str]:
    """The texts of a record beside its prompt, if it has any."""
    match record:
        case TextPair():
            return record.chosen, record.rejected
        case TextBinary():
            return (record.completion,)
        case TextGroup():
            return record.completions
        case _:
            return ()
