"""Exact laws of sampling on Gaussian data: printed tables, kernels of the library, Monte Carlo."""

from math import exp, inf, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from scoreward.core.kernel import DDIM, EulerMaruyama, Kernel, flow_sde, generalised, reverse_sde
from scoreward.core.kernel import ancestral as own_noise
from scoreward.core.keys import Key
from scoreward.core.process import VE, DiscreteVP, LinearVP, Process, RectifiedFlow, time_grid
from scoreward.theory import gaussian as theory
from scoreward.theory.gaussian import GaussianLaw, Levels, LinearReward, QuadraticReward
from tests.core.laws import PROCESSES, VarianceClock, affine, line
from tests.core.laws import exact as denoiser
from tests.golden.load import golden
from tests.theory.printed import F64, printed, real

DATA, CHAINS = GaussianLaw.of(0.7, 0.25), golden("chains")
ETAS = real(0.0, 0.5, 1.0, 1.5, 2.0)
KARRAS_ETAS = (0.0, 0.5, 1.0, 1.2, 1.5, 2.0)


def test_output_law_of_vp_is_that_of_the_table() -> None:
    """[reward-gap] (output)"""
    law = theory.output(DATA, GaussianLaw.of(0.0, 1.0), Levels.of(LinearVP()), ETAS[:4])
    means = ("0.697699907477", "0.699449310086", "0.699992442249", "0.699999994054")
    assert law.mean[:, 0].tolist() == printed(*means)
    spread = ("0.250008097590", "0.250000464173", "0.250000000087", "0.250000000000")
    assert law.variance.tolist() == printed(*spread)
    levels = Levels.of(LinearVP())
    assert theory.clock_ratio(DATA, levels).tolist() == printed("1.0796786966e-5")


def test_output_law_of_ve_is_that_of_the_table() -> None:
    """[reward-gap] (output), [reward-gap] (W2) and property (ix): the ODE keeps the KL."""
    levels, start = Levels.exploding([5.0, 0.0]), GaussianLaw.of(0.0, 25.0)
    law = theory.output(DATA, start, levels, ETAS)
    means = ("0.630347397", "0.660880150", "0.693069307", "0.699612675", "0.699993172")
    assert law.mean[:, 0].tolist() == printed(*means)
    spread = ("0.247524752", "0.249219203", "0.249975493", "0.249999923", "0.250000000")
    assert law.variance.tolist() == printed(*spread)
    nats = ("0.009727640674", "0.003063169002", "9.607141545e-5", "3.000417e-7")
    assert law.kl(DATA)[:4].tolist() == printed(*nats)
    assert theory.start_kl(DATA, start, levels).item() == printed("0.009727640674")[0]
    far = ("0.0696967899", "0.0391276535", "0.0069307364", "0.0003873253")
    assert law.w2(DATA)[:4].tolist() == printed(*far)


@settings(max_examples=50)
@given(
    mean=st.floats(-2, 2),
    variance=st.floats(0.05, 3),
    start=st.tuples(st.floats(-2, 2), st.floats(0.1, 3)),
    eta=st.floats(0, 3),
)
def test_the_ode_keeps_the_kl_of_the_start_and_noise_contracts_it(
    mean: float, variance: float, start: tuple[float, float], eta: float
) -> None:
    """Property (ix), for any start law and process with a finite start."""
    data, first = GaussianLaw.of(mean, variance), GaussianLaw.of(*start)
    for levels in (Levels.of(LinearVP(1.0, 1.0)), Levels.exploding([2.0, 0.3])):
        before = theory.start_kl(data, first, levels).item()
        end = theory.marginal(data, levels, -1)
        after = [theory.output(data, first, levels, e).kl(end).item() for e in (0.0, eta)]
        assert after[0] == pytest.approx(before, rel=1e-9, abs=1e-12)
        assert after[1] <= before * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("process", [RectifiedFlow(), LinearVP(), VE()], ids=repr)
