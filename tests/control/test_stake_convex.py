"""Stake trading with convex and other utility: one switch, two local maxima, Pontryagin."""

from dataclasses import replace
from math import exp

import pytest
import torch
from scipy.integrate import quad

from scoreward.studies.stake.convex import (
    costate,
    local_maxima,
    solve_rising,
    stakes_with_switch,
    switch_value,
)
from scoreward.studies.stake.linear import marginal_value
from scoreward.studies.stake.optimum import solve
from scoreward.studies.stake.paths import follow
from scoreward.studies.stake.proof_of_stake import (
    GeometricPrice,
    PowerIssuance,
    StakeProblem,
    Utility,
    double,
    power,
)
from scoreward.studies.stake.solvers import dynamic_programming
from tests.control.stake_cases import CASES, CONVEX, Case
from tests.support.matrix import long

C2, C3, C4 = (CASES[name] for name in ("C2", "C3", "C4"))


@pytest.mark.parametrize("case", CONVEX, ids=lambda case: case.name)
def test_the_published_optimum_is_found(case: Case) -> None:
    """[pos-trading] (one switch)"""
    plan = solve(case.problem, case.utility, 2.0)
    assert plan.exact
    assert plan.regime == case.regime
    assert plan.switch_times == pytest.approx(case.switches, abs=1e-7)
    assert plan.value == pytest.approx(case.value, abs=1e-8)


@pytest.mark.parametrize(("case", "other"), [(C2, 1.57885690), (C3, 2.24878424)])
def test_convex_utility_has_two_local_maxima(case: Case, other: float) -> None:
    """Selling all the time is the other one, and the published value is met."""
    assert local_maxima(case.problem, case.utility, 2.0) == [0.0, 5.0]
    assert float(switch_value(case.problem, case.utility, 2.0, double(0.0))) == pytest.approx(
        other, abs=1e-8
    )


def test_at_the_optimum_one_more_stake_is_worth_its_price() -> None:
    """[pos-trading] (Pontryagin)"""
    (s,) = solve(C4.problem, C4.utility, 2.0).switch_times
    gap = costate(C4.problem, C4.utility, 2.0, double(s)) - C4.problem.valuation(double(s))
    assert abs(float(gap)) < 1e-8


def test_the_slope_of_the_objective_in_the_switch_time_is_the_costate_less_the_price() -> None:
    """[pos-trading] (Pontryagin): dJ/ds = 2ν̄ (λ(s) − p(s)), against central differences."""
    s, h = torch.tensor([0.4, 1.5, 3.0, 4.6], dtype=torch.float64), 1e-4
    up, down = (switch_value(C4.problem, C4.utility, 2.0, s + e) for e in (h, -h))
    gap = costate(C4.problem, C4.utility, 2.0, s) - C4.problem.valuation(s)
    torch.testing.assert_close(2 * 0.2 * gap, (up - down) / (2 * h), rtol=1e-6, atol=1e-9)


def test_the_objective_of_a_switch_is_its_definition() -> None:
    """J(s) by adaptive quadrature of stakes written out by hand: X = N (0.2 + 0.2 (…log…))."""
    s = 1.3

    def owned(t: float) -> float:
        """N = 10 + t, so that ∫du/N is a logarithm."""
        log = lambda a, b: float(torch.log(torch.tensor((10 + b) / (10 + a), dtype=torch.float64)))  # noqa: E731
        moved = log(0, t) if t < s else log(0, s) - log(s, t)
        return (10 + t) * (0.2 + 0.2 * moved)

    def flow(t: float) -> float:
        return exp(-0.1 * t) * (
            0.03 * owned(t) ** 2 - 0.8 * exp(0.2 * t) * (0.2 if t < s else -0.2)
        )

    known = quad(flow, 0, 5, points=[s])[0] + exp(-0.5) * 0.1 * owned(5) ** 2
    assert float(switch_value(C4.problem, C4.utility, 2.0, double(s))) == pytest.approx(
        known, abs=1e-9
    )
    assert float(stakes_with_switch(C4.problem, 2.0, double(s), double(4.0))) == pytest.approx(
        owned(4.0), abs=1e-12
    )


@pytest.mark.parametrize("case", [CASES["L1"], CASES["L4"], CASES["L6"]], ids=lambda c: c.name)
def test_linear_utility_is_a_special_case(case: Case) -> None:
    """The general solver knows nothing of Ψ, and finds the same; power(1) hides the linearity."""
    plan = solve(case.problem, replace(case.utility, shape=power(1.0)), case.x)
    assert plan.exact
    assert plan.value == pytest.approx(case.value, abs=1e-8)
    assert plan.switch_times == pytest.approx(case.switches, abs=2e-8)


def test_what_a_stake_is_worth_along_the_path_is_the_marginal_value_for_linear_utility() -> None:
    case = CASES["L4"]
    path = follow(case.problem, case.utility, solve(case.problem, case.utility, 2.0))
    psi = marginal_value(case.problem, case.utility, path.t)
    torch.testing.assert_close(path.kept, psi, rtol=1e-11, atol=0)


@pytest.mark.parametrize("exponent", [long(0.3), 0.5, 1.5, long(3.0)])
def test_any_nondecreasing_utility_switches_once_at_most(exponent: float) -> None:
    """Concave and convex: dynamic programming over all strategies gains nothing."""
    problem = StakeProblem(PowerIssuance(10.0, 1.0), GeometricPrice(0.8, 0.12))
    utility = Utility(0.05, 0.7 * 2.5 ** (1 - exponent), power(exponent))
    plan = solve_rising(problem, utility, 2.0)
    best = dynamic_programming(problem, utility, 2.0)
    assert plan is not None
    assert plan.value == pytest.approx(best.value, abs=1e-6)


def test_a_utility_with_a_jump_is_left_to_dynamic_programming() -> None:
    """A prize of 3 for owning 2.9 stakes in the end, while p = 0.8 at all times.

    The derivative of the prize is 0 wherever torch looks, so the costate would see no prize. By
    hand: only the last share, 2.9/15, matters, and a stake moves it more the earlier it is traded.
    So buy until s and sell afterwards, with log((10 + s)/10) − log(15/(10 + s)) = −1/30.
    """
    problem = StakeProblem(PowerIssuance(10.0, 1.0), GeometricPrice(0.8, 0.1))
    utility = Utility(0.0, 1.0, lambda x: 3 * (x >= 2.9).double() + 0 * x)
    plan = solve(problem, utility, 2.0)
    assert not plan.exact
    s = (150 * exp(-1 / 30)) ** 0.5 - 10
    assert plan.value == pytest.approx(3 * exp(-0.5) - 0.8 * 0.2 * (2 * s - 5), abs=2e-3)
    assert plan.switch_times == pytest.approx([s], abs=0.01)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="the exponent of a utility must be positive, got 0"):
        power(0.0)
    with pytest.raises(ValueError, match="the utility falls somewhere on"):
        solve(C4.problem, Utility(0.1, 0.1, lambda x: -x), 2.0)
    with pytest.raises(ValueError, match="no derivative that torch can see"):
        solve(C4.problem, Utility(0.1, 0.1, lambda x: x.detach()), 2.0)
    with pytest.raises(ValueError, match="the utility is not finite everywhere"):
        solve(C4.problem, Utility(0.1, 0.1, lambda x: x.log()), 2.0)
