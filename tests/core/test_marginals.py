"""What the chains of every stochastic kernel do to a distribution, by exact propagation of moments.

On Gaussian data each step is affine, so nothing here is sampled. The tables come from closed forms
derived outside of this code.
"""

from itertools import pairwise
from math import sqrt

import pytest

from scoreward.core.kernel import (
    DDIM,
    EulerMaruyama,
    Kernel,
    ancestral,
    coefficients_preserving,
    dance_sde,
    ddim,
    euler,
    flow_sde,
    generalised,
    linear_sde,
    reverse_sde,
)
from scoreward.core.process import LinearVP, Process, RectifiedFlow, time_grid
from tests.core.laws import (
    PROCESSES,
    VARIANCE,
    VarianceClock,
    affine,
    exact,
    line,
    marginal,
    real,
)
from tests.golden.load import golden

ETAS = (0.5, 1.0, 1.5, 2.0)
CHAINS = golden("chains")
TOP, BOTTOM = 0.97, 0.03
KERNELS: dict[str, Kernel] = {
    **{f"gddim({eta})": DDIM(generalised(eta)) for eta in ETAS},
    **{f"sde({eta})": EulerMaruyama(reverse_sde(eta)) for eta in ETAS},
    **{f"ancestral({eta})": DDIM(ancestral(eta)) for eta in (0.5, 1.0)},
    "ddim": ddim(),
    "euler": euler(),
    "dance-sde": EulerMaruyama(dance_sde(0.3)),
    "linear-sde": EulerMaruyama(linear_sde(0.9)),
}


def error(kernel: Kernel, process: Process, steps: int) -> tuple[float, float]:
    """Distance of mean and variance from those of p at the end, after starting from p."""
    chain = affine(kernel, exact(process), line(TOP, BOTTOM, steps))
    got, true = chain.push(*marginal(process, TOP)), marginal(process, BOTTOM)
    return abs(got[0] - true[0]), abs(got[1] - true[1])


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS.keys())
def test_marginals_are_kept_to_first_order(process: Process, kernel: Kernel) -> None:
    """Halving the step halves the error (or it is rounding): the limit has the right law."""
    coarse, fine = error(kernel, process, 400), error(kernel, process, 800)
    for big, small in zip(coarse, fine, strict=True):
        assert small < 0.6 * big + 1e-12, (coarse, fine)
        assert small < 0.02


def test_coefficients_preserving_noise_keeps_no_marginal_of_gaussian_data() -> None:
    """Its noise doesn't shrink with the step, so finer grids do not help; only points are kept."""
    kernel = DDIM(coefficients_preserving(0.5))
    coarse, fine = (error(kernel, RectifiedFlow(), steps) for steps in (400, 800))
    assert fine[1] > 0.9 * coarse[1] > 0.01


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("eta", ETAS)
def test_one_generalised_step_loses_variance_by_the_closed_form(
    process: Process, eta: float
) -> None:
    """In y = x/α from the true law, with σ for noise to signal and c for the data variance:

    slope (c + σ_t σ_s ρ)/(c + σ_t²), variance lost c (σ_t − σ_s ρ)²/(c + σ_t²).
    """
    t, s, c = 0.6, 0.4, VARIANCE
    alpha_s = process.alpha(real(s)).item()
    sigma_t, sigma_s = process.noise_to_signal(real(t, s)).tolist()
    rho = (sigma_s / sigma_t) ** (eta**2)
    step = affine(DDIM(generalised(eta)), exact(process), [t, s])
    slope = step.slope.item() * process.alpha(real(t)).item() / alpha_s
    assert slope == pytest.approx((c + sigma_t * sigma_s * rho) / (c + sigma_t**2), rel=1e-11)
    _, variance = step.push(*marginal(process, t))
    loss = c * (sigma_t - sigma_s * rho) ** 2 / (c + sigma_t**2)
    assert variance / alpha_s**2 == pytest.approx(c + sigma_s**2 - loss, rel=1e-11)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("steps", [1, 3, 20])
def test_at_eta_one_the_mean_is_exact_on_every_grid(process: Process, steps: int) -> None:
    """k = v_s/v_t telescopes, whatever the start: mean = m + (v_0/v_T)(start − m) in y = x/α."""
    chain = affine(DDIM(generalised(1.0)), exact(process), line(TOP, BOTTOM, steps))
    (alpha_t, alpha_s), (ratio_t, ratio_s) = (
        f(real(TOP, BOTTOM)).tolist() for f in (process.alpha, process.noise_to_signal)
    )
    kept = (VARIANCE + ratio_s**2) / (VARIANCE + ratio_t**2)
    mean, _ = chain.push(alpha_t * 0.2, 1.0)
    assert mean == pytest.approx(alpha_s * (0.7 + kept * (0.2 - 0.7)), rel=1e-10)
    half = affine(DDIM(generalised(0.5)), exact(process), [TOP, BOTTOM])
    assert half.push(alpha_t * 0.2, 1.0)[0] != pytest.approx(mean, rel=1e-6)


