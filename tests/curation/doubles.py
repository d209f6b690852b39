"""Stages whose truth is known: a prompt names a colour, a picture is one colour with a grain.

The generator draws the right colour with a given chance, the critic sees colours perfectly, and an
edit puts the right colour with chance `success`, else it takes another wrong one.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.curation.pictures import same_pixels
from scoreward.curation.records import Complaint, Critique, Instructions
from scoreward.curation.rules import Rules
from scoreward.curation.stages import Edit, Pipeline, Plan

COLORS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200), "gray": (90, 90, 90)}
NAMES = tuple(COLORS)


def wanted(prompt: str) -> str:
    return prompt.split()[1]


def drawn(color: str, key: Key, size: int = 8) -> Image.Image:
    """A picture of one colour; the grain makes every one different."""
    grain = key.integers(25, size, size, 3).numpy()
    return Image.fromarray((np.array(COLORS[color]) + grain).astype(np.uint8))


def seen(image: Image.Image) -> str:
    mean = np.asarray(image).reshape(-1, 3).mean(0) - 12
    return min(COLORS, key=lambda name: float(np.abs(mean - COLORS[name]).sum()))


def wrong(color: str, key: Key) -> str:
    others = [name for name in NAMES if name != color]
    return others[int(key.integers(len(others)))]


def prompts(count: int = 30) -> list[str]:
    return [f"a {NAMES[i % 4]} square, number {i}" for i in range(count)]


@dataclass(frozen=True)
class Painter:
    right: float = 0.3
    name: str = "painter"
    evaluations: int = 1
    pause: float = 0.0

    def __call__(self, prompts: Sequence[str], keys: Sequence[Key]) -> list[Image.Image]:
        time.sleep(self.pause)
        return [
            drawn(
                wanted(p) if float(k.uniform()) < self.right else wrong(wanted(p), k), k / "grain"
            )
            for p, k in zip(prompts, keys)
        ]


@dataclass(frozen=True)
class Eye:
    name: str = "eye"

    def __call__(self, prompts: Sequence[str], images: Sequence[Image.Image]) -> list[Critique]:
        return [
            Critique(
                ()
                if seen(image) == wanted(prompt)
                else (Complaint("square", "wrong", "wrong colour", seen(image), wanted(prompt)),)
            )
            for prompt, image in zip(prompts, images)
        ]


@dataclass(frozen=True)
class Clerk:
    name: str = "clerk"

    def __call__(
        self, prompts: Sequence[str], images: Sequence[Image.Image], critiques: Sequence[Critique]
    ) -> list[Instructions]:
        return [
            Instructions(tuple(f"make the square {c.wanted}" for c in one.complaints))
            for one in critiques
        ]


@dataclass(frozen=True)
class Brush:
    success: float = 1.0
    name: str = "brush"
    evaluations: int = 2

    def __call__(self, edits: Sequence[Edit], keys: Sequence[Key]) -> list[Image.Image]:
        return [self._one(edit, key) for edit, key in zip(edits, keys)]

    def _one(self, edit: Edit, key: Key) -> Image.Image:
        asked = edit.instructions[0].split()[-1]
        good = float((key / "luck").uniform()) < self.success
        return drawn(asked if good else wrong(asked, key), key / "grain")


def oracle(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """1 for the right colour."""
    images = [
        Image.fromarray((one * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())
        for one in media
    ]
    return torch.tensor([float(seen(i) == wanted(p)) for i, p in zip(images, prompts)])


def pipeline(
    success: float = 1.0,
    mode: str = "relabel",
    count: int = 30,
    pause: float = 0.0,
    batch: int = 4,
) -> Pipeline:
    return Pipeline(
        name="squares",
        prompts=prompts(count),
        generator=Painter(pause=pause),
        critic=Eye(),
        instructor=Clerk(),
        editor=Brush(success),
        deciding={"oracle": oracle},
        judging={"again": oracle},
        similarity=same_pixels,
        rules=Rules(mode="improve_only" if mode == "improve_only" else "relabel", other=0.0),
        plan=Plan(attempts=2, candidates=2, batch=batch),
    )


slow = partial(pipeline, pause=0.02)


def untyped(success=1.0) -> Pipeline:  # noqa: ANN001
    return pipeline(success)
