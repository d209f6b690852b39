"""What is measured of a few-step sampler: distance to held-out pictures, accuracy, variety.

The Fréchet distance is taken in the features of verifier B, which no arm ever trains on: the mean
over its 64 tokens (80 numbers), which says what is in a picture, and the 1,024 numbers before its
last layer, which also say where.
"""

from functools import cache

import torch
from torch import Tensor, nn

from scoreward.core.chain import Sampler, draw
from scoreward.core.denoiser import Denoiser
from scoreward.core.keys import Key, normal_each
from scoreward.data import portraits as data
from scoreward.models.base import Model
from scoreward.models.builtin import portraits as builtin
from scoreward.rewards.imagenet import frechet_distance
from scoreward.tasks.portraits import scorers, verifier
from scoreward.training.evaluations.pictures import spread_of

PROMPTS, NOISES = 32, 8  # of diversity


@torch.no_grad()
def features(media: Tensor) -> tuple[Tensor, Tensor]:
    """(what, where) of pictures in [0, 1]."""
    what, x = torch.zeros(0), media * 2 - 1
    where = what
    for layer in verifier("b").trunk:  # pyright: ignore
        x = layer(x)
        if isinstance(layer, nn.LayerNorm):
            what = x.mean(1)
        if isinstance(layer, nn.GELU):
            where = x
    return what, where


@cache
def real(split: str, count: int | None = None) -> tuple[Tensor, Tensor]:
    """Features of real pictures."""
    return features(builtin.portraits.decode(data.load(split).images[:count]))


def distances(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> dict[str, float]:
    names = ("frechet", "frechet_where")
    pairs = zip(names, ours, theirs, strict=True)
    return {name: frechet_distance(a, b) for name, a, b in pairs}


def floor(count: int) -> dict[str, dict[str, float]]:
    """Real pictures against the held-out ones: no sampler is expected to be nearer."""
    test = real("test")
    half = len(test[0]) // 2
    first, second = tuple(f[:half] for f in test), tuple(f[half : 2 * half] for f in test)
    return {
        f"{half} test / {half} test": distances(first, second),  # pyright: ignore
        f"{count} validation / all test": distances(real("validation", count), test),
        f"{count} train / all test": distances(real("train", count), test),
    }


def drawn(
    model: Model, denoiser: Denoiser, sampler: Sampler, captions: list[str], name: str
) -> Tensor:
    """Pictures of captions, from noise that is the same for every arm."""
    parts = []
    for first in range(0, len(captions), 64):
        words = captions[first : first + 64]
        keys = [Key(("few step", name, first + i)) for i in range(len(words))]
        x = sampler.start(model.process) * normal_each((k / "start" for k in keys), model.shape)
        parts.append(draw(sampler, denoiser, x, keys, model.encode(words)))
    return builtin.portraits.decode(torch.cat(parts))


def measured(
    model: Model, denoiser: Denoiser, sampler: Sampler, split: str, count: int, full: bool
) -> dict[str, float]:
    """Distance alone, or with everything else."""
    captions = data.load(split).captions
    media = drawn(model, denoiser, sampler, captions[:count], split)
    numbers = distances(features(media), real(split))
    wanted = ("strict", "palette", "nearest") if full else ("strict",)
    for name in wanted:
        numbers[name] = float(scorers()[name](media, captions[:count]).float().mean())
    if full:
        again = [c for c in captions[:PROMPTS] for _ in range(NOISES)]
        each = drawn(model, denoiser, sampler, again, f"{split} again").split(NOISES)
        numbers["diversity"] = sum(map(spread_of, each)) / len(each)
    return numbers
