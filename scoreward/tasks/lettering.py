"""The second built-in task: draw the word that the prompt says, rewarded by what an OCR reads."""

from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.data import lettering as data
from scoreward.models.builtin import lettering as built_in
from scoreward.rewards.base import Reward
from scoreward.rewards.ocr import Confidence, ExactText, Legible, PaddleReader, TesseractReader
from scoreward.rewards.pictures import least_distance
from scoreward.tasks.builtin import BuiltIn, from_scratch

DRAWN = 4  # pictures of a training word, each in another look


@cache
def readers() -> tuple[PaddleReader, TesseractReader]:
    """The one that rewards and the one that judges."""
    return PaddleReader(torch.get_num_threads()), TesseractReader(data.ALPHABET)


def reward(smooth: bool) -> dict[str, Reward]:
    """The share of letters that an OCR reads; or its confidence, which has fewer steps."""
    reader = readers()[0]
    return {"confidence": Confidence(reader)} if smooth else {"legible": Legible(reader)}


def scorers() -> dict[str, Reward]:
    """Reward, the judge that never trains anything, and the distance to what was drawn."""
    reward, judge = readers()
    return {
        "reward": Legible(reward),
        "judge": Legible(judge),
        "strict": ExactText(judge),
        "nearest": nearest_picture,
    }


@cache
def _drawn() -> tuple[Float[Tensor, "n 2048"], Float[Tensor, " n"]]:
    """Two pictures of every training word as vectors in [-1, 1], and their squared lengths."""
    flat = data.load("train", 2).images.flatten(1)
    return flat, flat.square().sum(1)


def nearest_picture(media: Float[Tensor, "batch 3 32 64"], prompts: Any) -> Tensor:
    """L2 distance in [-1, 1] to the nearest of 10,388 drawn pictures; lower is closer."""
    flat = (media[:, 0].float().cpu() * 2 - 1).flatten(1)
    return least_distance(flat, *_drawn()).to(media.device)


def pictures(given: Any, model: Any) -> tuple[Tensor, list[str]]:
    """Training words, each in several looks."""
    train = data.load("train", DRAWN)
    return train.images, train.captions


LETTERING = BuiltIn(
    name="lettering",
    about="words in 32 x 64 pixels; the reward is what an OCR reads",
    open=built_in.lettering,
    captions=data.captions,
    reward=reward,
    scorers=scorers,
    tuned_as="portraits",
    no_gradient="the OCR of lettering has no gradient",
    pretraining=from_scratch(built_in.lettering, pictures),
)