@pytest.mark.parametrize("eta", [0.0, 1.6])
def test_moments_solve_the_moment_equations_of_the_reverse_process(
    process: Process, eta: float
) -> None:
    """[reward-gap] (E) against scipy: m' = −drift, S' = 2 (slope of the drift) S + η² g²."""
    top, bottom = 0.9, 0.6
    levels = Levels.of(process, (top, bottom))

    def slopes(tau: float, moments: list[float]) -> list[float]:
        t = real(top - tau)
        alpha, sigma = process.alpha(t).item(), process.sigma(t).item()
        f, g = (process.d_alpha(t) / process.alpha(t)).item(), process.g(t).item()
        total, pull = alpha**2 * 0.25 + sigma**2, 0.5 * (1 + eta**2) * g**2
        mean, variance = moments
        drift = -f * mean - pull * (mean - alpha * 0.7) / total
        return [drift, 2 * (-f - pull / total) * variance + eta**2 * g**2]

    end = solve_ivp(slopes, (0, top - bottom), [0.3, 1.4], rtol=1e-7, atol=1e-10)
    law = theory.output(DATA, GaussianLaw.of(0.3, 1.4), levels, eta)
    found = [law.mean.item(), law.variance.item()]
    assert found == pytest.approx(end.y[:, -1].tolist(), rel=2e-6, abs=1e-9)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0, 2.0, inf])
def test_exact_steps_do_not_depend_on_the_grid(process: Process, eta: float) -> None:
    """Property (iii): the true start stays the true law, and any start goes where one step goes."""
    fine = Levels.of(process, (0.9, 0.7, 0.65, 0.3, 0.1))
    for start in (theory.marginal(DATA, fine, 0), GaussianLaw.of(-0.4, 0.8)):
        end = theory.exact(DATA, fine, eta).push(start)
        once = theory.output(DATA, start, fine, eta)
        torch.testing.assert_close(end.mean, once.mean)
        torch.testing.assert_close(end.variance, once.variance)
    true = theory.exact(DATA, fine, eta).push(theory.marginal(DATA, fine, 0))
    torch.testing.assert_close(true.variance, theory.marginal(DATA, fine, -1).variance)


KERNELS = {
    "generalised": (theory.generalised, lambda eta: DDIM(generalised(eta))),
    "ancestral": (theory.ancestral, lambda eta: DDIM(own_noise(eta))),
    "flow_sde": (theory.flow_sde, lambda eta: EulerMaruyama(flow_sde(sqrt(2) * eta, 0.8))),
}


def same_chain(steps: theory.Steps, kernel: Kernel, process: Process, times: list[float]) -> None:
    chain = affine(kernel, denoiser(process), times)
    torch.testing.assert_close(steps.slope, chain.slope, atol=1e-12, rtol=1e-10)
    torch.testing.assert_close(steps.variance, chain.std**2, atol=1e-12, rtol=1e-8)
    law = steps.push(GaussianLaw.of(0.4, 1.1))
    found = (law.mean.item(), law.variance.item())
    assert found == pytest.approx(chain.push(0.4, 1.1), rel=1e-9)


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", ["generalised", "ancestral"])
def test_chains_are_those_of_the_librarys_kernels(name: str, process: Process, eta: float) -> None:
    """[reward-gap] (G chain) and [ddim] (16): two ways to the same numbers."""
    law, kernel = KERNELS[name]
    times = [0.97, 0.8, 0.45, 0.2, 0.05]
    same_chain(law(DATA, Levels.of(process, times), eta), kernel(eta), process, times)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.5])
@pytest.mark.parametrize("name", ["generalised", "flow_sde"])
def test_chains_from_pure_noise_are_those_of_the_kernels(name: str, eta: float) -> None:
    """[flow-grpo] (9) and [reward-gap] (G chain) from t = 1, where σ/α is infinite."""
    law, kernel = KERNELS[name]
    times = [1.0, 0.8, 0.45, 0.2, 0.0]
    steps = law(DATA, Levels.of(RectifiedFlow(), times), eta)
    same_chain(steps, kernel(eta), RectifiedFlow(), times)


def test_euler_in_the_variance_clock_is_the_kernel_on_that_clock() -> None:
    """[reward-gap] (EM chain)"""
    times = [1.0, 0.6, 0.3, 0.1, 0.0]
    for eta in (0.0, 0.5, 1.5):
        steps = theory.euler_maruyama(DATA, Levels.of(VarianceClock(2.0), times), eta)
        same_chain(steps, EulerMaruyama(reverse_sde(eta)), VarianceClock(2.0), times)


