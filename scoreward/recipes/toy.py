"""The analytic toy: a Gaussian policy whose optimum is known, so that a run takes a second.

Prompts name a corner of a square; the reward is minus the squared distance of the sample to it.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from scoreward.advantage import Advantages
from scoreward.models.analytic import GaussianPolicy
from scoreward.models.base import Model
from scoreward.objectives.vgrpo import VGRPO
from scoreward.process import RectifiedFlow
from scoreward.recipes.sampling import Sampling
from scoreward.training.evaluation import Evaluation
from scoreward.training.gap import Gap
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.source import Online

CORNERS = {
    "north east": (1.0, 1.0),
    "north west": (-1.0, 1.0),
    "south east": (1.0, -1.0),
    "south west": (-1.0, -1.0),
}


def corner_of(prompts: Sequence[str]) -> Tensor:
    """The number of each prompt's corner; ValueError for a prompt that names none."""
    names = list(CORNERS)
    if unknown := [p for p in prompts if p not in CORNERS]:
        raise ValueError(f"unknown prompt {unknown[0]!r}; the toy knows {', '.join(names)}")
    return torch.tensor([names.index(p) for p in prompts])


def closeness(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """Minus the squared distance to the corner; the optimum of the mean is the corner itself."""
    corners = torch.tensor([CORNERS[p] for p in prompts]).to(media)
    return -(media - corners).square().sum(1)


def toy_model(dim: int = 2) -> Model:
    """N(mean of the prompt, 0.25 I), all means at the origin."""
    policy = GaussianPolicy(len(CORNERS), dim)
    return Model(
        policy, RectifiedFlow(), "velocity", (dim,), corner_of, lambda x0: x0, lambda cond: cond
    )


def toy_vgrpo(
    objective: VGRPO = VGRPO(clip=None),
    sampling: Sampling = Sampling(),
    geometry: Geometry = Geometry(prompts=4, group=16),
    advantages: Advantages = Advantages(),
    optimizer: Optimizer = Optimizer(lr=2e-2),
    budget: Budget = Budget(rounds=100),
    every: int = 25,
    gap: Gap = Gap(),
) -> Run:
    """V-GRPO on the toy."""
    prompts = list(CORNERS)
    samplers = {"ode": sampling.sampler(), "sde": Sampling(eta=1.0).sampler()}
    return Run(
        name="toy_vgrpo",
        model=toy_model(),
        objective=objective,
        source=Online(prompts, {"closeness": closeness}, sampling.sampler(), geometry, advantages),
        optimizer=optimizer,
        budget=budget,
        evaluation=Evaluation(
            prompts * 16, samplers, {"reward": closeness}, every=every, spread_prompts=4, gap=gap
        ),
        keeping=Keeping(every=every),
    )
