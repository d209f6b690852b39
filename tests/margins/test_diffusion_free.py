"""Losses without a reference, and RainbowPO's components on denoising errors."""

from dataclasses import replace
from math import log

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from scoreward.losses import diffusion_free as free
from scoreward.losses.diffusion import diffusion_dpo, diffusion_hinge
from tests.margins.diffusion_cases import F64, eight_elements, real, three_pairs, with_margin

PAIRS = three_pairs()
W, L = PAIRS.winner, PAIRS.loser


def close(got: Tensor, *expected: float) -> None:
    torch.testing.assert_close(got, real(*expected), rtol=0, atol=6e-7)


def test_mapo_as_coded() -> None:
    """[mapo] (code), [mapo] (psi)"""
    bracket = free.bounded_score(0.5 * W) - free.bounded_score(0.5 * L)
    close(bracket, 0.002325, -0.001233, 0.003652)
    close(free.mapo(W, L), 0.130327, 0.232876, 0.152562)


def test_mapo_with_beta_as_an_exponent() -> None:
    """[mapo] (paper)"""
    close(free.mapo_paper(W, L), 0.126414, 0.089422, 0.155415)


def test_mapo_in_float32_keeps_its_digits() -> None:
    """0.053752, where e^u − 1 written as it reads gives 0.0548."""
    errors = eight_elements().errors()
    win, lose = errors.winner.float(), errors.loser.float()
    naive = [0.5 * u / ((0.5 * u).exp() - 1) for u in (win, lose)]
    wrong = win + 0.1 * torch.nn.functional.softplus(-1000 * (naive[0] - naive[1]))
    assert abs(free.mapo(win, lose).item() - 0.053752) < 1e-5
    assert abs(wrong.item() - 0.053752) > 5e-4
    close(free.mapo(errors.winner, errors.loser), 0.053752)


@given(st.floats(0, 200), st.sampled_from([torch.float32, F64]))
def test_the_bounded_score_is_bernoullis_generating_function(u: float, dtype: torch.dtype) -> None:
    """ψ falls from 1 to 0 and ψ(u) + u = ψ(−u); its slope at 0 is −½."""
    x = torch.tensor([u], dtype=dtype, requires_grad=True)
    value = free.bounded_score(x)
    (slope,) = torch.autograd.grad(value.sum(), x)
    assert 0 <= value.item() <= 1
    assert -0.502 <= slope.item() <= 1e-7
    mirror = u / (1 - torch.exp(real(-u))).item() if u > 1e-6 else 1 + u / 2  # ψ(−u)
    assert value.item() + u == pytest.approx(mirror, rel=1e-6)


def test_the_series_of_the_bounded_score_meets_its_formula() -> None:
    u = real(0.0, free.SMALL * (1 - 1e-9), free.SMALL * (1 + 1e-9))
    at_zero, below, above = free.bounded_score(u).tolist()
    assert at_zero == 1.0
    assert below == pytest.approx(above, abs=1e-11)


def test_orpo_as_coded_and_as_meant() -> None:
    """[diffusion-dpo] (ORPO as coded), [diffusion-dpo] (ORPO)"""
    close(free.diffusion_orpo_as_coded(W, L), 0.190791, 0.153065, 0.220068)
    close(free.diffusion_orpo(W, L), 0.189841, 0.153565, 0.218568)


def test_the_coded_orpo_pushes_the_odds_the_wrong_way() -> None:
    """At equal errors one slope in the loser's error is −½β, the other +½β."""
    for loss, sign in ((free.diffusion_orpo, -1), (free.diffusion_orpo_as_coded, 1)):
        loser = real(0.1).requires_grad_()
        (slope,) = torch.autograd.grad(loss(real(0.1), loser).sum(), loser)
        assert slope.item() == pytest.approx(sign * 0.05)


def test_the_three_pairs_in_float32() -> None:
    """As in float64 to 1e-4, although ψ is multiplied by a thousand."""
    low = three_pairs(torch.float32)
    rainbow = free.DiffusionRainbow(beta=2000.0, alpha=0.95, gamma=2e-4)
    expected = [free.mapo(W, L), free.mapo_paper(W, L), free.diffusion_orpo(W, L), rainbow(PAIRS)]
    got = [f(low.winner, low.loser) for f in (free.mapo, free.mapo_paper, free.diffusion_orpo)]
    for low_loss, loss in zip([*got, rainbow(low)], expected, strict=True):
        assert low_loss.dtype == torch.float32
        torch.testing.assert_close(low_loss.double(), loss, rtol=1e-4, atol=1e-4)


# Components of RainbowPO


def test_the_extension_on_the_three_pairs() -> None:
    """[diffusion-dpo] (rainbow)"""
    half = free.DiffusionRainbow(beta=2000.0, alpha=0.5, gamma=2e-4)
    close(half.advantage(PAIRS), 0.00495, -0.00305, 0.0074)
    close(half(PAIRS, torch.full_like(W, 1.2)), 0.002629, 3.685407, 0.000139)
    most = free.DiffusionRainbow(beta=2000.0, alpha=0.95, gamma=2e-4)
    close(most(PAIRS), 0.303969, 1.398610, 0.390090)


