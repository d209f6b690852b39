"""The coefficients of each process, pinned by what they mean and not by their own code."""

from math import cos, exp, log, pi

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from scoreward.core.process import (
    VE,
    CosineVP,
    DiscreteVP,
    LinearVP,
    Process,
    RectifiedFlow,
    time_grid,
)
from tests.core.laws import F64, PROCESSES, real

VARIANCE_PRESERVING = (LinearVP(), CosineVP(), DiscreteVP())
INSIDE = torch.arange(0.0305, 0.97, 0.047, dtype=F64)  # off the grid of DiscreteVP


def derivative(value: Tensor, t: Tensor) -> Tensor:
    """dvalue/dt by autograd, zero where value is constant."""
    (slope,) = torch.autograd.grad((value + 0 * t).sum(), t)
    return slope


def beta_of(step: int) -> float:
    """β of Stable Diffusion, counted from 0, spelled out."""
    low, high = 0.00085**0.5, 0.012**0.5
    return (low + (high - low) * step / 999) ** 2


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_derivatives_agree_with_autograd(process: Process) -> None:
    t = INSIDE.clone().requires_grad_()
    torch.testing.assert_close(process.d_alpha(t), derivative(process.alpha(t), t))
    torch.testing.assert_close(process.d_sigma(t), derivative(process.sigma(t), t))


def test_discrete_derivatives_agree_with_differences_inside_a_piece() -> None:
    """Pieces are 1e-3 wide; the error of a central difference is (β h)²/6, below 1e-6 relative."""
    process, h = DiscreteVP(), 1e-4
    for f, df in ((process.alpha, process.d_alpha), (process.sigma, process.d_sigma)):
        slope = (f(INSIDE + h) - f(INSIDE - h)) / (2 * h)
        torch.testing.assert_close(df(INSIDE), slope, rtol=2e-6, atol=0)


@pytest.mark.parametrize("process", VARIANCE_PRESERVING, ids=repr)
def test_signal_and_noise_of_vp_have_unit_power(process: Process) -> None:
    t = torch.linspace(0, 1, 101, dtype=F64)
    torch.testing.assert_close(process.alpha(t) ** 2 + process.sigma(t) ** 2, torch.ones_like(t))


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_the_coefficients_are_alpha_and_sigma_in_this_order(process: Process) -> None:
    t = real(0.21, 0.5005, 0.77)
    alpha, sigma = process.coefficients(t)
    assert torch.equal(alpha, process.alpha(t))
    assert torch.equal(sigma, process.sigma(t))


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_data_is_clean_at_zero_and_noise_grows(process: Process) -> None:
    t = torch.linspace(0, 1, 41, dtype=F64)
    assert process.alpha(t[0]) == 1
    assert process.sigma(t[0]) == (0.01 if isinstance(process, VE) else 0)
    assert (process.sigma(t).diff() > 0).all()


def test_rectified_flow_is_a_straight_line_from_data_to_noise() -> None:
    """[rectified-flow] (1): x_t interpolates linearly, so its velocity is ε − x0 at every time."""
    x0, eps, process = real(1.5), real(-0.5), RectifiedFlow()
    for t in (0.0, 0.25, 1.0):
        x_t = process.alpha(real(t)) * x0 + process.sigma(real(t)) * eps
        torch.testing.assert_close(x_t, torch.lerp(x0, eps, t))


def test_linear_vp_solves_its_equation() -> None:
    """[song-sde] (33): dα/dt = −½ β α with β = 0.1 + 19.9 t and α(0) = 1."""
    process, beta = LinearVP(), 0.1 + 19.9 * INSIDE
    torch.testing.assert_close(process.d_alpha(INSIDE), -0.5 * beta * process.alpha(INSIDE))
    torch.testing.assert_close(process.alpha(real(1.0)), real(exp(-0.5 * (0.1 + 19.9 / 2))))


def test_cosine_alpha_is_the_square_root_of_the_published_alpha_bar() -> None:
    """[improved-ddpm] (17): ᾱ(t) = f(t)/f(0), f(t) = cos²((t + s)/(1 + s) · π/2), s = 0.008."""
    process = CosineVP()
    for t in (0.0, 0.25, 0.5, 0.875):
        bar = (cos((t + 0.008) / 1.008 * pi / 2) / cos(0.008 / 1.008 * pi / 2)) ** 2
        torch.testing.assert_close(process.alpha(real(t)) ** 2, real(bar))
    assert process.alpha(real(1.0)).item() == 0
    assert process.sigma(real(1.0)).item() == 1


def test_discrete_vp_on_its_grid_is_the_product_of_one_minus_beta() -> None:
    """[ddpm] (4): ᾱ of step k is Π_{j ≤ k} (1 − β_j), a product taken factor by factor here."""
    process, bar = DiscreteVP(), 1.0
    expected = []
    for step in range(1000):
        bar *= 1 - beta_of(step)
        expected.append(bar)
    grid = real(*[process.time_of(k) for k in range(1000)])
    torch.testing.assert_close(process.alpha(grid) ** 2, real(*expected), rtol=1e-12, atol=0)
    single = process.alpha(grid.float())  # times in float32 still count as on the grid
    torch.testing.assert_close(single, real(*expected).sqrt().float(), rtol=1e-7, atol=0)


def test_discrete_vp_is_log_linear_between_grid_points() -> None:
    process = DiscreteVP()
    a, middle, b = process.alpha(real(0.5, 0.5005, 0.501)).log()
    torch.testing.assert_close(middle, (a + b) / 2)


