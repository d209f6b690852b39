"""DDIM steps: how much noise they redraw (from Bayes) and what they keep."""

from math import pi, sin

import pytest
import torch
from torch import Tensor

from scoreward.core.kernel import (
    DDIM,
    Noise,
    ancestral,
    coefficients_preserving,
    ddim,
    eta_limit,
    euler,
    generalised,
)
from scoreward.core.keys import Key
from scoreward.core.prediction import Prediction
from scoreward.core.process import VE, LinearVP, Process, RectifiedFlow
from tests.core.laws import F64, PROCESSES, affine, exact, line, one_pair, real

T, S = 0.6, 0.4
NOISES = {
    "generalised(0)": generalised(0.0),
    "generalised(0.5)": generalised(0.5),
    "generalised(1)": generalised(1.0),
    "generalised(2)": generalised(2.0),
    "ancestral(0.7)": ancestral(0.7),
    "cps(0.8)": coefficients_preserving(0.8),
}


def posterior(process: Process, x_t: Tensor, x0: Tensor) -> tuple[Tensor, Tensor]:
    """(mean, std) of q(x_s | x_t, x0), by multiplying the two Gaussian densities."""
    (alpha_t, alpha_s), (sigma_t, sigma_s) = process.alpha(real(T, S)), process.sigma(real(T, S))
    carry = alpha_t / alpha_s
    prior_precision = 1 / sigma_s**2
    likelihood_precision = carry**2 / (sigma_t**2 - carry**2 * sigma_s**2)
    precision = prior_precision + likelihood_precision
    mean = (prior_precision * alpha_s * x0 + likelihood_precision * x_t / carry) / precision
    return mean, precision.rsqrt()


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("noise", [ancestral(1.0), generalised(1.0)], ids=["ancestral", "gddim"])
def test_a_step_at_eta_one_is_the_ddpm_posterior(process: Process, noise: Noise) -> None:
    """[gddim] (Thm. 1) at η = 1, whose printed σ must be read as a variance for this to hold."""
    pred, _, _ = one_pair(process, x0=0.8, eps=-1.3, t=T)
    mean, std = posterior(process, pred.x_t[0], pred.x0[0])
    law = DDIM(noise)(pred, real(S))
    torch.testing.assert_close(law.mean[0], mean)
    torch.testing.assert_close(law.std[0, 0], std)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("eta", [0.0, 0.3, 0.9])
def test_ddims_eta_scales_the_std_of_the_posterior(process: Process, eta: float) -> None:
    """[ddim] (16)"""
    _, std = posterior(process, real(0.0), real(0.0))
    torch.testing.assert_close(ancestral(eta)(process, real(T), real(S))[0], eta * std)


@pytest.mark.parametrize("eta", [0.5, 1.0, 1.5, 2.0])
def test_generalised_noise_on_vp_is_the_published_variance(eta: float) -> None:
    """[gddim] (Thm. 1): (1 − ᾱ_s) [1 − ((1 − ᾱ_s)/(1 − ᾱ_t) · ᾱ_t/ᾱ_s)^(η²)]."""
    bar_t, bar_s = LinearVP().alpha(real(T, S)).square().tolist()
    ratio = (1 - bar_s) / (1 - bar_t) * bar_t / bar_s
    variance = generalised(eta)(LinearVP(), real(T), real(S)) ** 2
    torch.testing.assert_close(variance, real((1 - bar_s) * (1 - ratio ** (eta**2))))


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("eta", [0.5, 1.0, 1.5, 2.0])
def test_generalised_steps_compose_on_a_single_data_point(process: Process, eta: float) -> None:
    """The step solves the reverse SDE of one point exactly, so two steps in law equal one.

    This fixes how the noise grows with η at any step size; DDIM's own η fails it.
    """
    point = exact(process, variance=0.0)
    one = affine(DDIM(generalised(eta)), point, [T, S]).push(0.3, 2.0)
    many = affine(DDIM(generalised(eta)), point, line(T, S, 7)).push(0.3, 2.0)
    assert many == pytest.approx(one, rel=1e-10)


