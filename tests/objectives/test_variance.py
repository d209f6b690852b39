"""How noisy the stand-in for the likelihood is: what V-GRPO's three remedies buy.

Eight modes with an exact denoiser, so nothing is trained; four prompts of 24 samples, four pairs
each. The figure of merit is the coefficient of variation of a sample's mean error (std over mean):
over the batch, and around the mean of its group, which is what advantages compare.
"""

from functools import cache

import pytest
import torch
from torch import Tensor

from scoreward.core.advantage import group_mean
from scoreward.core.chain import uniform
from scoreward.core.kernel import ddim
from scoreward.core.keys import Key
from scoreward.core.likelihood import (
    NoisySamples,
    noised,
    predict_as,
    self_normalised_error,
    squared_error,
    targets,
)
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.process import RectifiedFlow
from scoreward.models.analytic import ExactDenoiser, Mixture
from scoreward.objectives.base import Samples
from scoreward.objectives.samples.vgrpo import VGRPO
from tests.core.laws import F64

KEY = Key(("variance",))
FLOW = RectifiedFlow()
GROUP = torch.arange(4).repeat_interleave(24)
REPEATS = 6


@cache
def denoiser(dim: int) -> ExactDenoiser:
    """Eight modes of standard deviation 0.3 on a sphere of radius √dim."""
    means = (KEY / "modes" / dim).normal(8, dim, dtype=F64)
    means = means / means.square().mean(1, keepdim=True).sqrt()
    one = torch.ones(8, dtype=F64)
    return ExactDenoiser(Mixture(means, 0.09 * one, one / 8), FLOW)


def samples(dim: int, repeat: int) -> Samples:
    """All samples of a prompt come from the same two modes."""
    data, key = denoiser(dim).data, KEY / "data" / dim / repeat
    mode = 2 * GROUP + (key / "mode").integers(2, 96)
    x0 = data.means[mode] + 0.3 * (key / "noise").normal(96, dim, dtype=F64)
    zero = torch.zeros(96, dtype=F64)
    return Samples(x0, None, zero, GROUP, torch.arange(96), zero)


def remedied(objective: VGRPO, dim: int, repeat: int) -> Tensor:
    """Each sample's mean error on the pairs that the objective draws."""
    exact, data = denoiser(dim), samples(dim, repeat)
    policy = DiffusionPolicy(exact, exact, exact, FLOW, uniform(ddim(), 20), on_policy=True)
    pairs = objective.ready(data, policy, KEY / "pairs" / repeat).pairs
    answer, target = predict_as(exact, pairs, None, "x0"), targets(FLOW, data.x0, pairs, "x0")
    return self_normalised_error(answer, target).mean(1)


def naive(dim: int, repeat: int) -> Tensor:
    """The mean squared error of x0 at uniform times, every sample with pairs of its own."""
    exact, data, key = denoiser(dim), samples(dim, repeat), KEY / "naive" / repeat
    t, eps = (key / "t").uniform(96, 4, dtype=F64), (key / "eps").normal(96, 4, dim, dtype=F64)
    pairs = NoisySamples(t, eps, noised(FLOW, data.x0, t, eps))
    answer, target = predict_as(exact, pairs, None, "x0"), targets(FLOW, data.x0, pairs, "x0")
    return squared_error(answer, target).mean(1)


def over_the_batch(errors: list[Tensor]) -> float:
    return torch.stack([e.std() / e.mean() for e in errors]).mean().item()


def within_groups(errors: list[Tensor]) -> float:
    centred = [e - group_mean(e, GROUP) for e in errors]
    each = [c.square().mean().sqrt() / e.mean() for c, e in zip(centred, errors, strict=True)]
    return torch.stack(each).mean().item()


@pytest.mark.parametrize("dim", [2, 32, 256])
def test_strata_and_self_normalisation_halve_the_noise(dim: int) -> None:
    """[vgrpo] (14), [vgrpo] (Sec. 4.4): 0.72 against 0.19 over the batch in 32 dimensions."""
    plain = [naive(dim, r) for r in range(REPEATS)]
    better = [remedied(VGRPO(share="none"), dim, r) for r in range(REPEATS)]
    assert over_the_batch(plain) > 2 * over_the_batch(better)
    assert within_groups(plain) > 2 * within_groups(better)


@pytest.mark.parametrize(("dim", "saving"), [(32, 0.15), (256, 0.4)])
def test_sharing_pairs_takes_noise_out_of_the_comparison(dim: int, saving: float) -> None:
    """[vgrpo] (Sec. 4.4): the more dimensions, the more, since |ε| hardly varies then.

    Comparing samples of one prompt gets less noisy than the batch is.
    """
    alone = [remedied(VGRPO(share="none"), dim, r) for r in range(REPEATS)]
    shared = [remedied(VGRPO(share="group"), dim, r) for r in range(REPEATS)]
    assert within_groups(shared) < (1 - saving) * within_groups(alone)
    assert within_groups(shared) < 0.8 * over_the_batch(shared)
