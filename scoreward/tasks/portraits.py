"""The portraits: people from attributes, judged by networks that know the attributes.

All methods start from one model, see the same prompts and the same reward, and share the sizes of a
round; what differs is the objective, how the rollout draws its steps, and the learning rate and the
regularisers (benchmarks/online).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from torch import Tensor

from scoreward.data import portraits as data
from scoreward.methods.base import Given, Setting
from scoreward.models.base import Model
from scoreward.models.builtin import portraits as builtin
from scoreward.rewards.base import Reward
from scoreward.rewards.palette import PaletteCheck, nearest_picture
from scoreward.rewards.portraits import (
    AllRight,
    AttributeReward,
    ShareRight,
    Verifier,
    attribute_table,
)
from scoreward.tasks.builtin import BuiltIn, from_scratch
from scoreward.training.sources.own_pairs import content


@dataclass(frozen=True)
class Captions:
    """How well pretraining pictures are described; both ours, see docs/decisions.md."""

    misnamed: float = 0.1  # probability that a caption names an attribute wrongly
    dropout: float = 0.1  # share of captions left out, so that guidance is possible


@dataclass(frozen=True)
class AttributeTable:
    """Per-attribute accuracy by one verifier, as an evaluation table."""

    verifier: Verifier

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Mapping[str, float]:
        return attribute_table(self.verifier, media, prompts)


@cache
def verifier(name: str) -> Verifier:
    """A frozen attribute verifier: "a" rewards, "b" judges."""
    return Verifier.load(name)


def reward(smooth: bool) -> dict[str, Reward]:
    """The share of attributes that are right; or the mean probability, which has no steps."""
    if smooth:
        return {"confidence": AttributeReward(verifier("a"))}
    return {"attributes": ShareRight(verifier("a"))}


def scorers() -> dict[str, Reward]:
    """Reward, the judge that never trains anything, and checks that use neither network."""
    return {
        "reward": ShareRight(verifier("a")),
        "judge": ShareRight(verifier("b")),
        "strict": AllRight(verifier("b")),
        "palette": PaletteCheck.load(),
        "nearest": nearest_picture,
    }


def pictures(given: Given, model: Model) -> tuple[Tensor, Sequence[str]]:
    """Training pictures with careless captions."""
    train = data.load("train")
    return train.images, data.careless_captions(train, given["captions"].misnamed)


PORTRAITS = BuiltIn(
    name="portraits",
    about="people of 16 x 16 pixels from seven attributes; the reward is the share that is right",
    open=builtin.portraits,
    captions=lambda split: data.load(split).captions,
    reward=reward,
    scorers=scorers,
    tables=lambda: {"attributes": AttributeTable(verifier("b"))},
    judged=lambda: f"ShareRight {content(verifier('a'))}",
    pretraining=from_scratch(
        builtin.portraits,
        pictures,
        settings={
            "size": Setting(builtin.portraits.size),
            "captions": Setting(Captions()),
            "start": Setting(None, Path | None),
        },
    ),
)
