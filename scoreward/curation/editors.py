"""Stages made of whole pipelines: a model that draws first pictures, an editor from diffusers."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from PIL.Image import Image

from scoreward.core.keys import Key
from scoreward.curation.pictures import media
from scoreward.curation.stages import Edit
from scoreward.models.diffusers.editing import Editing
from scoreward.rewards.clip import CLIP_L, Towers


@dataclass(frozen=True)
class PipelineEditor:
    """An editing pipeline; several instructions become one text, a sentence each.  [rpo] (edit)"""

    editing: Editing

    @property
    def name(self) -> str:
        return self.editing.name

    @property
    def evaluations(self) -> int:
        return self.editing.evaluations

    def __call__(self, edits: Sequence[Edit], keys: Sequence[Key]) -> list[Image]:
        texts = [". ".join(line.rstrip(".") for line in edit.instructions) for edit in edits]
        return self.editing(
            [edit.image for edit in edits], texts, [key.generator() for key in keys]
        )


@dataclass(frozen=True)
class ClipSimilarity:
    """Cosine of two pictures in CLIP's space; above 0.995 nothing changed, below 0.6 all did."""

    weights: str = CLIP_L

    @cached_property
    def towers(self) -> Towers:
        return Towers("clip_similarity", self.weights)

    @torch.no_grad()
    def __call__(self, one: Sequence[Image], other: Sequence[Image]) -> list[float]:
        """Pictures of one size at a time."""
        return [
            float((self.towers.pictures(media([a])) * self.towers.pictures(media([b]))).sum())
            for a, b in zip(one, other, strict=True)
        ]
