"""Losses that look at whole predictions, on images of eight elements."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from scoreward.losses import diffusion_tensors as whole
from scoreward.losses.diffusion import CONVENTIONS, Convention, diffusion_dpo, metrics
from tests.margins.diffusion_cases import F64, eight_elements, real

EIGHT = eight_elements()


def close(got: Tensor, *expected: float, digits: int = 6) -> None:
    torch.testing.assert_close(got, real(*expected), rtol=0, atol=0.6 * 10**-digits)


def test_errors_margin_and_loss_of_the_eight_elements() -> None:
    errors = EIGHT.errors()
    close(torch.cat([errors.winner, errors.loser]), 0.005554, 0.007473)
    close(torch.cat([errors.ref_winner, errors.ref_loser]), 0.006273, 0.006814)
    close(errors.margin, -0.001378303, digits=9)
    close(diffusion_dpo(errors, 2000.0), 0.224747)
    shown = metrics(errors, 2000.0)
    close(torch.stack([shown["error/current"], shown["error/reference"]]), 0.006513, 0.006544)


def test_sums_without_and_with_the_half() -> None:
    for convention, expected in (
        (CONVENTIONS["pseudo_code"], 0.692596),
        (Convention(sums=True), 0.692872),
    ):
        # σ(0.1 · 8 · 0.001378303) = 0.500276; −log of it is 0.692596
        close(diffusion_dpo(EIGHT.errors(), convention.official(0.1, 8)), expected)


def test_dspo_of_the_eight_elements() -> None:
    """[dspo] (SD1.5), [dspo] (SDXL)"""
    close(whole.dspo(EIGHT), 0.005554125, digits=9)
    close(-0.5 * 5000 * EIGHT.errors().margin, 3.445759)
    close(whole.dspo_sdxl(EIGHT), 0.000954538, digits=9)


def test_far_from_the_reference_the_sdxl_branch_weighs_the_distance() -> None:
    for distance, weight in ((0.1, 1.0), (0.5, 0.25), (2.0, 4.0)):  # 0.01 is not yet far
        moved = replace(EIGHT, ref_winner=EIGHT.winner + distance)
        doubt = (0.5 * 10.0 * moved.errors().margin).sigmoid()
        torch.testing.assert_close(whole.dspo_sdxl(moved, beta=10.0), weight * doubt**2)


def test_dspo_is_the_winner_s_error_without_beta_or_at_the_reference() -> None:
    error = EIGHT.errors().winner
    torch.testing.assert_close(whole.dspo(EIGHT, beta=1e-12), error)
    same = replace(EIGHT, ref_winner=EIGHT.winner, ref_loser=EIGHT.loser)
    torch.testing.assert_close(whole.dspo(same, beta=0.05), error)


@pytest.mark.parametrize("through", [True, False])
def test_the_slope_of_dspo_by_finite_differences(through: bool) -> None:
    """With ρ held, the factor σ(½βm) does not move; the reference never does."""
    beta, direction = 300.0, torch.linspace(-1, 1, 8, dtype=F64).reshape(1, 2, 4)
    winner = EIGHT.winner.clone().requires_grad_()
    ref_winner = EIGHT.ref_winner.clone().requires_grad_()
    moved = replace(EIGHT, winner=winner, ref_winner=ref_winner)
    loss = whole.dspo(moved, beta, through)
    (slope,) = torch.autograd.grad(loss.sum(), winner, retain_graph=True)
    held = (0.5 * beta * EIGHT.errors().margin).sigmoid()

    def value(x: Tensor) -> float:
        if through:
            return whole.dspo(replace(EIGHT, winner=x), beta).item()
        away = (x - EIGHT.target_winner) - beta * held * (x - EIGHT.ref_winner)
        return away.square().mean().item()

    ahead, behind = (value(EIGHT.winner + h * direction) for h in (1e-6, -1e-6))
    numeric = (ahead - behind) / 2e-6
    assert (slope * direction).sum().item() == pytest.approx(numeric, rel=1e-6)


# Safeguarded DPO


def test_the_loser_s_scale_of_the_eight_elements() -> None:
    """[sdpo] (lambda)"""
    g_a = whole.error_gradient(EIGHT.winner, EIGHT.target_winner)
    g_b = whole.error_gradient(EIGHT.loser, EIGHT.target_loser)
    close(g_a.square().sum(1), 0.002777)
    close((g_a * g_b).sum(1), 2.729046e-5, digits=11)
    for mu in (0.0, 0.2, 0.6, 0.9):
        torch.testing.assert_close(whole.loser_scale(EIGHT, mu), real(1.0))


def test_the_gradients_are_those_of_autograd() -> None:
    winner = EIGHT.winner.clone().requires_grad_()
    (slope,) = torch.autograd.grad(replace(EIGHT, winner=winner).errors().winner.sum(), winner)
    got = whole.error_gradient(EIGHT.winner, EIGHT.target_winner)
    torch.testing.assert_close(got, slope.flatten(1))


vectors = st.lists(st.floats(-3, 3), min_size=8, max_size=8)


@given(vectors, vectors, st.floats(0, 1))
def test_a_safeguarded_step_always_helps_the_winner(
    winner: list[float], loser: list[float], mu: float
) -> None:
    """⟨g_A, g_A − λ g_B⟩ ≥ μ‖g_A‖², with equality where the guard acts inside its bounds."""
    win, lose = (real(*values).reshape(1, 8) for values in (winner, loser))
    zero = torch.zeros(1, 8, dtype=F64)
    predictions = whole.Predictions(win, lose, zero, zero, zero, zero)
    scale = whole.loser_scale(predictions, mu).item()
    g_a, g_b = (whole.error_gradient(p, zero) for p in (win, lose))
    size, overlap = g_a.square().sum().item(), (g_a * g_b).sum().item()
    assert 0 <= scale <= 1
    gained = size - scale * overlap
    assert gained >= mu * size - 1e-9
    if overlap <= 0:
        assert scale == 1
    elif 1e-6 < scale < 1:
        assert gained == pytest.approx(mu * size, abs=1e-9)


def test_only_the_gradient_of_the_loser_is_scaled() -> None:
    """[sdpo] (scale)"""
    errors = EIGHT.errors()
    errors.winner.requires_grad_()
    errors.loser.requires_grad_()
    scaled = whole.with_loser_scaled(errors, real(0.3))
    plain, guarded = diffusion_dpo(errors, 2000.0), diffusion_dpo(scaled, 2000.0)
    torch.testing.assert_close(plain, guarded)
    inputs = [errors.winner, errors.loser]
    winner, loser = torch.autograd.grad(plain.sum(), inputs)
    guarded_winner, guarded_loser = torch.autograd.grad(guarded.sum(), inputs)
    torch.testing.assert_close(guarded_winner, winner)
    torch.testing.assert_close(guarded_loser, 0.3 * loser)


# InPO


def test_the_noise_of_an_inverted_image_rebuilds_it() -> None:
    """Each image with its own time.  [inpo] (noise)"""
    alpha, sigma = real(0.8, 0.1), real(0.6, 0.99)
    x0, eps = torch.randn(2, 2, 3, 4, dtype=F64)
    x_t = torch.stack([a * x + s * e for a, s, x, e in zip(alpha, sigma, x0, eps, strict=True)])
    torch.testing.assert_close(whole.implied_noise(x_t, x0, alpha, sigma), eps)


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="`mu` must lie in"):
        whole.loser_scale(EIGHT, 1.5)
    with pytest.raises(ValueError, match="holds no noise"):
        whole.implied_noise(EIGHT.winner, EIGHT.winner, real(1.0), real(0.0))
    with pytest.raises(ValueError, match="`beta` must be above 0"):
        whole.dspo(EIGHT, beta=0.0)
