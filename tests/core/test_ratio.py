"""The clipped surrogate, on and off the old policy."""

from math import exp, log

import pytest
import torch

from scoreward.core.keys import Key
from scoreward.core.ratio import clipped_surrogate, ratio_metrics
from tests.core.laws import F64, real

KEY = Key(("ratio",))

# ratio, advantage, clip 0.2: the loss and its slope in log ρ, worked out by hand
CASES = {
    "inside, good": (1.1, 2.0, -2.2, -2.2),
    "inside, bad": (0.9, -2.0, 1.8, 1.8),
    "too likely and good: no more gain": (1.5, 2.0, -2.4, 0.0),
    "too likely and bad: full loss": (1.5, -2.0, 3.0, 3.0),
    "too unlikely and good: full loss": (0.5, 2.0, -1.0, -1.0),
    "too unlikely and bad: no more gain": (0.5, -2.0, 1.6, 0.0),
}


@pytest.mark.parametrize(("ratio", "advantage", "loss", "slope"), CASES.values(), ids=CASES.keys())
def test_off_policy_cases(ratio: float, advantage: float, loss: float, slope: float) -> None:
    """[ppo] (7)"""
    log_ratio = real(log(ratio)).requires_grad_()
    value = clipped_surrogate(log_ratio, real(advantage), 0.2)
    (got,) = torch.autograd.grad(value, log_ratio)
    torch.testing.assert_close(value.detach(), real(loss)[0])
    torch.testing.assert_close(got, real(slope))


def test_clipping_is_pessimistic() -> None:
    """It never makes the loss smaller, and for some samples makes it larger."""
    log_ratio, advantage = (KEY / "r").normal(200, dtype=F64), (KEY / "A").normal(200, dtype=F64)
    pairs = list(zip(log_ratio[:, None], advantage[:, None], strict=True))
    clipped = torch.stack([clipped_surrogate(r, a, 0.2) for r, a in pairs])
    plain = -log_ratio.exp() * advantage
    assert (clipped >= plain - 1e-12).all()
    assert (clipped > plain + 1e-9).any()


def test_at_the_old_policy_it_is_reinforce() -> None:
    """At ρ = 1 the slope in log ρ is −A/n, whatever the clip."""
    advantage = (KEY / "A").normal(5, dtype=F64)
    for clip in (None, 0.2, 1e-4):
        log_ratio = torch.zeros(5, dtype=F64, requires_grad=True)
        (slope,) = torch.autograd.grad(clipped_surrogate(log_ratio, advantage, clip), log_ratio)
        torch.testing.assert_close(slope, -advantage / 5)


def test_without_a_clip_it_is_the_importance_weighted_mean() -> None:
    loss = clipped_surrogate(real(log(3.0), log(0.1)), real(1.0, -2.0), None)
    torch.testing.assert_close(loss, real(-(3.0 - 0.2) / 2)[0])


def test_metrics_count_what_the_clip_stops() -> None:
    """Two of three samples with ρ = 1.5 have A > 0, and one of four with ρ = 0.5 has A < 0."""
    ratios = real(1.5, 1.5, 1.5, 0.5, 0.5, 0.5, 0.5, 1.0)
    advantages = real(2.0, 1.0, -1.0, -1.0, 1.0, 2.0, 1.0, 1.0)
    metrics = ratio_metrics(ratios.log(), advantages, 0.2)
    assert metrics["clip/above"].item() == pytest.approx(2 / 8)
    assert metrics["clip/below"].item() == pytest.approx(1 / 8)
    assert metrics["ratio/mean"].item() == pytest.approx(7.5 / 8)
    assert metrics["ratio/min"].item() == pytest.approx(0.5)
    assert metrics["ratio/max"].item() == pytest.approx(1.5)


def test_nothing_is_counted_without_a_clip() -> None:
    metrics = ratio_metrics(real(5.0, -5.0), real(1.0, -1.0), None)
    assert metrics["clip/above"].item() == metrics["clip/below"].item() == 0
    assert metrics["ratio/max"].item() == pytest.approx(exp(5.0))


def test_metrics_carry_no_gradient() -> None:
    metrics = ratio_metrics(real(0.1, 0.2).requires_grad_(), real(1.0, -1.0), 0.2)
    assert not any(value.requires_grad for value in metrics.values())
