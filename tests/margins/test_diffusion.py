"""Losses on pairs of images: tables, slopes, conversions, extremes."""

from collections.abc import Callable
from dataclasses import fields
from functools import partial
from math import log

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from scoreward.losses import diffusion as d
from scoreward.losses.diffusion import Errors
from tests.margins.diffusion_cases import F64, real, three_pairs, with_margin

PNAPO_GAP = real(0.8, 0.8, 0.8)
SHARE = d.smpo_share(real(0.22, 0.22, 0.22), real(0.21, 0.21, 0.21))
TABLE: dict[str, tuple[Callable[[Errors], Tensor], tuple[float, float, float]]] = {
    "DPO 2000": (partial(d.diffusion_dpo, beta=2000.0), (0.437488, 1.241154, 0.693147)),
    "DPO 5000": (partial(d.diffusion_dpo, beta=5000.0), (0.201413, 2.350207, 0.693147)),
    "hinge": (partial(d.diffusion_hinge, beta=2500.0), (0.0, 3.25, 1.0)),
    "IPO": (partial(d.diffusion_ipo_scaled, beta=2500.0), (1.0, 7.5625, 0.25)),
    "DMPO": (partial(d.diffusion_dmpo, beta=2000.0), (0.988208, 2.675649, 1.614463)),
    "SmPO": (
        lambda e: d.diffusion_dpo(e, 2000.0 * d.smpo_scale(SHARE)),
        (0.607174, 0.837265, 0.693147),
    ),
    "PNAPO": (
        lambda e: d.diffusion_dpo(e, 2 * 2000.0 * d.pnapo_scale(PNAPO_GAP, 0.0)),
        (0.490941, 1.092462, 0.693147),
    ),
    "flow 100": (partial(d.flow_dpo, beta=100.0), (0.678260, 0.715900, 0.693147)),
    "flow 500": (partial(d.flow_dpo, beta=500.0), (0.620957, 0.811962, 0.693147)),
    "flow 500 (1-t)^2": (
        lambda e: d.flow_dpo(e, 500.0, torch.full_like(e.winner, 0.25)),
        (0.651849, 0.758429, 0.693147),
    ),
}
SLOPES = {
    2000.0: (354.343694, 710.949503, 500.0),
    5000.0: (456.063810, 2261.626338, 1250.0),
}
SMOOTH = {  # losses whose logit is to reach ±1e4
    "DPO": lambda e: d.diffusion_dpo(e, 2000.0),
    "hinge": lambda e: d.diffusion_hinge(e, 1000.0),
    "IPO": lambda e: d.diffusion_ipo_scaled(e, 1000.0),
    "DMPO": lambda e: d.diffusion_dmpo(e, 2000.0),
    "flow": lambda e: d.flow_dpo(e, 2000.0),
}


@pytest.mark.parametrize(("loss", "expected"), TABLE.values(), ids=TABLE.keys())
def test_the_three_pairs(
    loss: Callable[[Errors], Tensor], expected: tuple[float, float, float]
) -> None:
    """[diffusion-dpo] (loss), [diffusion-dpo] (hinge), [diffusion-dpo] (IPO scaled),

    [dmpo] (loss), [smpo] (scale), [pnapo] (scale), [flow-dpo] (loss)
    """
    torch.testing.assert_close(loss(three_pairs()), real(*expected), rtol=0, atol=6e-7)


@pytest.mark.parametrize(("loss", "expected"), TABLE.values(), ids=TABLE.keys())
def test_the_three_pairs_in_float32(
    loss: Callable[[Errors], Tensor], expected: tuple[float, float, float]
) -> None:
    got = loss(three_pairs(torch.float32)).double()
    torch.testing.assert_close(got, real(*expected), rtol=1e-4, atol=1e-4)


def test_the_margins_of_the_three_pairs() -> None:
    torch.testing.assert_close(three_pairs().margin, real(-0.0006, 0.0009, 0.0))


