"""The open-vocabulary task: draw the emoji that the prompt names, rewarded by an image-text model.

The reward has a gradient, so the methods that differentiate it are here too.
"""

from functools import cache
from typing import Any

from jaxtyping import Float
from torch import Tensor

from scoreward.data import emoji as data
from scoreward.models.builtin import emoji as built_in
from scoreward.rewards.base import Reward
from scoreward.rewards.emoji import EmojiMatch, Heads, Likeness, Retrieval
from scoreward.rewards.pictures import least_distance
from scoreward.tasks.builtin import BuiltIn, from_scratch


@cache
def match(name: str) -> EmojiMatch:
    """The image-text model "reward", or the "judge" that never trains anything."""
    return EmojiMatch(Heads.load(name), built_in.whole)


@cache
def cautious(caution: float = 1.0) -> EmojiMatch:
    """All heads of the reward: their mean less their disagreement."""
    heads = Heads.load("reward")
    return EmojiMatch(heads, built_in.whole, len(heads.image), caution)


def scorers() -> dict[str, Reward]:
    """Reward, the judge that never trains anything, and two checks that use no network."""
    judge = match("judge")
    return {
        "reward": match("reward"),
        "judge": judge,
        "strict": Retrieval(judge.heads, built_in.whole, data.every_caption()),
        "likeness": Likeness(),
        "nearest": nearest_picture,
    }


@cache
def _drawn() -> tuple[Float[Tensor, "n 3072"], Float[Tensor, " n"]]:
    """The training pictures as vectors in [-1, 1], and their squared lengths."""
    flat = data.load("train").images.flatten(1)
    return flat, flat.square().sum(1)


def nearest_picture(media: Float[Tensor, "batch 3 32 32"], prompts: Any) -> Tensor:
    """L2 distance in [-1, 1] to the nearest training picture; lower is closer."""
    flat = (media.float().cpu() * 2 - 1).flatten(1)
    return least_distance(flat, *_drawn()).to(media.device)


EMOJI = BuiltIn(
    name="emoji",
    about="emoji of 32 x 32 pixels from open captions; the reward is an image-text model",
    open=built_in.emoji,
    captions=data.captions,
    reward=lambda smooth: {"match": match("reward")},
    scorers=scorers,
    again=True,
    tuned_as="portraits",
    pretraining=from_scratch(
        built_in.emoji,
        lambda given, model: (data.load("train").images, data.load("train").captions),
    ),
)