@pytest.mark.parametrize("gamma", [0.0, 3e-4])
def test_with_the_whole_reference_it_is_diffusion_dpo(gamma: float) -> None:
    rainbow = free.DiffusionRainbow(beta=2000.0, alpha=1.0, gamma=gamma)
    torch.testing.assert_close(rainbow(PAIRS), diffusion_dpo(PAIRS, 2000.0), rtol=0, atol=1e-12)


def test_phi_multiplies_beta() -> None:
    phi = real(0.5, 2.0, 7.0)
    rainbow = free.DiffusionRainbow(beta=2000.0)
    torch.testing.assert_close(rainbow(PAIRS, phi), diffusion_dpo(PAIRS, 2000.0 * phi))


def test_another_link_gives_the_hinge_of_diffusers() -> None:
    """Its logit −βm is ours for twice its β."""
    rainbow = free.DiffusionRainbow(beta=5000.0, link=lambda z: torch.relu(1 - z))
    torch.testing.assert_close(rainbow(PAIRS), diffusion_hinge(PAIRS, 2500.0))


def test_without_a_reference_and_with_the_winner_s_error_it_is_orpo() -> None:
    rainbow = free.DiffusionRainbow(beta=2 * 3.0, alpha=0.0, sft=1 / 0.1)
    torch.testing.assert_close(0.1 * rainbow(PAIRS), free.diffusion_orpo(W, L, 0.1, 3.0))


def test_mapo_is_orpo_where_its_score_is_still_straight() -> None:
    """ψ(u) = 1 − u/2 + …, so with s → 0 and s T = 2k it is ORPO with sharpness k."""
    small = free.mapo(W, L, beta=0.1, scale=1e-5, steps=2 * 30.0 / 1e-5)
    torch.testing.assert_close(small, free.diffusion_orpo(W, L, 0.1, 30.0), rtol=1e-4, atol=0)


def test_a_fraction_of_the_reference_leaves_an_offset_that_centring_removes() -> None:
    """The offset is (1 − α) times the gap; of equal gaps nothing is left."""
    e = with_margin(real(-1e-4, 1e-4))
    errors = replace(e, loser=e.loser + 0.01, ref_loser=e.ref_loser + 0.01)
    rainbow = free.DiffusionRainbow(beta=2000.0, alpha=0.5)
    close(rainbow.advantage(errors), 0.0051, 0.0049)
    close(rainbow.advantage(errors, errors.ref_gap.mean().item()), 1e-4, -1e-4)


def test_a_prompt_with_average_dispersion_has_phi_one() -> None:
    """[diffusion-dpo] (phi)"""
    even = free.dispersion_scale(real(0.0, 2.0, 5.0, 7.0).reshape(2, 2))
    torch.testing.assert_close(even, real(1.0, 1.0))
    rewards = real(1.0, 1.0, 0.0, 2.0, 0.0, 8**0.5).reshape(3, 2)  # variances 0, 1, 2
    calm, mean, wild = free.dispersion_scale(rewards)
    assert calm.item() == pytest.approx(-log(1e-6) / log(2))
    assert mean.item() == pytest.approx(1.0)
    assert wild.item() == pytest.approx(log((2 + 1) / 2) / log(2))
    torch.testing.assert_close(free.dispersion_scale(torch.ones(3, 4)), torch.ones(3))


@given(st.floats(-1e4, 1e4), st.sampled_from([0.0, 0.9, 1.0]))
def test_no_value_is_lost_at_extreme_logits(logit: float, alpha: float) -> None:
    errors = with_margin(torch.tensor([-logit / 1000], dtype=torch.float32))
    errors.winner.requires_grad_()
    losses = [
        free.DiffusionRainbow(beta=2000.0, alpha=alpha, gamma=1e-4, sft=0.1)(errors),
        free.mapo(errors.winner, errors.loser, steps=1e4),
        free.mapo_paper(errors.winner, errors.loser),
        free.diffusion_orpo(errors.winner, errors.loser, 0.1, 1000.0),
        free.diffusion_orpo_as_coded(errors.winner, errors.loser),
    ]
    for loss in losses:
        (slope,) = torch.autograd.grad(loss.sum(), errors.winner)
        assert loss.isfinite().all()
        assert slope.isfinite().all()


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="`alpha` mixes in the reference"):
        free.DiffusionRainbow(alpha=1.5)
    with pytest.raises(ValueError, match="`sft` is a weight"):
        free.DiffusionRainbow(sft=-1.0)
    with pytest.raises(ValueError, match="`steps` must be above 0"):
        free.mapo(W, L, steps=0.0)
    with pytest.raises(ValueError, match="`sharpness` must be above 0"):
        free.diffusion_orpo(W, L, sharpness=-1.0)
