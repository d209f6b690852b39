"""The open-vocabulary task: draw the emoji that the prompt names, rewarded by an image-text model.

`moved` turns a recipe of the portraits into the same method on emoji: `scoreward train emoji_vgrpo`
is portraits_vgrpo with other prompts, another model and another reward. The reward has a gradient,
so the methods that differentiate it are here too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from scoreward.data import emoji as data
from scoreward.models import emoji as built_in
from scoreward.models.base import Model
from scoreward.models.transformer import NetworkSize
from scoreward.objectives.denoising import Denoising
from scoreward.recipes.moving import Task, moved_to
from scoreward.recipes.portraits import HeldOut, Start
from scoreward.rewards.base import Reward
from scoreward.rewards.emoji import EmojiMatch, Found, Heads, Likeness
from scoreward.rewards.nearest import least_distance
from scoreward.training.checkpoint import read_tensors
from scoreward.training.evaluation import Evaluation
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.source import Offline


@dataclass(frozen=True)
class HeldOutEmoji(HeldOut):
    """What to measure, on captions that were never trained on."""

    def evaluation(self) -> Evaluation:
        """The evaluation of an emoji run; captions come again, with other noise, if few."""
        captions = data.captions(self.split)
        return Evaluation(
            prompts=[captions[i % len(captions)] for i in range(self.prompts)],
            samplers=self.samplers(),
            scorers=scorers(),
            every=self.every,
            gap=self.gap,
        )


@dataclass(frozen=True)
class StartEmoji(Start):
    """The emoji model that training starts from."""

    def load(self, weights: Mapping[str, Tensor] | None) -> Model:
        """The emoji model, with the shipped weights for None."""
        return built_in.emoji(weights)


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
        "strict": Found(judge.heads, built_in.whole, data.every_caption()),
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


def moved(recipe: Callable[..., Run]) -> Callable[..., Run]:
    """The same method on emoji.  The reward is `EmojiMatch`; other terms stay."""
    task = Task(
        name="emoji",
        held_out=HeldOutEmoji,
        model=StartEmoji,
        prompts=lambda: data.captions("train"),
        rewards=_rewards,
        doc="On emoji, rewarded by an image-text model.",
    )
    return moved_to(task, recipe)


def _rewards(portraits: Mapping[str, Reward]) -> dict[str, Reward]:
    """The image-text model in place of what a verifier says; other rewards stay."""
    ours = ("match", match("reward"))
    return dict(ours if n in ("attributes", "confidence") else (n, r) for n, r in portraits.items())


def emoji_pretrain(
    objective: Denoising = Denoising(mean=0.5),
    size: NetworkSize = built_in.SIZE,
    geometry: Geometry = Geometry(prompts=3200, group=1, minibatches=100),
    optimizer: Optimizer = Optimizer(
        lr=1e-3,
        betas=(0.9, 0.99),
        weight_decay=1e-4,
        warmup=100,
        decay="linear",
        total=6_000,
        ema=0.999,
    ),
    budget: Budget = Budget(rounds=40),
    held_out: HeldOutEmoji = HeldOutEmoji(split="validation", every=20),
    start: Path | None = None,
    dropout: float = 0.1,
) -> Run:
    """Pretraining of the emoji model on three styles; `start` goes on from a weights file.

    It stops at two thirds of the decay, to leave something for a reward to improve.
    """
    train = data.load("train")
    model = built_in.untrained(size)
    if start is not None:
        model = built_in.emoji(read_tensors(start), size)
    return Run(
        name="emoji_pretrain",
        model=model,
        objective=objective,
        source=Offline(train.images, train.captions, geometry, dropout),
        optimizer=optimizer,
        budget=budget,
        evaluation=held_out.evaluation(),
        keeping=Keeping(every=held_out.every),
    )