@pytest.mark.parametrize(("beta", "expected"), SLOPES.items())
def test_slopes_of_diffusion_dpo(beta: float, expected: tuple[float, float, float]) -> None:
    """½β σ(½βm) in the winner's error, minus that in the loser's; the table has numbers."""
    errors = three_pairs()
    for field in fields(errors):
        getattr(errors, field.name).requires_grad_()
    loss = d.diffusion_dpo(errors, beta).sum()
    inputs = [errors.winner, errors.loser, errors.ref_winner, errors.ref_loser]
    winner, loser, *reference = torch.autograd.grad(loss, inputs, allow_unused=True)
    torch.testing.assert_close(winner, real(*expected), rtol=0, atol=6e-7)
    formula = beta / 2 / (1 + torch.exp(-beta / 2 * errors.margin.detach()))
    torch.testing.assert_close(winner, formula)
    torch.testing.assert_close(loser, -winner)
    assert reference == [None, None]


@given(st.floats(-1e4, 1e4), st.sampled_from(list(SMOOTH)))
def test_no_loss_and_no_slope_is_lost_at_extreme_logits(logit: float, name: str) -> None:
    m = torch.tensor([-logit / 1000], dtype=torch.float32)
    errors = with_margin(m)
    errors.winner.requires_grad_()
    loss = SMOOTH[name](errors)
    (slope,) = torch.autograd.grad(loss.sum(), errors.winner)
    assert loss.dtype == torch.float32
    assert loss.isfinite().all()
    assert slope.isfinite().all()
    assert (loss >= 0).all()


@given(st.floats(-30, 30))
def test_swapping_winner_and_loser_flips_the_logit(logit: float) -> None:
    """So the two losses differ by the logit itself: softplus(z) − softplus(−z) = z."""
    e = with_margin(real(-logit / 1000))
    swapped = Errors(e.loser, e.winner, e.ref_loser, e.ref_winner)
    difference = d.diffusion_dpo(swapped, 2000.0) - d.diffusion_dpo(e, 2000.0)
    torch.testing.assert_close(difference, real(logit), rtol=1e-9, atol=1e-9)


def test_half_precision_errors_are_compared_in_float32() -> None:
    low = three_pairs(torch.bfloat16)
    wide = Errors(*(getattr(low, field.name).float() for field in fields(low)))
    assert torch.equal(d.diffusion_dpo(low, 2000.0), d.diffusion_dpo(wide, 2000.0))
    a, b = torch.full((1, 4), 1.0), torch.full((1, 4), 1.01)
    assert d.mean_error(a.bfloat16(), b.bfloat16()).dtype == torch.float32


def test_ipo_is_its_scaled_form_over_beta_squared() -> None:
    """[diffusion-dpo] (IPO)"""
    ipo, scaled = (f(three_pairs(), 2500.0) for f in (d.diffusion_ipo, d.diffusion_ipo_scaled))
    torch.testing.assert_close(ipo * 2500.0**2, scaled)


def test_ipo_is_least_at_a_logit_of_one_half() -> None:
    assert d.diffusion_ipo(with_margin(real(-0.5 / 2500)), 2500.0).item() < 1e-18


@pytest.mark.parametrize("smooth", [0.01, 0.2])
def test_dmpo_is_least_at_the_smoothed_label(smooth: float) -> None:
    """KL is 0 where σ(u) = 1 − a, and it agrees with the KL of two Bernoulli laws of torch."""
    u = real(log((1 - smooth) / smooth), 0.3, -2.0)
    loss = d.diffusion_dmpo(with_margin(-2 * u / 2000), 2000.0, smooth)
    laws = [torch.distributions.Bernoulli(p) for p in (u.sigmoid(), torch.full_like(u, 1 - smooth))]
    expected = torch.distributions.kl_divergence(laws[0], laws[1])
    torch.testing.assert_close(loss, expected, atol=1e-9, rtol=1e-9)
    assert abs(loss[0].item()) < 1e-12


@pytest.mark.parametrize("spread", [0.1, 0.2, 0.3])
def test_noise_between_the_networks_lifts_the_first_loss_by_an_eighth_of_its_variance(
    spread: float,
) -> None:
    """About 0.6944, 0.698, 0.704, which a run may show before it has learnt anything."""
    z, weight = np.polynomial.hermite_e.hermegauss(40)
    loss = d.diffusion_dpo(with_margin(torch.tensor(z * spread / 1000)), 2000.0)
    mean = (loss.numpy() * weight).sum() / weight.sum()
    series = log(2) + spread**2 / 8 - spread**4 / 64  # of E log(1 + e^sz)
    assert mean == pytest.approx(series, abs=spread**6 / 192)


# Weights


