"""Handwritten digits in a compressed space: pretraining, and V-GRPO as for any other model.

Nothing here knows of compression but the model: rewards see decoded pictures, the objective sees
latents.
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from scoreward.advantage import Advantages
from scoreward.data import digits as data
from scoreward.models import digits
from scoreward.models.base import Model
from scoreward.models.vectors import VectorSize
from scoreward.objectives.denoising import Denoising
from scoreward.objectives.vgrpo import VGRPO
from scoreward.recipes.sampling import Sampling
from scoreward.recipes.shared import Flat, Shared
from scoreward.rewards.digits import DigitScore, NearestDigits, nearest_digit
from scoreward.training.evaluation import Evaluation
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.source import Offline, Online


@dataclass(frozen=True)
class Checked:
    """What to measure: digits of given names, by both judges."""

    each: int = 20  # pictures of every digit
    every: int = 20  # rounds
    steps: int = 20
    eta: float = 1.0  # of the SDE sampler; the ODE is always measured too

    def evaluation(self) -> Evaluation:
        """The evaluation of a run on digits."""
        return Evaluation(
            prompts=list(data.WORDS) * self.each,
            samplers={
                "ode": Sampling(steps=self.steps).sampler(),
                "sde": Sampling(steps=self.steps, eta=self.eta).sampler(),
            },
            scorers={
                "reward": DigitScore(),
                "judge": NearestDigits(),
                "nearest": nearest_digit,
            },
            spread_prompts=len(data.WORDS),
            every=self.every,
        )


@dataclass(frozen=True)
class StartDigits:
    """The compressed model that training starts from."""

    file: Path | None = None  # model.safetensors of `scoreward export` instead of the shipped one
    size: VectorSize = digits.SIZE

    def build(self) -> Model:
        """The model with its operator."""
        return digits.load(self.file or digits.PATH, self.size)


def digits_compressed_pretrain(
    objective: Denoising = Denoising(),
    measuring: digits.Measuring = digits.Measuring(),
    size: VectorSize = digits.SIZE,
    geometry: Geometry = Geometry(prompts=6400, group=1, minibatches=50, micro_batch=128),
    optimizer: Optimizer = Optimizer(
        lr=1e-3,
        betas=(0.9, 0.99),
        warmup=100,
        decay="linear",
        ema=0.999,
    ),
    budget: Budget = Budget(rounds=7),
    checked: Checked = Checked(),
    dropout: float = 0.1,
) -> Run:
    """Pretraining of a diffusion model on y = A x of handwritten digits.

    It is short on purpose. After 7 rounds both judges find samples as good as real digits, and they
    are as far from the training digits as these are from each other; 80 rounds remember them.
    """
    train, model = data.load("train", measuring.enlarged), digits.untrained(measuring, size)
    with torch.no_grad():
        latents = measuring.build().encode(train.images)
    return Run(
        name="digits_compressed_pretrain",
        model=model,
        objective=objective,
        source=Offline(latents, train.captions, geometry, dropout),
        optimizer=optimizer,
        budget=budget,
        evaluation=checked.evaluation(),
        keeping=Keeping(every=checked.every),
    )


def digits_compressed_vgrpo(
    objective: VGRPO = VGRPO(clip=None, anchor=0.5),
    sampling: Sampling = Sampling(steps=20),
    shared: Flat = Shared(
        geometry=Geometry(prompts=10, group=12),
        advantages=Advantages(scale="batch", floor=0.05),
        optimizer=Optimizer(lr=1e-4, decay="linear"),
    ),
    checked: Checked = Checked(),
    model: StartDigits = StartDigits(),
) -> Run:
    """V-GRPO on a compressed model; the reward reads the decoded picture."""
    return Run(
        name="digits_compressed_vgrpo",
        model=model.build(),
        objective=objective,
        source=Online(
            prompts=data.WORDS,
            rewards={"digit": DigitScore()},
            rollout=sampling.sampler(),
            geometry=shared.geometry,
            advantages=shared.advantages,
        ),
        optimizer=shared.optimizer,
        budget=shared.budget,
        evaluation=checked.evaluation(),
        keeping=Keeping(every=checked.every),
    )