def test_ancestral_steps_do_not_compose() -> None:
    point = exact(RectifiedFlow(), variance=0.0)
    one = affine(DDIM(ancestral(0.5)), point, [T, S]).push(0.3, 2.0)
    two = affine(DDIM(ancestral(0.5)), point, [T, 0.5, S]).push(0.3, 2.0)
    assert abs(one[1] - two[1]) > 1e-3


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES.keys())
def test_the_true_pair_keeps_the_conditional_marginal(process: Process, noise: Noise) -> None:
    """[ddim] (12): with the true (x0, ε), x_s given x0 is N(α_s x0, σ_s²) for any noise."""
    noise_only, _, _ = one_pair(process, x0=0.0, eps=1.0, t=T)
    law = DDIM(noise)(noise_only, real(S))
    torch.testing.assert_close((law.mean**2 + law.std**2)[0], process.sigma(real(S)) ** 2)
    signal_only, _, _ = one_pair(process, x0=1.0, eps=0.0, t=T)
    torch.testing.assert_close(DDIM(noise)(signal_only, real(S)).mean[0], process.alpha(real(S)))


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize(
    ("noise", "eta"), [(generalised(1.5), 1.5), (generalised(0.5), 0.5), (ancestral(0.5), 0.5)]
)
def test_noise_per_time_tends_to_that_of_the_reverse_sde(
    process: Process, noise: Noise, eta: float
) -> None:
    """std²/h → η² g², with an error of order h: 3 % leaves room at h = 1e-4."""
    t, h = 0.5008, 1e-4  # inside a piece of DiscreteVP
    rate = noise(process, real(t), real(t - h)) ** 2 / h
    torch.testing.assert_close(rate, (eta * process.g(real(t))) ** 2, rtol=0.03, atol=0)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_deterministic_ddim_is_euler_in_the_scaled_coordinate(process: Process) -> None:
    """[ddim] (13): x_s/α_s = x_t/α_t + (σ_s/α_s − σ_t/α_t) ε."""
    pred, alpha_t, sigma_t = one_pair(process, x0=0.8, eps=-1.3, t=T)
    pred = Prediction(pred.x_t + 0.2, pred.t, pred.x0 + 0.2 / alpha_t, pred.eps, process)
    alpha_s, sigma_s = process.alpha(real(S)), process.sigma(real(S))
    scaled = pred.x_t / alpha_t + (sigma_s / alpha_s - sigma_t / alpha_t) * pred.eps
    torch.testing.assert_close(ddim()(pred, real(S)).mean, alpha_s * scaled)


def test_deterministic_ddim_on_rectified_flow_is_euler() -> None:
    key, t, s = Key(("euler",)), real(1.0, 0.6), real(0.8, 0.0)
    x, v = ((key / name).normal(2, 3, dtype=F64) for name in "xv")
    pred = Prediction.of("velocity", v, x, t, RectifiedFlow())
    plain = x - (t - s)[:, None] * v
    torch.testing.assert_close(ddim()(pred, s).mean, plain)
    torch.testing.assert_close(euler()(pred, s).mean, plain)
    torch.testing.assert_close(DDIM(coefficients_preserving(0.0))(pred, s).mean, plain)


@pytest.mark.parametrize("level", [0.0, 0.3, 0.8, 1.0])
def test_coefficients_preserving_noise_is_a_fixed_share_of_sigma(level: float) -> None:
    """[flow-cps] (step): std = σ_s sin(level · π/2); the signal coefficient stays α_s."""
    for process in (RectifiedFlow(), VE()):
        std = coefficients_preserving(level)(process, real(T), real(S))
        torch.testing.assert_close(std, process.sigma(real(S)) * sin(level * pi / 2))


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_at_its_limit_ddims_eta_redraws_all_noise(process: Process) -> None:
    """[ddim] (16) with the largest η: nothing of ε is kept; a little more has no real mean."""
    limit = eta_limit(process, real(T), real(S))
    std = ancestral(limit.item())(process, real(T), real(S))
    torch.testing.assert_close(std, process.sigma(real(S)))
    DDIM(ancestral(0.999 * limit.item())).check(process, T, S)
    with pytest.raises(ValueError, match=r"0\.6000 -> 0\.4000 asks for noise .* use generalised"):
        DDIM(ancestral(1.001 * limit.item())).check(process, T, S)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("eta", [0.0, 1.0, 3.0, 30.0])
def test_generalised_noise_never_exceeds_what_is_left(process: Process, eta: float) -> None:
    t, s = real(1.0, 0.9, 0.5, 0.001), real(0.9, 0.1, 0.499, 0.0)
    std, left = generalised(eta)(process, t, s), process.sigma(s)
    assert std.isfinite().all()
    assert (std >= 0).all()
    assert (std <= left).all()
    assert (std > 0).all() or eta == 0 or (left == 0).any()


def test_negative_and_impossible_noise_is_refused() -> None:
    for make in (generalised, ancestral):
        with pytest.raises(ValueError, match=r"eta must not be negative, got -0\.1"):
            make(-0.1)
        with pytest.raises(ValueError, match="got nan"):
            make(float("nan"))
    for level in (-0.1, 1.1):
        with pytest.raises(ValueError, match=rf"Flow-CPS must be in \[0, 1\], got {level}"):
            coefficients_preserving(level)
