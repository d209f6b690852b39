"""The pretraining loss: its value written out, its times, and what minimises it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from scoreward.core.chain import uniform
from scoreward.core.denoiser import NetworkDenoiser
from scoreward.core.kernel import ddim
from scoreward.core.keys import Key
from scoreward.core.likelihood import predict_as
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.prediction import KINDS, Kind
from scoreward.core.process import LinearVP, RectifiedFlow
from scoreward.models.analytic import GaussianPolicy
from scoreward.objectives.base import Samples
from scoreward.objectives.samples.denoising import Denoising
from tests.core.laws import F64

KEY = Key(("denoising",))
FLOW = RectifiedFlow()


def policy(means: Tensor) -> DiffusionPolicy:
    module = GaussianPolicy(prompts=2, dim=3, variance=0.25).double()
    with torch.no_grad():
        module.mean.copy_(means)
    reading = NetworkDenoiser(module, FLOW)
    return DiffusionPolicy(reading, reading, reading, FLOW, uniform(ddim(), 4))


def samples(count: int) -> Samples:
    """Data of two prompts, N(±1, 0.25 I)."""
    cond = torch.arange(count) % 2
    x0 = (2.0 * cond - 1)[:, None] + 0.5 * (KEY / "data").normal(count, 3, dtype=F64)
    zero = torch.zeros(count, dtype=F64)
    return Samples(x0, cond, zero, zero.long(), torch.arange(count), zero)


TRUE = torch.tensor([[-1.0] * 3, [1.0] * 3], dtype=F64)


@pytest.mark.parametrize("target", KINDS)
def test_the_loss_is_the_mean_squared_error_of_the_target(target: Kind) -> None:
    """[flow-matching] (CFM loss), each sample with one (t, ε) of its own."""
    objective, using, data = Denoising(target=target), policy(0.3 * TRUE), samples(6)
    rows = objective.ready(data, using, KEY)
    loss, metrics = objective.loss(rows, using)
    t, eps = rows.pairs.t[:, 0], rows.pairs.eps[:, 0]
    x_t = (1 - t)[:, None] * data.x0 + t[:, None] * eps
    answer = using.current(x_t, t, data.cond).as_(target)
    truth = {
        "x0": data.x0,
        "eps": eps,
        "v": (1 - t)[:, None] * eps - t[:, None] * data.x0,
        "velocity": eps - data.x0,
        "score": -eps / t[:, None],
    }[target]
    torch.testing.assert_close(loss, (answer - truth).square().mean())
    torch.testing.assert_close(metrics["error/mean"], loss.detach())
    assert not metrics["error/mean"].requires_grad


def test_states_follow_the_process() -> None:
    data, process = samples(4), LinearVP()
    rows = Denoising().ready(data, replace(policy(TRUE), process=process), KEY)
    t, eps = rows.pairs.t, rows.pairs.eps[:, 0]
    expected = process.alpha(t) * data.x0 + process.sigma(t) * eps
    torch.testing.assert_close(rows.pairs.x_t[:, 0], expected)


def test_the_true_denoiser_minimises_the_loss() -> None:
    """[flow-matching] (CFM loss): the minimiser is the conditional mean.

    At the true means every entry of the gradient is 0 within 5.5 standard errors (6 entries, error
    probability 3e-7), at wrong ones none is. The answer is linear in the means, so a sample's part
    of the gradient is 2 · error · (answer at means + 1 − answer at means) / entries.
    """
    data, velocity = samples(2000), Denoising().target
    for means, at_truth in ((TRUE, True), (0.5 * TRUE, False)):
        using, beside = policy(means), policy(means + 1)
        rows = Denoising().ready(data, using, KEY)
        loss, _ = Denoising().loss(rows, using)
        assert isinstance(using.current, NetworkDenoiser)
        (slope,) = torch.autograd.grad(loss, list(using.current.network.parameters()))
        answer = predict_as(using.current, rows.pairs, data.cond, velocity).detach()
        moved = predict_as(beside.current, rows.pairs, data.cond, velocity).detach()
        error = answer[:, 0] - (rows.pairs.eps[:, 0] - data.x0)
        each = 2 * error * (moved - answer)[:, 0]
        for prompt in (0, 1):
            mine = each[data.cond == prompt]
            torch.testing.assert_close(slope[prompt], mine.sum(0) / each.numel())
            within = mine.mean(0).abs() < 5.5 * mine.std(0) / len(mine) ** 0.5
            assert within.all() if at_truth else not within.any()


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.5, 0.6)])
def test_times_are_logit_normal(mean: float, std: float) -> None:
    """[sd3] (19): Kolmogorov's distance over 2,000 times; 2.7/√n has probability below 1e-6."""
    rows = Denoising(mean=mean, std=std).ready(samples(2000), policy(TRUE), KEY)
    logit = rows.pairs.t[:, 0].logit().sort().values
    law = Normal(torch.tensor(mean, dtype=F64), torch.tensor(std, dtype=F64)).cdf(logit)
    steps = torch.arange(2001, dtype=F64) / 2000
    distance = torch.maximum((law - steps[1:]).abs(), (law - steps[:-1]).abs()).max()
    assert distance < 2.7 / 2000**0.5


def test_a_samples_noise_has_its_own_address() -> None:
    data = samples(8)
    rows = Denoising().ready(data, policy(TRUE), KEY)
    part = Denoising().ready(data[5:7], policy(TRUE), KEY)
    for name in ("t", "eps", "x_t"):
        assert torch.equal(getattr(part.pairs, name), getattr(rows.pairs, name)[5:7])
    assert len(set(rows.pairs.t[:, 0].tolist())) == 8
    assert len({tuple(e) for e in rows.pairs.eps[:, 0].tolist()}) == 8
    later = Denoising().ready(data, policy(TRUE), KEY / 1)
    assert not torch.equal(later.pairs.t, rows.pairs.t)
    assert rows.pairs.eps.dtype == data.x0.dtype


def test_the_loss_is_the_mean_of_the_losses_of_its_parts() -> None:
    using = policy(0.3 * TRUE)
    rows = Denoising().ready(samples(12), using, KEY)
    parts = torch.stack([Denoising().loss(part, using)[0] for part in rows.split(4)])
    torch.testing.assert_close(Denoising().loss(rows, using)[0], parts.mean())
