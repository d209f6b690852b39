"""A toy with a known optimum is learned, and with the advantages turned around it is not."""

import pytest
import torch
from torch import Tensor

from scoreward.core.advantage import Advantages
from scoreward.core.chain import draw, uniform
from scoreward.core.denoiser import NetworkDenoiser
from scoreward.core.kernel import ddim
from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.process import RectifiedFlow
from scoreward.models.analytic import GaussianPolicy
from scoreward.models.weights import Snapshot, Weights
from scoreward.objectives.base import Samples
from scoreward.objectives.samples.vgrpo import VGRPO

SAMPLER = uniform(ddim(), 5)
GOAL = torch.tensor([[1.5, -0.5], [-1.0, 1.0]])
GROUP = torch.arange(2).repeat_interleave(16)
INDEX = torch.arange(len(GROUP))


def reward(x0: Tensor) -> Tensor:
    """Best on average where the mean of a prompt is its goal."""
    return -(x0 - GOAL[GROUP]).square().sum(1)


def sampled(denoiser: NetworkDenoiser, key: Key) -> Tensor:
    keys = [key / i for i in INDEX.tolist()]
    start = torch.stack([(k / "start").normal(2) for k in keys])
    return draw(SAMPLER, denoiser, start, keys, GROUP)


def learn(objective: VGRPO, rounds: int, updates: int = 1, sign: float = 1.0) -> Tensor:
    """Distance of each prompt's mean to its goal after some rounds; 1.6 and 1.4 at the start."""
    module = GaussianPolicy(prompts=2, dim=2)
    weights, denoiser = Weights(module), NetworkDenoiser(module, RectifiedFlow())
    old, first = (Snapshot(denoiser, weights, name) for name in ("old", "first"))
    weights.commit("first")
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1 / updates)
    policy = DiffusionPolicy(denoiser, old, first, RectifiedFlow(), SAMPLER, updates == 1)
    for i in range(rounds):
        key = Key(("toy", i))
        weights.commit("old")
        x0 = sampled(denoiser, key)
        advantage = sign * Advantages()(reward(x0)[None], torch.ones(1), GROUP)
        samples = Samples(x0, GROUP, advantage, GROUP, INDEX, advantage)
        rows = objective.ready(samples, policy, key)
        for _ in range(updates):
            optimizer.zero_grad()
            objective.loss(rows, policy)[0].backward()
            optimizer.step()
            weights.stepped()
    return (module.mean.detach() - GOAL).norm(dim=1)


@pytest.mark.parametrize("share", ["group", "batch", "none"])
def test_one_update_per_round_reaches_the_goal(share: str) -> None:
    objective = VGRPO(share=share, clip=None)  # pyright: ignore[reportArgumentType]
    assert learn(objective, rounds=50).max() < 0.3


def test_several_clipped_updates_per_round_reach_the_goal() -> None:
    assert learn(VGRPO(soft_clip=None, clip=0.1), rounds=40, updates=3).max() < 0.3


def test_with_the_advantages_turned_around_it_moves_away() -> None:
    assert learn(VGRPO(), rounds=20, sign=-1.0).min() > 2.0


def test_an_anchor_holds_it_back() -> None:
    """To the first policy, whose means are 0: 1.58 and 1.41 away from their goals."""
    assert learn(VGRPO(anchor=20.0), rounds=30).min() > 1.2
