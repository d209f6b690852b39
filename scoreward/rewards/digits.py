"""Which digit is it: two judges of handwritten digits that share no data and no method.

Both are closed forms of a few hundred pictures each, so there is nothing to train or to store. They
look at 8 x 8 averages of whatever size the media have.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from scoreward.data.digits import SIDE, TRAINING, WORDS, load, numbers

WIDTH = 1.5  # of the Gaussian kernel, in units of 8 x 8 pictures in [0, 1]; ours
RIDGE = 0.01  # ours
NEIGHBOURS = 3  # ours


@dataclass(frozen=True)
class DigitScore:
    """How much the picture looks like the digit of its prompt, in [0, 1]: kernel ridge regression.

    Fitted on the first half of the training digits. Far from all of them it is 0.
    """

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        seen, weights = _fitted()
        scores = _kernel(small(media).cpu().double(), seen) @ weights
        return scores.gather(1, numbers(prompts)[:, None])[:, 0].clamp(0, 1).to(media)


@dataclass(frozen=True)
class NearestDigits:
    """Share of the three nearest digits of the second half that are what the prompt says."""

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        seen, labels = half(1)
        near = torch.cdist(small(media).cpu().double(), seen).topk(NEIGHBOURS, largest=False)
        right = labels[near.indices] == numbers(prompts)[:, None]
        return right.double().mean(1).to(media)


def nearest_digit(media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
    """L2 distance of the 8 x 8 averages to the nearest training digit; lower is closer."""
    seen = torch.cat([half(0)[0], half(1)[0]])
    return torch.cdist(small(media).cpu().double(), seen).amin(1).to(media)


def small(media: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 64"]:
    """Averages of 8 x 8 tiles, channels averaged too."""
    return F.adaptive_avg_pool2d(media.mean(1, keepdim=True), SIDE).flatten(1)


@cache
def half(which: int) -> tuple[Float[Tensor, "n 64"], Int[Tensor, " n"]]:
    """The first (0) or second (1) half of the training digits."""
    digits, middle = load("train"), TRAINING // 2
    rows = slice(middle) if which == 0 else slice(middle, None)
    return digits.images[rows].flatten(1).double(), digits.labels[rows]


@cache
def _fitted() -> tuple[Float[Tensor, "n 64"], Float[Tensor, "n 10"]]:
    seen, labels = half(0)
    gram = _kernel(seen, seen) + RIDGE * torch.eye(len(seen), dtype=seen.dtype)
    return seen, torch.linalg.solve(gram, F.one_hot(labels, len(WORDS)).to(gram))


def _kernel(a: Float[Tensor, "n 64"], b: Float[Tensor, "k 64"]) -> Float[Tensor, "n k"]:
    return (-torch.cdist(a, b).square() / (2 * WIDTH**2)).exp()
