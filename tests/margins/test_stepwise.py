"""Pairs of reverse steps, and which of them are pairs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scoreward.core.gaussian import Gaussian
from scoreward.losses import stepwise as steps
from tests.margins.diffusion_cases import F64, real


def test_the_log_probability_of_a_step() -> None:
    """Residuals 0.1, −0.2, 0.05, 0 with std 0.3.  [d3po] (log-probability)"""
    step = Gaussian(torch.zeros(1, 2, 2, dtype=F64), torch.full((1, 1, 1), 0.3, dtype=F64))
    got = steps.mean_log_prob(step, real(0.1, -0.2, 0.05, 0.0).reshape(1, 2, 2))
    torch.testing.assert_close(got, real(0.212118), rtol=0, atol=6e-7)


def test_losses_of_one_pair_of_steps() -> None:
    """[d3po] (loss), [spo] (loss), [lpo] (loss)"""
    cases = [
        (steps.d3po(real(0.03), real(-0.15)), 0.686402),
        (steps.spo(real(0.03), real(-0.15)), 0.229767),
        (steps.lpo(real(0.0004), real(-0.0006)), 0.474077),
        (steps.d3po(real(0.0), real(0.0)), 0.693147),
        (steps.spo(real(0.0), real(0.0)), 0.693147),
        (steps.lpo(real(0.0), real(0.0)), 0.693147),
    ]
    for loss, expected in cases:
        torch.testing.assert_close(loss, real(expected), rtol=0, atol=6e-7)


@given(st.floats(-3, 3), st.floats(0.01, 0.9))
def test_the_clip_is_that_of_the_ratio(log_ratio: float, clip: float) -> None:
    """[d3po] (clip)"""
    expected = real(log_ratio).exp().clamp(1 - clip, 1 + clip).log()
    torch.testing.assert_close(steps.clipped(real(log_ratio), clip), expected)


@pytest.mark.parametrize(("log_ratio", "moves"), [(0.03, True), (0.2, False), (-0.2, False)])
def test_no_gradient_passes_the_clip(log_ratio: float, moves: bool) -> None:
    """Inside, the slope in the winner's log-ratio is −βσ(−z)."""
    winner = real(log_ratio).requires_grad_()
    (slope,) = torch.autograd.grad(steps.spo(winner, real(0.0)).sum(), winner)
    inside = -10 / (1 + torch.exp(real(10 * log_ratio)).item())
    assert slope.item() == pytest.approx(inside if moves else 0.0)


@given(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4))
def test_no_value_is_lost_at_extreme_ratios(winner: float, loser: float) -> None:
    w = torch.tensor([winner], dtype=torch.float32, requires_grad=True)
    # a clip this wide lets logits reach 1000 · log(1.999 / 0.001), about 7600
    loss = steps.lpo(w, torch.tensor([loser]), beta=1e3, clip=0.999)
    (slope,) = torch.autograd.grad(loss.sum(), w)
    assert loss.isfinite().all()
    assert slope.isfinite().all()


def test_best_and_worst_are_a_pair_if_they_differ_enough() -> None:
    """The softmax of the two scores differs by 0.500520.  [spo] (pairs)"""
    scores = torch.stack([real(21.3, 20.9, 21.0, 20.2), real(21.3, 21.1, 21.0, 21.2)])
    best, worst, kept = steps.spo_pairs(scores)
    assert best.tolist() == [0, 0]
    assert worst.tolist() == [3, 2]
    assert kept.tolist() == [True, False]
    two = torch.softmax(real(21.3, 20.2), 0)
    assert (two[0] - two[1]).item() == pytest.approx(0.500520, abs=5e-7)
    assert steps.spo_pairs(scores[:1], 0.500519)[2].item()
    assert not steps.spo_pairs(scores[:1], 0.500521)[2].item()


def test_equal_candidates_are_no_pair() -> None:
    assert not steps.spo_pairs(torch.ones(1, 4), 0.0)[2].item()


def test_thresholds_of_lpo_follow_the_noise_of_the_step() -> None:
    """Stable Diffusion's steps at t = 1, 501 and 951: 0.35, 0.448277 and 0.5.  [lpo] (threshold)"""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=F64) ** 2
    left = (1 - betas).cumprod(0)
    now = left[torch.arange(1, 952, 50)]
    then = torch.cat([left[:1], now[:-1]])  # the last step ends at the first entry, as in DDIM
    std = ((1 - then) / (1 - now) * (1 - now / then)).sqrt()
    got = steps.lpo_threshold(std, (std[0].item(), std[-1].item()))
    torch.testing.assert_close(got[[0, 10, 19]], real(0.35, 0.448277, 0.5), rtol=0, atol=5e-6)
    assert (got.diff() > 0).all()
    larger = steps.lpo_threshold(std, (std[0].item(), std[-1].item()), (0.45, 0.6))
    torch.testing.assert_close(larger, got + 0.1)


def test_a_threshold_for_each_pair() -> None:
    scores = real(21.3, 20.2).repeat(2, 1)
    assert steps.spo_pairs(scores, real(0.35, 0.55))[2].tolist() == [True, False]


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="`clip` must lie inside"):
        steps.d3po(real(0.0), real(0.0), clip=1.0)
    with pytest.raises(ValueError, match="`beta` must be above 0"):
        steps.spo(real(0.0), real(0.0), beta=-1.0)
    with pytest.raises(ValueError, match="at least 2 candidates"):
        steps.spo_pairs(torch.ones(3, 1))
    with pytest.raises(ValueError, match="smallest and the largest"):
        steps.lpo_threshold(real(0.1), (0.5, 0.1))
