"""The second built-in task: draw the word that the prompt says, rewarded by what an OCR reads.

`moved` turns a recipe of the portraits into the same method on lettering: `scoreward train
lettering_vgrpo` is portraits_vgrpo with other prompts, another model and another reward.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.data import lettering as data
from scoreward.models import lettering as built_in
from scoreward.models.base import Model
from scoreward.models.transformer import NetworkSize
from scoreward.objectives.denoising import Denoising
from scoreward.recipes.moving import Task, moved_to
from scoreward.recipes.portraits import HeldOut, Start
from scoreward.rewards.base import Reward
from scoreward.rewards.nearest import least_distance
from scoreward.rewards.ocr import Confidence, Exact, Legible, PaddleReader, TesseractReader
from scoreward.training.checkpoint import read_tensors
from scoreward.training.evaluation import Evaluation
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.source import Offline

DRAWN = 4  # pictures of a training word, each in another look


@dataclass(frozen=True)
class HeldOutWords(HeldOut):
    """What to measure, on words that were never trained on."""

    def evaluation(self) -> Evaluation:
        """The evaluation of a lettering run."""
        return Evaluation(
            prompts=data.captions(self.split)[: self.prompts],
            samplers=self.samplers(),
            scorers=scorers(),
            every=self.every,
            gap=self.gap,
        )


@dataclass(frozen=True)
class StartLettering(Start):
    """The lettering model that training starts from."""

    def load(self, weights: Mapping[str, Tensor] | None) -> Model:
        """The lettering model, with the shipped weights for None."""
        return built_in.lettering(weights)


@cache
def readers() -> tuple[PaddleReader, TesseractReader]:
    """The one that rewards and the one that judges."""
    return PaddleReader(torch.get_num_threads()), TesseractReader(data.ALPHABET)


def scorers() -> dict[str, Reward]:
    """Reward, the judge that never trains anything, and the distance to what was drawn."""
    reward, judge = readers()
    return {
        "reward": Legible(reward),
        "judge": Legible(judge),
        "strict": Exact(judge),
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


def moved(recipe: Callable[..., Run]) -> Callable[..., Run]:
    """The same method on lettering.  The reward is `Legible`, or `Confidence` if it has no steps.

    Raises ValueError for a method that differentiates its reward: an OCR gives no gradient here.
    """
    task = Task(
        name="lettering",
        held_out=HeldOutWords,
        model=StartLettering,
        prompts=lambda: data.captions("train"),
        rewards=_rewards,
        doc="On lettering, rewarded by an OCR.",
        no_gradient="the OCR of lettering has no gradient",
    )
    return moved_to(task, recipe)


def _rewards(portraits: Mapping[str, Reward]) -> dict[str, Reward]:
    """What an OCR says in place of what a verifier says; other rewards stay."""
    reader = readers()[0]
    instead = {
        "attributes": ("legible", Legible(reader)),
        "confidence": ("confidence", Confidence(reader)),
    }
    return dict(instead.get(name, (name, reward)) for name, reward in portraits.items())


def lettering_pretrain(
    objective: Denoising = Denoising(mean=0.8),
    size: NetworkSize = built_in.SIZE,
    geometry: Geometry = Geometry(prompts=3200, group=1, minibatches=100),
    optimizer: Optimizer = Optimizer(
        lr=1e-3,
        betas=(0.9, 0.99),
        weight_decay=1e-4,
        warmup=100,
        decay="linear",
        total=10_000,
        ema=0.999,
    ),
    budget: Budget = Budget(rounds=40),
    held_out: HeldOutWords = HeldOutWords(split="validation", every=20),
    start: Path | None = None,
    dropout: float = 0.1,
) -> Run:
    """Pretraining of the lettering model; `start` goes on from a weights file.

    Times are drawn more often from the noisy half, where it is decided which letter is where. It
    stops at 40 % of the decay, to leave something for a reward to improve.
    """
    train = data.load("train", DRAWN)
    model = built_in.untrained(size)
    if start is not None:
        model = built_in.lettering(read_tensors(start), size)
    return Run(
        name="lettering_pretrain",
        model=model,
        objective=objective,
        source=Offline(train.images, train.captions, geometry, dropout),
        optimizer=optimizer,
        budget=budget,
        evaluation=held_out.evaluation(),
        keeping=Keeping(every=held_out.every),
    )