def karras(steps: int) -> Levels:
    low, high = 0.002 ** (1 / 7), 80 ** (1 / 7)
    sigmas = [(high + i / (steps - 1) * (low - high)) ** 7 for i in range(steps)]
    return Levels.exploding([*sigmas, 0.0])


@pytest.mark.parametrize("steps", CHAINS["karras"])
def test_discretised_variances_are_those_of_the_table(steps: str) -> None:
    """[reward-gap] (G chain) and [reward-gap] (EM chain); one call for all η."""
    table, levels, unit = CHAINS["karras"][steps], karras(int(steps)), GaussianLaw.of(0.0, 1.0)
    start, eta = GaussianLaw.of(0.0, 6400.0), real(*(float(name) for name in table))
    found = theory.generalised(unit, levels, eta).push(start).variance
    assert found.tolist() == pytest.approx([row[0] for row in table.values()], abs=5.01e-9)
    found = theory.euler_maruyama(unit, levels, eta).push(start).variance
    assert found.tolist() == pytest.approx([row[2] for row in table.values()], abs=5.01e-5)
    for name, (_, own, _) in table.items():
        if own is None:
            with pytest.raises(
                ValueError, match=rf"largest it allows is 1\.\d+, got up to {float(name):g}"
            ):
                theory.ancestral(unit, levels, float(name))
        else:
            law = theory.ancestral(unit, levels, float(name)).push(start)
            assert law.variance.item() == pytest.approx(own, abs=5.01e-9)


@pytest.mark.parametrize("steps", CHAINS["flow"])
def test_rectified_flow_variances_are_those_of_the_table(steps: str) -> None:
    row, levels = CHAINS["flow"][steps], Levels.of(RectifiedFlow(), time_grid(int(steps), 3.0))
    unit = GaussianLaw.of(0.0, 1.0)
    eta = real(0.0, *(float(name) for name in row["gddim"]))
    found = theory.generalised(unit, levels, eta).push(unit).variance.tolist()
    assert found == pytest.approx([row["ode"], *row["gddim"].values()], abs=5.01e-7)
    found = theory.flow_sde(unit, levels, real(0.7 / sqrt(2), 1.0, 1.5)).push(unit).variance
    assert found.tolist() == pytest.approx(row["sde"], abs=5.01e-7)


@pytest.mark.parametrize("steps", CHAINS["vp"])
def test_vp_chains_are_those_of_the_table(steps: str) -> None:
    levels = Levels.of(LinearVP(4.0, 4.0), line(1.0, 0.0025, int(steps)))
    for eta, expected in CHAINS["vp"][steps].items():
        law = theory.generalised(DATA, levels, float(eta)).push(GaussianLaw.of(0.0, 1.0))
        assert [law.mean.item(), law.variance.item()] == pytest.approx(expected, abs=5.01e-11)


def test_the_mean_at_eta_one_does_not_depend_on_the_grid() -> None:
    """Property (ii): v_s/v_t telescopes."""
    for steps in (1, 3, 40):
        levels = Levels.of(LinearVP(), line(1.0, 0.0, steps))
        law = theory.generalised(DATA, levels, 1.0).push(GaussianLaw.of(0.2, 1.0))
        truth = theory.output(DATA, GaussianLaw.of(0.2, 1.0), levels, 1.0)
        torch.testing.assert_close(law.mean, truth.mean)
        assert steps == 1 or law.variance < truth.variance


@pytest.mark.parametrize("sampler", [theory.generalised, theory.euler_maruyama])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0, 2.0])
def test_the_error_of_a_chain_is_of_first_order(sampler: theory.StepRule, eta: float) -> None:
    """Property (iv): n → 2n halves the distance to the continuous law."""
    start, ends = GaussianLaw.of(0.0, 25.0), Levels.exploding([5.0, 0.0])
    truth = theory.output(DATA, start, ends, eta).variance.item()
    errors = []
    for n in (1000, 2000, 4000):
        levels = Levels.exploding([5.0 * (1 - k / n) ** 2 for k in range(n + 1)])
        errors.append(sampler(DATA, levels, eta).push(start).variance.item() - truth)
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.03)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.03)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_generalised_and_own_noise_agree_at_eta_zero_and_one(eta: float) -> None:
    """Property (i): [gddim] (Thm. 1) is DDIM there, and at no η between."""
    levels = Levels.of(DiscreteVP(), (0.9, 0.5, 0.2, 0.001))
    found, own = (law(DATA, levels, eta) for law in (theory.generalised, theory.ancestral))
    torch.testing.assert_close(found.slope, own.slope)
    torch.testing.assert_close(found.variance, own.variance)
    between = theory.generalised(DATA, levels, 0.5).variance
    assert not torch.allclose(between, theory.ancestral(DATA, levels, 0.5).variance, rtol=1e-3)


