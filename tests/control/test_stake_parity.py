"""Stake parity: the Riccati solution and bounded trading against numbers and simulation."""

from math import exp

import numpy as np
import pytest
import torch
from scipy.integrate import quad, solve_ivp

from scoreward.studies.stake.parity import Parity, bounded_cost, reached, riccati, stationary
from scoreward.studies.stake.proof_of_stake import (
    GeometricPrice,
    PowerIssuance,
    StakeProblem,
    double,
)

PROBLEM = StakeProblem(PowerIssuance(10.0, 1.0), GeometricPrice(0.8, 0.1))
FREE, COSTLY = Parity(0.25, costly=False), Parity(0.25)
LAST = torch.tensor([5.0], dtype=torch.float64)


def test_parity_without_trading_cost_has_the_published_solution() -> None:
    """[pos-trading] (Riccati)"""
    found = riccati(PROBLEM, FREE)
    a, b, c = found.coefficients(0.0)
    assert (a, b, c) == pytest.approx((1.50321393, 0, 0), abs=1e-8)
    assert found.cost(1.5) == pytest.approx(0.75160696, abs=1e-8)
    assert found.rate(0.0, 1.5) == pytest.approx(0.751607, abs=1e-6)
    assert float(found.stakes(1.5, LAST)) == pytest.approx(3.692756, abs=1e-6)


def test_parity_with_the_price_of_trades_has_the_published_solution() -> None:
    """[pos-trading] (Riccati)"""
    found = riccati(PROBLEM, COSTLY)
    _, b, c = found.coefficients(0.0)
    assert (b, c) == pytest.approx((-0.86058431, -0.23813537), abs=1e-8)
    assert found.cost(1.5) == pytest.approx(1.37405591, abs=1e-8)
    assert found.rate(0.0, 1.5) == pytest.approx(0.781899, abs=1e-6)
    assert float(found.stakes(1.5, LAST)) == pytest.approx(3.054475, abs=1e-6)


def simulated(trade, parity: Parity, x: float) -> float:  # noqa: ANN001
    """Cost of ν = trade(t, X), for N = 10 + t and N' = 1 written out by hand."""

    def slope(t: float, state: np.ndarray) -> list[float]:
        nu, y = trade(t, state[0]), state[0] - parity.target * (10 + t)
        price = 0.8 * exp(0.1 * t) if parity.costly else 0.0
        flow = parity.distance * y**2 / 2 + parity.effort * nu**2 / 2 + price * nu
        return [nu + state[0] / (10 + t), exp(-0.1 * t) * flow]

    last = solve_ivp(slope, (0, 5), [x, 0.0], rtol=1e-10, atol=1e-12).y[:, -1]
    return last[1] + exp(-0.5) * parity.final * (last[0] - parity.target * 15) ** 2 / 2


@pytest.mark.parametrize("parity", [FREE, COSTLY], ids=["free", "costly"])
def test_the_cost_is_that_of_the_simulated_rule_and_no_other_rule_is_cheaper(
    parity: Parity,
) -> None:
    found = riccati(PROBLEM, parity)
    best = simulated(found.rate, parity, 1.5)
    assert found.cost(1.5) == pytest.approx(best, abs=1e-8)
    for shift in (-0.05, 0.05):
        other = simulated(lambda t, x, s=shift: found.rate(t, x) + s * np.sin(t), parity, 1.5)
        assert other > best + 1e-4


def test_the_rule_reverts_to_the_target_from_both_sides() -> None:
    found = riccati(PROBLEM, FREE)
    for t in (0.0, 2.0, 4.5):
        target = 0.25 * (10 + t)
        assert found.rate(t, target - 1) > 0 > found.rate(t, target + 1)
        assert found.rate(t, target) == pytest.approx(0, abs=1e-12)


def test_the_stationary_solution_is_the_published_one_and_a_long_horizon_comes_near() -> None:
    """[pos-trading] (stationary parity)"""
    assert float(stationary(FREE, 0.1)) == pytest.approx(1.3177446879, abs=1e-10)
    long = StakeProblem(PowerIssuance(10.0, 0.0), GeometricPrice(0.8), horizon=40.0)
    assert riccati(long, FREE).coefficients(0.0)[0] == pytest.approx(1.3177446879, abs=1e-9)


@pytest.mark.parametrize(
    ("x", "rate", "when", "cost"),
    [
        (1.5, 0.5, 2.21402758, 0.36867903),
        (1.5, 0.2, 6.48721271, 1.06072972),
        (4.0, 0.5, 3.49858808, 1.30901356),
    ],
)
def test_bounded_trading_has_the_published_time_and_cost(
    x: float, rate: float, when: float, cost: float
) -> None:
    """[pos-trading] (bounded parity); the time is also N(0) (e^(|x/N(0) − κ|/ν̄) − 1)."""
    problem = StakeProblem(PowerIssuance(10.0, 1.0), GeometricPrice(0.8), rate=rate)
    assert float(reached(problem, 0.25, x)) == pytest.approx(when, abs=1e-8)
    assert 10 * (exp(abs(x / 10 - 0.25) / rate) - 1) == pytest.approx(when, abs=1e-8)
    assert float(bounded_cost(problem, 0.25, x)) == pytest.approx(cost, abs=1e-8)
    away = lambda t: max(0.0, abs(x / 10 - 0.25) - rate * np.log(1 + t / 10)) * (10 + t)  # noqa: E731
    known = quad(lambda t: exp(-0.1 * t) * away(t) ** 2 / 2, 0, 5, points=[min(when, 5.0)])[0]
    assert float(bounded_cost(problem, 0.25, x)) == pytest.approx(known, abs=1e-9)


def test_a_target_that_issuance_outruns_is_never_reached() -> None:
    """N = (√10 + t)²: ∫du/N over all time is 1/√10, and 0.2 times it is less than 0.5 − 0.2."""
    problem = StakeProblem(PowerIssuance(10.0, 2.0), GeometricPrice(0.8))
    assert float(reached(problem, 0.5, 2.0)) == float("inf")
    assert float(reached(problem, 0.25, 2.0)) < float("inf")
    both = reached(problem, 0.25, torch.tensor([2.0, 2.5]).double())
    assert both.tolist() == [pytest.approx(float(reached(problem, 0.25, 2.0))), 0.0]
    assert float(bounded_cost(problem, 0.5, double(5.0))) == 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"target": 1.5}, "`target` is a share, between 0 and 1, got 1.5"),
        ({"target": 0.2, "effort": 0.0}, "`effort` must be positive, got 0.0"),
        ({"target": 0.2, "distance": -1.0}, "`distance` must not be negative, got -1.0"),
        ({"target": 0.2, "final": -1.0}, "`final` must not be negative, got -1.0"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, float], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Parity(**change)  # pyright: ignore[reportArgumentType]
