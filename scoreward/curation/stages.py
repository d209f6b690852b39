"""What the stages of rich preference optimisation are to one another.

generate → critique → instruct → edit → judge → keep  [rpo] (stages). Every stage is a callable on
a batch, and any of them may be replaced by one of your own. Rewards are those of
scoreward.rewards. A stage takes its random numbers from the keys it is given and from nowhere
else, so that a resumed run makes the same pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from PIL.Image import Image

from scoreward.core.keys import Key
from scoreward.curation.records import Critique, Instructions, Rejected
from scoreward.curation.rules import Rules
from scoreward.rewards.base import Reward


@runtime_checkable
class Generator(Protocol):
    """Draws one picture for each prompt; `name` says what it is, with its settings."""

    @property
    def name(self) -> str: ...

    @property
    def evaluations(self) -> int:
        """Network evaluations of one picture."""
        ...

    def __call__(self, prompts: Sequence[str], keys: Sequence[Key]) -> Sequence[Image]: ...


@runtime_checkable
class PictureCritic(Protocol):
    """Says what is wrong with each picture."""

    @property
    def name(self) -> str: ...

    def __call__(
        self, prompts: Sequence[str], images: Sequence[Image]
    ) -> Sequence[Critique | Rejected]: ...


@runtime_checkable
class Instructor(Protocol):
    """Makes instructions for an editor of each critique."""

    @property
    def name(self) -> str: ...

    def __call__(
        self, prompts: Sequence[str], images: Sequence[Image], critiques: Sequence[Critique]
    ) -> Sequence[Instructions | Rejected]: ...


@dataclass(frozen=True)
class Edit:
    """One picture to edit, and all that is known about it."""

    image: Image
    prompt: str
    critique: Critique
    instructions: tuple[str, ...]


@runtime_checkable
class Editor(Protocol):
    """Carries out the instructions, one picture for each edit."""

    @property
    def name(self) -> str: ...

    @property
    def evaluations(self) -> int:
        """Network evaluations of one edited picture."""
        ...

    def __call__(self, edits: Sequence[Edit], keys: Sequence[Key]) -> Sequence[Image]: ...


@runtime_checkable
class Similarity(Protocol):
    """How alike two pictures are; 1 for the same."""

    def __call__(self, one: Sequence[Image], other: Sequence[Image]) -> Sequence[float]: ...


@runtime_checkable
class Safe(Protocol):
    """Whether a prompt and its picture may be used."""

    def __call__(self, prompts: Sequence[str], images: Sequence[Image]) -> Sequence[bool]: ...


@dataclass(frozen=True)
class Plan:
    """How much is tried; all ours."""

    attempts: int = 4  # first pictures per prompt, with seeds of their own
    candidates: int = 4  # edited pictures per instruction; the best one is judged
    batch: int = 32  # pictures that go through the stages together; redone together after a kill
    held_out: float = 0.1  # share of prompts set aside by hash, before anything is drawn

    def __post_init__(self) -> None:
        for name in ("attempts", "candidates", "batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"`held_out` is a share from 0 to below 1, got {self.held_out}")


@dataclass(frozen=True)
class Pipeline:
    """All stages of a curation and its rules.

    `deciding` rewards label a pair, by majority where there are several; `auditing` rewards may
    veto it; `judging` rewards are only recorded, so that somebody independent says what the pairs
    are worth.
    """

    name: str
    prompts: Sequence[str]
    generator: Generator
    critic: PictureCritic
    instructor: Instructor
    editor: Editor
    deciding: Mapping[str, Reward]
    similarity: Similarity
    auditing: Mapping[str, Reward] | None = None
    judging: Mapping[str, Reward] | None = None
    rules: Rules = Rules()
    plan: Plan = Plan()
    device: torch.device = torch.device("cpu")  # where rewards get their pictures
    safe: Safe | None = None

    def __post_init__(self) -> None:
        audits, judges = self.auditing or {}, self.judging or {}
        names = [*self.deciding, *audits, *judges]
        if not self.deciding:
            raise ValueError("a curation needs one deciding reward or more, got none")
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(
                f"reward {min(twice)!r} has two roles; deciding, auditing and judging rewards "
                "need different names, and a judge that also decides is none"
            )
        self.rules.check(len(self.deciding), len(audits))

    @property
    def made_by(self) -> dict[str, str]:
        """Which model did what."""
        stages = (self.generator, self.critic, self.instructor, self.editor)
        return {
            **dict(zip(("generator", "critic", "instructor", "editor"), (s.name for s in stages))),
            "deciding": ", ".join(self.deciding),
            "auditing": ", ".join(self.auditing or {}),
            "judging": ", ".join(self.judging or {}),
        }
