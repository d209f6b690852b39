"""What is held out to measure on: chosen by hashes of texts, disjoint, and told in words.

Whether a text is held out depends on the text and the share alone, so that more texts move no other
one. What is the same comes to the same side: a text in other spaces and capitals, records of one
text, records that share a mark, such as a picture. Every use has a salt of its own, for what one
use has left would have nothing to hold out by the same hash.
"""

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from unicodedata import normalize

FEW = 16  # a mean over fewer is off by a quarter of their spread or more; ours


def share_of(text: str, use: str = "") -> float:
    """A number in [0, 1) that depends on the text, and on what it is used for, alone.

    Without a salt: lists of prompts, and files of preferences that are trained on.
    """
    salted = f"{use}\0{text}" if use else text
    return int.from_bytes(hashlib.sha256(salted.encode()).digest()[:4], "big") / 2**32


def unseen(texts: Sequence[str], trained: Sequence[str]) -> list[str]:
    """The texts that are not among those trained on, whatever their spaces and capitals."""
    known = {plain(text) for text in trained}
    return [text for text in texts if plain(text) not in known]


def plain(text: str) -> str:
    """A text without what makes it look different: spaces, capitals and spellings of Unicode."""
    return " ".join(normalize("NFKC", text).split()).casefold()


@dataclass(frozen=True)
class Held:
    """How many are held out of how many, as a run keeps and tells it."""

    unit: str  # what is counted, in the plural
    held: int
    of: int
    measured: int  # of the held ones, if there are any
    trained: int = 0  # what is measured besides and was trained on

    @property
    def few(self) -> bool:
        """Whether what is measured on them is to be read with care."""
        return self.held == 0 or self.trained > 0 or self.measured < FEW

    @property
    def sentence(self) -> str:
        """For the live view, the plan and the report."""
        if not self.held:
            return (
                f"Nothing is held out of {self.of} {self.unit}: what is measured is measured on "
                f"training {self.unit}, and says nothing of others."
            )
        count = self.measured or "none"
        some = "" if self.measured >= self.held else f", and {count} of them measured on"
        start = f"{self.held} of {self.of} {self.unit} are held out{some}"
        if self.trained:
            return f"{start}; {self.trained} more that are measured on are trained on as well."
        if not self.few or not self.measured:
            return f"{start}."
        return (
            f"{start}: too few to tell much, for a mean over {self.measured} has a standard error "
            f"of {self.measured**-0.5:.2f} of the spread between {self.unit}."
        )

    @property
    def told(self) -> dict[str, Any]:
        """For run.json."""
        return asdict(self) | {"few": self.few, "sentence": self.sentence}


@dataclass(frozen=True)
class Cut:
    """Places of a list on either side, and how many different texts that is."""

    kept: Sequence[int]
    away: Sequence[int]
    held: int
    of: int

    def count(self, unit: str, most: int | None = None) -> Held:
        """For a run that measures on `most` of them."""
        return Held(unit, self.held, self.of, self.held if most is None else min(most, self.held))


def cut(
    texts: Sequence[str],
    share: float,
    use: str = "",
    marks: Sequence[Sequence[Hashable]] | None = None,
) -> Cut:
    """About this share of the texts, at least one of them, and never all.

    If no hash falls into the share, the smallest one does; if all do, the largest does not. One
    text, or a share of 0, leaves nothing held out.
    """
    group = _alike(texts, marks)
    number: dict[int, float] = {}
    for text, one in zip(texts, group, strict=True):
        number[one] = min(number.get(one, 1.0), share_of(text, use))
    order = sorted(number, key=lambda one: number[one])
    wanted = sum(value < share for value in number.values())
    count = min(max(wanted, 1), len(order) - 1) if share > 0 and order else 0
    away = set(order[:count])
    sides = (
        [i for i, one in enumerate(group) if one not in away],
        [i for i, one in enumerate(group) if one in away],
    )
    return Cut(*sides, held=count, of=len(order))


def _alike(texts: Sequence[str], marks: Sequence[Sequence[Hashable]] | None) -> list[int]:
    """For each text the first place that is the same, directly or through others."""
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    seen: dict[Hashable, int] = {}
    for i, text in enumerate(texts):
        others = () if marks is None else marks[i]
        for mark in [("text", plain(text)), *(("mark", m) for m in others)]:
            a, b = sorted((root(i), root(seen.setdefault(mark, i))))
            parent[b] = a
    return [root(i) for i in range(len(texts))]
