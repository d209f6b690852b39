"""Handwritten digits in a compressed space: pretraining, and any method as for other models.

Nothing here knows of compression but the model: rewards see decoded pictures, the objective sees
latents.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scoreward.data import digits as data
from scoreward.methods.base import Given, Setting
from scoreward.models.base import Model
from scoreward.models.builtin import digits
from scoreward.models.builtin.vectors import VectorSize
from scoreward.models.compressed.model import stored
from scoreward.rewards.digits import DigitScore, NearestDigits, nearest_digit
from scoreward.tasks.builtin import BuiltIn, HeldOut, Pretraining, Start


@dataclass(frozen=True)
class StartDigits(Start):
    """The compressed model that training starts from; its operator comes with the weights."""

    size: VectorSize = digits.SIZE


def pictures(given: Given, model: Model) -> tuple[Tensor, Sequence[str]]:
    """Measurements y = A x of enlarged digits, by a new operator or the one of the weights."""
    measuring: digits.Measuring = given.get("measuring", digits.Measuring())
    train = data.load("train", measuring.enlarged)
    if "measuring" in given:
        how = measuring.build()
    else:
        how, _ = stored(given["model"].weights or digits.PATH)
    with torch.no_grad():
        return how.encode(train.images), train.captions


DIGITS = BuiltIn(
    name="digits_compressed",
    about="handwritten digits, drawn as y = A x; the reward is a classifier",
    open=lambda weights: digits.load(),
    file=lambda start: digits.load(start.weights or digits.PATH, start.size),
    captions=lambda split: data.WORDS,
    reward=lambda smooth: {"digit": DigitScore()},
    scorers=lambda: {"reward": DigitScore(), "judge": NearestDigits(), "nearest": nearest_digit},
    start=StartDigits(),
    held_out=HeldOut(prompts=200, every=20, steps=20),
    again=True,
    spread=len(data.WORDS),
    renames={"--model.file": "--model.weights", "--checked.": "--held-out."},
    pretraining=Pretraining(
        settings={
            "measuring": Setting(digits.Measuring()),
            "size": Setting(digits.SIZE),
            "dropout": Setting(0.1),
        },
        model=lambda given: digits.untrained(given["measuring"], given["size"]),
        pictures=pictures,
    ),
)