def test_the_share_of_two_pick_scores() -> None:
    """[smpo] (p)"""
    torch.testing.assert_close(SHARE, real(0.515003, 0.515003, 0.515003), rtol=0, atol=6e-7)
    torch.testing.assert_close(d.smpo_scale(SHARE)[:1], real(0.300065), rtol=0, atol=6e-7)


def test_the_weights_of_pnapo_fall_to_one_half() -> None:
    gap = real(0.8, 0.0, -0.8)
    start, middle, end = (d.pnapo_scale(gap, share) for share in (0.0, 0.5, 1.0))
    torch.testing.assert_close(start, real(0.379949, 0.0, -0.379949), rtol=0, atol=6e-7)
    torch.testing.assert_close(middle, 0.75 * start)
    torch.testing.assert_close(end, 0.5 * start)


def test_each_pair_has_its_own_weight() -> None:
    share = d.smpo_share(real(0.22, 0.25), real(0.21, 0.16))
    assert share[1] > share[0]
    both = d.diffusion_dpo(with_margin(real(-1e-3, -1e-3)), 2000.0 * d.smpo_scale(share))
    assert both[1] < both[0]


# Conventions of β

IMPLEMENTATIONS = {  # convention, its own β, the official β for 16384 elements
    "official": (d.CONVENTIONS["official"], 2000.0, 2000.0),
    "diffusers SD": (d.CONVENTIONS["diffusers_sd"], 2500.0, 5000.0),
    "diffusers SDXL": (d.CONVENTIONS["diffusers_sdxl"], 5000.0, 5000.0),
    "pseudo-code": (d.CONVENTIONS["pseudo_code"], 0.061035, 2000.0),
    "pseudo-code at 5000": (d.CONVENTIONS["pseudo_code"], 0.152588, 5000.0),
    "VideoAlign": (d.CONVENTIONS["video_align"], 500.0, 500.0 * 16384),
    "flow_grpo": (d.CONVENTIONS["flow_grpo"], 100.0, 100.0),
    "SimpleTuner, sum": (d.CONVENTIONS["simple_tuner_sum"], 0.1, 1638.4),
    "SimpleTuner, mean": (d.CONVENTIONS["simple_tuner_mean"], 100.0, 100.0),
    "KTO": (d.CONVENTIONS["diffusion_kto"], 1000.0, 2000.0),
}


@pytest.mark.parametrize(
    ("convention", "own", "official"), IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS.keys()
)
def test_beta_converts_both_ways(convention: d.Convention, own: float, official: float) -> None:
    """[diffusion-dpo] (conventions)"""
    assert convention.official(own, 16384) == pytest.approx(official, rel=1e-5)
    assert convention.beta(official, 16384) == pytest.approx(own, rel=1e-5)


def test_sdxl_has_four_times_the_elements() -> None:
    assert d.CONVENTIONS["pseudo_code"].beta(5000.0, 65536) == pytest.approx(0.038147, abs=5e-7)


@pytest.mark.parametrize("official", [100.0, 2000.0])
def test_every_convention_gives_the_same_loss_after_conversion(official: float) -> None:
    """Each logit is written out as that implementation computes it, from images of 24 elements."""
    noise, *predicted = torch.randn(5, 6, 2, 3, 4, dtype=F64) * 0.3
    means = [d.mean_error(p, noise) for p in predicted]
    win, lose, ref_win, ref_lose = [((p - noise) ** 2).sum((1, 2, 3)) for p in predicted]
    summed = win - lose - ref_win + ref_lose
    logits = [
        -0.5 * d.CONVENTIONS["official"].beta(official, 24) * summed / 24,
        -d.CONVENTIONS["diffusers_sd"].beta(official, 24) * summed / 24,
        -0.5 * d.CONVENTIONS["diffusers_sdxl"].beta(official, 24) * summed / 24,
        -d.CONVENTIONS["pseudo_code"].beta(official, 24) * summed,
        -0.5 * d.CONVENTIONS["video_align"].beta(official, 24) * summed,
        -0.5 * d.CONVENTIONS["flow_grpo"].beta(official, 24) * summed / 24,
        -0.5 * d.CONVENTIONS["simple_tuner_sum"].beta(official, 24) * summed,
        -0.5 * d.CONVENTIONS["simple_tuner_mean"].beta(official, 24) * summed / 24,
        d.CONVENTIONS["diffusion_kto"].beta(official, 24)
        * ((ref_win - win) - (ref_lose - lose))
        / 24,
    ]
    expected = d.diffusion_dpo(Errors(*means), official)
    for logit in logits:
        torch.testing.assert_close(torch.log1p(torch.exp(-logit)), expected)