def test_discrete_vp_keeps_the_type_of_its_times() -> None:
    process, t = DiscreteVP(), torch.tensor([0.3, 1.0])
    for f in (process.alpha, process.sigma, process.d_alpha, process.d_sigma):
        assert f(t).dtype == torch.float32


def test_ve_is_geometric_between_its_ends() -> None:
    """[song-sde] (31): equal ratios over equal times, from 0.01 to 50."""
    sigma = VE().sigma(real(0.0, 0.5, 1.0))
    torch.testing.assert_close(sigma, real(0.01, (0.01 * 50) ** 0.5, 50.0))


def test_diffusion_coefficients_are_those_of_the_table() -> None:
    """g² is 2t/(1 − t), β(t), −1000 log(1 − β_k) and dσ²/dt for the four families."""
    t = INSIDE.clone().requires_grad_()
    steps = [int(u * 1000) for u in INSIDE.tolist()]
    table = {
        RectifiedFlow(): 2 * t / (1 - t),
        LinearVP(): 0.1 + 19.9 * t,
        DiscreteVP(): real(*[-1000 * log(1 - beta_of(k)) for k in steps]),
        VE(): derivative(VE().sigma(t) ** 2, t),
    }
    for process, squared in table.items():
        torch.testing.assert_close(process.g(t).detach() ** 2, squared.detach())


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_noise_injected_on_the_way_adds_up_to_the_transition_kernel(process: Process) -> None:
    """[song-sde] (29): σ_t² − (α_t/α_s)² σ_s² = ∫ (α_t/α_u)² g_u² du from s to t.

    Gauss–Legendre with 20 nodes; for DiscreteVP on one piece, where the integrand is smooth.
    """
    s, t = (0.5002, 0.5009) if isinstance(process, DiscreteVP) else (0.3, 0.6)
    node, weight = legendre(20)
    u = real(s) + (t - s) * (node + 1) / 2
    alpha_t = process.alpha(real(t))
    carried = (alpha_t / process.alpha(u)) ** 2 * process.g(u) ** 2
    injected = (weight * carried).sum() * (t - s) / 2
    kept = (alpha_t / process.alpha(real(s))) ** 2 * process.sigma(real(s)) ** 2
    torch.testing.assert_close(process.sigma(real(t)) ** 2 - kept, injected.reshape(1))


def legendre(count: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights on [−1, 1] (Golub and Welsch)."""
    k = torch.arange(1, count, dtype=F64)
    off = k / (4 * k**2 - 1).sqrt()
    node, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return node, 2 * vectors[0] ** 2


def test_g_is_infinite_where_no_signal_is_left() -> None:
    assert RectifiedFlow().g(real(1.0)).item() == float("inf")
    assert CosineVP().g(real(1.0)).item() == float("inf")


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_log_snr_is_the_log_of_the_power_ratio_and_falls_at_the_rate_of_the_noise(
    process: Process,
) -> None:
    """[vdm] (2): SNR = α²/σ². Its logarithm falls at the rate g²/σ²."""
    t = INSIDE.clone().requires_grad_()
    value = process.log_snr(t)
    torch.testing.assert_close(value.exp(), process.alpha(t) ** 2 / process.sigma(t) ** 2)
    torch.testing.assert_close(-derivative(value, t), (process.g(t) / process.sigma(t)) ** 2)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_noise_to_signal_is_sigma_over_alpha(process: Process) -> None:
    ratio = process.noise_to_signal(INSIDE)
    torch.testing.assert_close(ratio * process.alpha(INSIDE), process.sigma(INSIDE))


@given(shift=st.floats(0.2, 8), steps=st.integers(1, 40))
def test_the_shift_multiplies_noise_to_signal(shift: float, steps: int) -> None:
    """[sd3] (23): on rectified flow σ/α = t/(1 − t) is scaled by the shift, at every time."""
    plain, shifted = time_grid(steps), time_grid(steps, shift)
    assert (shifted[0], shifted[-1]) == (1, 0)
    inner = slice(1, -1)
    flow = RectifiedFlow()
    torch.testing.assert_close(
        flow.noise_to_signal(real(*shifted[inner])),
        shift * flow.noise_to_signal(real(*plain[inner])),
    )


def test_start_and_end_are_on_the_unshifted_scale() -> None:
    grid = time_grid(2, shift=3.0, start=0.8, end=0.2)
    expected = [3 * u / (1 + 2 * u) for u in (0.8, 0.5, 0.2)]
    assert grid == pytest.approx(expected, abs=1e-15)


def test_grids_refuse_what_is_not_a_grid() -> None:
    with pytest.raises(ValueError, match="`steps` must be at least 1, got 0"):
        time_grid(0)
    with pytest.raises(ValueError, match="`shift` must be positive, got 0"):
        time_grid(5, shift=0.0)
    with pytest.raises(ValueError, match="time runs from 1"):
        time_grid(5, start=0.2, end=0.4)
    with pytest.raises(ValueError, match=r"0 <= end < start <= 1, got start=1\.5"):
        time_grid(5, start=1.5)


def test_discrete_slopes_at_a_kink_are_the_mean_of_both_sides() -> None:
    """So a trapezium over whole pieces integrates the slope exactly, up to the two ends."""
    process, h = DiscreteVP(), 1e-3
    t = real(0.001, 0.5, 0.999)
    left, at, right = (process.alpha(t + d).log() for d in (-h, 0.0, h))
    expected = (right - left) / (2 * h)
    torch.testing.assert_close(process.d_alpha(t) / process.alpha(t), expected)
    assert not torch.allclose(expected, (right - at) / h, rtol=1e-4)
