"""One preference in memory, for pictures and for texts; files.py stores them.

Winners come first everywhere. A tie has no winner and belongs in no pair: readers drop and count
it. What a source does not know is None.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL.Image import Image


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
    """Two completions of one prompt, the first preferred.

    A prompt is text, or the messages of a chat (role, content) which the model's template renders.
    """

    prompt: str | Sequence[Mapping[str, str]]
    chosen: str
    rejected: str
    score_w: float | None = None
    score_l: float | None = None
    id: str = ""
    source: str = ""


@dataclass(frozen=True)
class TextBinary:
    """One completion that is wanted or not."""

    prompt: str | Sequence[Mapping[str, str]]
    completion: str
    desirable: bool
    weight: float = 1.0
    id: str = ""


@dataclass(frozen=True)
class TextGroup:
    """Several completions of one prompt with a reward each."""

    prompt: str | Sequence[Mapping[str, str]]
    completions: Sequence[str]
    rewards: Sequence[float]
    id: str = ""


Record = ImagePair | ImageBinary | ImageGroup | TextPair | TextBinary | TextGroup


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