# Rectified flow


def test_velocity_errors_are_noise_errors_away_from_data() -> None:
    """The sum over elements is 0.024993 at t = 0.25.  [flow-dpo] (identity)"""
    t = real(0.25)
    x0, x1 = torch.linspace(-1, 2, 8, dtype=F64)[None], torch.arange(8, dtype=F64).sin()[None]
    x_t, v = (1 - t) * x0 + t * x1, x1 - x0
    guess = v + 0.1 * torch.arange(8, dtype=F64).cos()
    noise = x_t + (1 - t) * guess  # x1 as the guessed velocity has it
    direct = ((noise - x1) ** 2).sum(1)
    read = d.noise_error(((guess - v) ** 2).sum(1), t)
    torch.testing.assert_close(read, direct, atol=1e-9, rtol=0)
    assert direct.item() == pytest.approx(0.024993, abs=5e-7)


def test_weights_of_flow_dpo_turn_velocity_errors_into_noise_errors() -> None:
    """So with β(1 − t)² it is Diffusion-DPO on the noise."""
    velocity, t = three_pairs(), real(0.1, 0.5, 0.9)
    noise = Errors(*(d.noise_error(getattr(velocity, f.name), t) for f in fields(velocity)))
    torch.testing.assert_close(d.flow_dpo(velocity, 500.0, t), d.diffusion_dpo(noise, 500.0))


def test_automatic_beta_brings_the_typical_slope_to_its_target() -> None:
    """2.772589 over the running mean of |m|.  [flow-dpo] (automatic beta)"""
    automatic = d.AutomaticBeta()
    assert automatic.beta(10.0) == pytest.approx(0.2772589, abs=1e-7)
    loss = d.diffusion_dpo(e := with_margin(real(-10.0)), automatic.beta(10.0))
    assert 1 - (-loss).exp().item() == pytest.approx(0.2)  # σ(−logit)
    assert e.margin.item() == -10
    assert automatic.beta(1e-9) == automatic.beta(0.0) == 1.0
    assert automatic.beta(1e9) == 1e-3


def test_the_running_mean_of_the_automatic_beta() -> None:
    automatic = d.AutomaticBeta()
    first = automatic.track(None, real(3.0, -5.0))
    assert first == 4.0
    assert automatic.track(first, real(-14.0)) == pytest.approx(0.99 * 4 + 0.01 * 14)


# What a run shows


def test_metrics_of_the_three_pairs() -> None:
    shown = d.metrics(three_pairs(), 2000.0)
    assert shown["implicit/accuracy"].item() == pytest.approx(0.5)  # right, wrong, a tie
    assert shown["implicit/logit"].item() == pytest.approx(-0.1)  # mean of 0.6, −0.9, 0
    assert shown["error/current"].item() == pytest.approx(0.7295 / 6)
    assert shown["error/reference"].item() == pytest.approx(0.73 / 6)
    assert shown["error/winner_ratio"].item() == pytest.approx(0.355 / 0.3551)


def test_settings_that_make_no_sense_are_refused() -> None:
    e = three_pairs()
    for loss in (d.diffusion_dpo, d.diffusion_hinge, d.diffusion_ipo, d.flow_dpo):
        with pytest.raises(ValueError, match="`beta` must be above 0"):
            loss(e, 0.0)
    with pytest.raises(ValueError, match="`beta` must be above 0, got 0"):
        d.positive(beta=0)  # a whole number, as a caller may write it
    with pytest.raises(ValueError, match="`smooth` is a probability"):
        d.diffusion_dmpo(e, 2000.0, 1.0)
    with pytest.raises(ValueError, match="`progress` is a share"):
        d.pnapo_scale(PNAPO_GAP, 1.5)
    with pytest.raises(ValueError, match="`low` must be below `high`"):
        d.smpo_share(SHARE, SHARE, 0.3, 0.1)
    with pytest.raises(ValueError, match="`target` must lie"):
        d.AutomaticBeta(target=0.7)
    with pytest.raises(ValueError, match="expected 0 <= decay < 1"):
        d.AutomaticBeta(low=2.0)