@pytest.mark.parametrize("steps", CHAINS["flow"])
def test_rectified_flow_chains_have_the_tabulated_variance(steps: str) -> None:
    row, grid = CHAINS["flow"][steps], time_grid(int(steps), 3.0)

    def variance(kernel: Kernel) -> float:
        return affine(kernel, exact(RectifiedFlow(), 0.0, 1.0), grid).push(0.0, 1.0)[1]

    assert variance(euler()) == pytest.approx(row["ode"], abs=1e-6)
    for eta, expected in row["gddim"].items():
        assert variance(DDIM(generalised(float(eta)))) == pytest.approx(expected, abs=1e-6)
    for noise, expected in zip((0.7, sqrt(2), 1.5 * sqrt(2)), row["sde"], strict=True):
        kernel = EulerMaruyama(flow_sde(noise, at_one=grid[1]))
        assert variance(kernel) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("steps", CHAINS["karras"])
def test_variance_exploding_chains_have_the_tabulated_variance(steps: str) -> None:
    """Also where DDIM's own η has no real mean: there `check` refuses it."""
    n, clock = int(steps), VarianceClock()
    low, high = 0.002 ** (1 / 7), 80 ** (1 / 7)
    sigmas = [(high + i / (n - 1) * (low - high)) ** 7 for i in range(n)]
    times = [*((sigma / 80) ** 2 for sigma in sigmas), 0.0]
    for name, (gddim, own, maruyama) in CHAINS["karras"][steps].items():
        eta = float(name)
        laws = (DDIM(generalised(eta)), gddim), (EulerMaruyama(reverse_sde(eta)), maruyama)
        for kernel, expected in laws:
            _, variance = affine(kernel, exact(clock, 0.0, 1.0), times).push(0.0, 6400.0)
            assert variance == pytest.approx(expected, abs=6e-5 if kernel is laws[1][0] else 1e-8)
        kernel = DDIM(ancestral(eta))
        if own is None:
            with pytest.raises(ValueError, match="use generalised"):
                check_all(kernel, clock, times)
        else:
            check_all(kernel, clock, times)
            _, variance = affine(kernel, exact(clock, 0.0, 1.0), times).push(0.0, 6400.0)
            assert variance == pytest.approx(own, abs=1e-8)


def check_all(kernel: Kernel, process: Process, times: list[float]) -> None:
    for t, s in pairwise(times):
        kernel.check(process, t, s)


@pytest.mark.parametrize("steps", CHAINS["vp"])
def test_vp_chains_have_the_tabulated_moments(steps: str) -> None:
    """α² = exp(−t) on [0, 4] is LinearVP with a constant β of 4 on [0, 1]."""
    process = LinearVP(beta_min=4.0, beta_max=4.0)
    for eta, expected in CHAINS["vp"][steps].items():
        kernel = DDIM(generalised(float(eta)))
        chain = affine(kernel, exact(process), line(1.0, 0.0025, int(steps)))
        assert chain.push(0.0, 1.0) == pytest.approx(tuple(expected), abs=1e-9)


@pytest.mark.parametrize("name", CHAINS["law"])
@pytest.mark.parametrize("kind", ["gddim", "sde"])
def test_many_steps_reach_the_law_of_the_reverse_sde(kind: str, name: str) -> None:
    """Start N(0, 1) is not p_1, and how much of that survives depends on η as in the closed form.

    First-order error is removed by extrapolating from n and 2n steps; what is left is O(n⁻²).
    """
    eta, grid = float(name), [(k / 4000) ** 2 for k in range(4000, -1, -1)]
    kernel = DDIM(generalised(eta)) if kind == "gddim" else EulerMaruyama(reverse_sde(eta))
    end = 0 if kind == "gddim" else -1  # g of a VP process is undefined at t = 0
    fine, coarse = grid, grid[::2]
    laws = [
        affine(kernel, exact(LinearVP()), g[: len(g) + end]).push(0.0, 1.0) for g in (fine, coarse)
    ]
    extrapolated = tuple(2 * a - b for a, b in zip(*laws, strict=True))
    assert extrapolated == pytest.approx(tuple(CHAINS["law"][name]), abs=2e-5)
