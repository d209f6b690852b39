"""Bounds on reward gaps: the printed values, and that each of them is one."""

from itertools import pairwise
from math import sin

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from scoreward.core.keys import Key
from scoreward.core.process import LinearVP, RectifiedFlow
from scoreward.theory import bounds
from scoreward.theory.gaussian import GaussianLaw, Levels, LinearReward, marginal, output
from scoreward.theory.reward_gap import GapSetting, linear
from tests.theory.printed import F64, printed, real

SETTING = GapSetting.from_noise(
    GaussianLaw.of(0.0, 0.25), Levels.of(LinearVP(3.0, 3.0))
)  # β = 1, T = 3
ETAS = real(0.5, 1.0, 1.5)


def test_the_coupling_is_that_of_the_text() -> None:
    """[reward-gap] (coupling): valid, and 70 to 90 times too large."""
    found = bounds.coupling(SETTING, ETAS)
    assert found.truth.tolist() == printed("0.006346", "0.009480", "0.009604")
    assert found.coupled.tolist() == printed("0.459736", "0.671389", "0.711195")
    assert found.bound.tolist() == printed("0.564398", "0.820557", "0.868328")
    assert bool((found.bound / found.truth > 70).all() & (found.bound / found.truth < 92).all())


@pytest.mark.parametrize("eta", [0.5, 1.0, 1.5])
def test_the_coupling_bound_solves_its_differential_inequality(eta: float) -> None:
    """[reward-gap] (coupling) for a moving β and an off-centre start, by scipy."""
    process, data, start = LinearVP(1.0, 4.0), GaussianLaw.of(0.7, 0.25), GaussianLaw.of(0.1, 1.4)
    setting = GapSetting(data, start, Levels.of(process))
    ratio = marginal(data, setting.levels, 0).variance.item()
    ratio = (setting.offset.square().sum().item() + 1.4) / ratio  # E|Z − α m|²/V

    def slope(tau: float, u: list[float]) -> list[float]:
        t = real(1 - tau)
        alpha, g = process.alpha(t).item(), process.g(t).item() ** 2
        total = alpha**2 * 0.25 + process.sigma(t).item() ** 2
        f = process.d_alpha(t).item() / alpha
        rate = -2 * f - (1 + eta**2) * g / total + 0.5 * eta**2 * g / total
        return [rate * u[0] + eta**2 * g * (0.5 * ratio + 1)]

    solved = solve_ivp(slope, (0, 1 - 1e-9), [0.0], rtol=1e-9, atol=1e-12)
    found = bounds.coupling(setting, eta)
    assert found.bound.item() == pytest.approx(solved.y[0, -1] ** 0.5, rel=1e-6)


def test_the_coupled_distance_is_that_of_simulated_pairs() -> None:
    """[reward-gap] (coupling): E|D|² of 100 000 pairs that share their start, two dimensions."""
    data, start = GaussianLaw.of([0.7, 0.0], 0.25), GaussianLaw.of([0.0, 0.2], 1.1)
    levels, key = Levels.of(RectifiedFlow()), Key(("pairs",))
    first = start.mean + start.variance.sqrt() * (key / "start").normal(100_000, 2, dtype=F64)
    ode = 0.7 * real(1.0, 0.0) + 0.5 * first  # the ODE from N(0, 1) onto N(m, ¼)
    noisy = data.mean + 0.5 * (key / "end").normal(100_000, 2, dtype=F64)  # forgets its start
    far = (noisy - ode).square().sum(1).mean().sqrt().item()
    found = bounds.coupling(GapSetting(data, start, levels), 0.8)
    assert found.coupled.item() == pytest.approx(far, rel=5e-3)


LAWS = st.tuples(st.floats(-1.5, 1.5), st.floats(0.1, 2))


@settings(max_examples=50)
@given(data=LAWS, start=LAWS, eta=st.floats(0.1, 2.5))
def test_bounds_are_ordered_and_hold(
    data: tuple[float, float], start: tuple[float, float], eta: float
) -> None:
    """[reward-gap] (Kantorovich) and [reward-gap] (coupling): |gap| ≤ W1 ≤ W2 ≤ coupled ≤ bound."""
    setting = GapSetting(
        GaussianLaw.of(*data), GaussianLaw.of(*start), Levels.of(LinearVP(1.0, 2.0))
    )
    noisy, ode = (output(setting.data, setting.start, setting.levels, e) for e in (eta, 0.0))
    gap = 2 * linear(setting, LinearReward(real(1.0)), eta).abs().item()
    found = bounds.coupling(setting, eta)
    chain = [gap, bounds.kantorovich(2.0, noisy, ode).item(), 2 * noisy.w2(ode).item()]
    chain += [2 * found.coupled.item(), 2 * found.bound.item()]
    assert all(a <= b * (1 + 1e-9) + 1e-12 for a, b in pairwise(chain))


@settings(max_examples=50)
@given(model=LAWS, start=LAWS, eta=st.floats(0.2, 2.5))
def test_the_output_is_no_farther_than_start_and_paths(
    model: tuple[float, float], start: tuple[float, float], eta: float
) -> None:
    """[reward-gap] (KL bound)"""
    data, levels = GaussianLaw.of(0.7, 0.25), Levels.of(LinearVP(1.0, 2.0))
    trained, first = GaussianLaw.of(*model), GaussianLaw.of(*start)
    truth = output(trained, first, levels, eta).kl(data).item()
    assert truth <= bounds.output_kl_bound(trained, data, first, levels, eta).item() * (1 + 1e-9)


def test_pinsker_bounds_the_gap_of_a_bounded_reward() -> None:
    """[reward-gap] (KL bound): r = sin 3x, whose spread is 2, by scipy."""
    data, start, levels = (
        GaussianLaw.of(0.7, 0.25),
        GaussianLaw.of(0.4, 1.3),
        Levels.of(LinearVP(1.0, 2.0)),
    )
    laws = [output(data, start, levels, eta) for eta in (1.2, 0.0)]

    def mean(law: GaussianLaw) -> float:
        place, std = law.mean.item(), law.variance.sqrt().item()
        density = torch.distributions.Normal(place, std)

        def rate(x: float) -> float:
            return sin(3 * x) * density.log_prob(torch.tensor(x).double()).exp().item()

        return quad(rate, place - 9 * std, place + 9 * std, limit=200)[0]

    gap = abs(mean(laws[0]) - mean(laws[1]))
    bound = bounds.pinsker(2.0, laws[0].kl(data), laws[1].kl(data)).item()
    assert 1e-3 < gap <= bound
    assert bound == pytest.approx(2 * sum((law.kl(data).item() / 2) ** 0.5 for law in laws))


def test_kantorovich_uses_w2_beyond_one_dimension() -> None:
    """[reward-gap] (Kantorovich)"""
    p, q = GaussianLaw.of([0.3, 1.0], 0.5), GaussianLaw.of([0.1, 0.9], 0.7)
    torch.testing.assert_close(bounds.kantorovich(3.0, p, q), 3 * p.w2(q))
