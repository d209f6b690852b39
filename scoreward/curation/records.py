"""One candidate pair from prompt to verdict, as one JSON object a line of the manifest."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Stage = Literal["generated", "critiqued", "instructed", "edited", "judged", "kept"]
STAGES: tuple[Stage, ...] = ("generated", "critiqued", "instructed", "edited", "judged", "kept")
Label = Literal["edited", "original", ""]


@dataclass(frozen=True)
class Complaint:
    """One thing that is wrong with a picture."""

    about: str  # the object, attribute or region
    fault: str  # wrong, missing, realism, composition
    text: str  # in words
    found: str = ""  # what the picture shows there
    wanted: str = ""  # what the prompt asks for, quoted


@dataclass(frozen=True)
class Critique:
    """What a critic says about a picture; no complaints if the prompt is satisfied."""

    complaints: tuple[Complaint, ...]
    score: float | None = None  # from 1 to 10
    raw: str = ""


@dataclass(frozen=True)
class Instructions:
    """Imperative edits, one visual change per line; () for none."""

    lines: tuple[str, ...]
    raw: str = ""


@dataclass(frozen=True)
class Rejected:
    """A stage could not do its work on this one, and why."""

    reason: str
    raw: str = ""  # what came instead


@dataclass(frozen=True)
class Candidate:
    """One edited picture: where it is, its seed, how alike to the original, its scores."""

    image: str
    seed: int
    similarity: float
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class PairEntry:
    """Everything about one candidate pair; pictures are named by the sha-256 of their file.

    `stage` is the last one that it passed, `reason` why it went no further ("" if kept). `margins`
    are edited less original, in each reward's own unit.
    """

    id: str
    prompt: str
    attempt: int
    seed: int
    made_by: Mapping[str, str]
    stage: Stage = "generated"
    reason: str = ""
    image: str = ""
    critique: Critique | None = None
    critique_raw: str = ""
    instructions: tuple[str, ...] = ()
    instructions_raw: str = ""
    candidates: tuple[Candidate, ...] = ()
    edited: str = ""
    similarity: float | None = None
    scores_original: Mapping[str, float] = field(default_factory=dict)
    scores_edited: Mapping[str, float] = field(default_factory=dict)
    margins: Mapping[str, float] = field(default_factory=dict)
    label: Label = ""

    @property
    def kept(self) -> bool:
        return self.stage == "kept"

    @property
    def winner(self) -> str:
        return self.edited if self.label == "edited" else self.image

    @property
    def loser(self) -> str:
        return self.image if self.label == "edited" else self.edited

    @property
    def pictures(self) -> tuple[str, ...]:
        """All that must be in the store."""
        return tuple(p for p in (self.image, *(c.image for c in self.candidates)) if p)

    def line(self) -> str:
        """One line of the manifest, without its end."""
        return json.dumps(asdict(self), ensure_ascii=False)


def entry(content: Mapping[str, Any]) -> PairEntry:
    """The record of a line.  Raises TypeError or KeyError where it is not one."""
    fields = dict(content)
    if fields["critique"] is not None:
        fields["critique"] = critique(fields["critique"])
    fields["candidates"] = tuple(Candidate(**one) for one in fields["candidates"])
    fields["instructions"] = tuple(fields["instructions"])
    return PairEntry(**fields)


def critique(content: Mapping[str, Any]) -> Critique:
    """A critique from its JSON."""
    complaints: Sequence[Mapping[str, str]] = content["complaints"]
    return Critique(
        tuple(Complaint(**one) for one in complaints), content.get("score"), content.get("raw", "")
    )