def test_one_step_loses_variance_by_the_closed_form() -> None:
    """[reward-gap] (G chain): c (σ_t − σ_s ρ)²/(c + σ_t²) from the true law, growing with η."""
    for eta in (0.0, 0.5, 1.0, 2.0):
        levels = Levels.exploding([1.5, 0.6])
        end = theory.generalised(DATA, levels, eta).push(theory.marginal(DATA, levels, 0))
        loss = 0.25 * (1.5 - 0.6 * 0.4 ** (eta**2)) ** 2 / (0.25 + 1.5**2)
        assert end.variance.item() == pytest.approx(0.25 + 0.36 - loss, rel=1e-12)


def test_distances_are_those_of_numerical_integration() -> None:
    p, q = GaussianLaw.of(0.3, 0.7), GaussianLaw.of(-0.5, 1.9)

    def density(law: GaussianLaw, x: float) -> float:
        mean, variance = law.mean.item(), law.variance.item()
        return exp(-((x - mean) ** 2) / (2 * variance)) / sqrt(2 * torch.pi * variance)

    def cost(x: float) -> float:
        return density(p, x) * torch.log(real(density(p, x) / density(q, x))).item()

    assert p.kl(q).item() == pytest.approx(quad(cost, -8, 8)[0], rel=1e-9)
    z = (torch.arange(200_000, dtype=F64) + 0.5) / 200_000
    z = torch.special.ndtri(z)
    moved = (0.3 + sqrt(0.7) * z) - (-0.5 + sqrt(1.9) * z)
    assert p.w2(q).item() == pytest.approx(moved.square().mean().sqrt().item(), rel=1e-4)
    assert p.w1(q).item() == pytest.approx(moved.abs().mean().item(), rel=1e-4)
    assert p.w1(p).item() == 0
    assert p.w1(GaussianLaw.of(0.5, 0.7)).item() == pytest.approx(0.2, rel=1e-12)


def test_laws_in_several_dimensions_add_up() -> None:
    p, q = GaussianLaw.of([0.3, -1.0], 0.7), GaussianLaw.of([-0.5, 0.2], 1.9)
    each = [(GaussianLaw.of(p.mean[i], 0.7), GaussianLaw.of(q.mean[i], 1.9)) for i in range(2)]
    assert p.kl(q).item() == pytest.approx(sum(a.kl(b).item() for a, b in each))
    assert p.w2(q).item() ** 2 == pytest.approx(sum(a.w2(b).item() ** 2 for a, b in each))
    x = p.mean + p.variance.sqrt() * Key(("law",)).normal(400_000, 2, dtype=F64)
    linear, quadratic = LinearReward(real(0.5, -2.0)), QuadraticReward(real(1.0, 0.5), kappa=3.0)
    assert linear.expect(p).item() == pytest.approx((x @ real(0.5, -2.0)).mean().item(), abs=0.02)
    drawn = -1.5 * (x - real(1.0, 0.5)).square().sum(1).mean().item()
    assert quadratic.expect(p).item() == pytest.approx(drawn, rel=0.01)
    with pytest.raises(ValueError, match="one dimension only, got 2"):
        p.w1(q)


def test_impossible_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"eta must not be negative, got -0\.5"):
        theory.output(DATA, DATA, Levels.exploding([5.0, 0.0]), real(1.0, -0.5))
    with pytest.raises(ValueError, match="must fall at every step"):
        Levels.exploding([1.0, 1.0])
    with pytest.raises(ValueError, match="at least two times, got 1"):
        Levels.exploding([1.0])
    with pytest.raises(ValueError, match="cannot start where α = 0"):
        theory.euler_maruyama(DATA, Levels.of(RectifiedFlow()), 1.0)
    with pytest.raises(ValueError, match="need rectified flow"):
        theory.flow_sde(DATA, Levels.of(LinearVP()), 1.0)
