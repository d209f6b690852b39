"""Stake trading with linear utility: closed forms against published and independent numbers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad, solve_ivp

from scoreward.studies.stake.linear import (
    advantage,
    free_switch,
    gained,
    identity_value,
    least_switch,
    marginal_value,
    value,
)
from scoreward.studies.stake.optimum import solve
from scoreward.studies.stake.paths import bang, performance, stakes
from scoreward.studies.stake.proof_of_stake import (
    GeometricPrice,
    OwnIssuance,
    OwnPrice,
    PowerIssuance,
    StakeProblem,
    Utility,
    double,
    square,
)
from tests.control.stake_cases import CASES, LINEAR, Case

L1, L6 = CASES["L1"], CASES["L6"]
each = pytest.mark.parametrize("case", LINEAR, ids=lambda case: case.name)


def at(*times: float) -> torch.Tensor:
    return torch.tensor(times, dtype=torch.float64)


@each
def test_the_published_optimum_is_found(case: Case) -> None:
    """[pos-trading] (bang-bang), (three regimes)"""
    plan = solve(case.problem, case.utility, case.x)
    assert plan.exact
    assert plan.regime == case.regime
    assert plan.switch_times == pytest.approx(
        case.switches, abs=2e-5 if case.name == "L9" else 2e-8
    )
    assert plan.value == pytest.approx(case.value, abs=1e-8)
    assert float(stakes(case.problem, plan, at(5.0))) == pytest.approx(case.last, abs=6e-6)


@each
def test_the_marginal_value_of_a_stake_is_the_published_one(case: Case) -> None:
    """[pos-trading] (Psi)"""
    psi = marginal_value(case.problem, case.utility, at(0.0, 5.0))
    assert psi.tolist() == pytest.approx(case.psi, abs=1e-8)


def test_the_three_regimes_are_decided_by_the_price_against_the_marginal_value_at_both_ends() -> (
    None
):
    """[pos-trading] (three regimes): P(0) ≤ Ψ(T), P(0) ≥ Ψ(0), or between, for a martingale."""
    low, high = L1.psi or (0, 0)
    for price, regime in ((high - 1e-6, "buy"), (low + 1e-6, "sell")):
        assert solve(replace(L1, price=price).problem, L1.utility, 2.0).regime == regime
    for price in (high + 1e-6, low - 1e-6):
        assert solve(replace(L1, price=price).problem, L1.utility, 2.0).regime == "buy-then-sell"


def test_the_value_function_in_between_is_the_published_one() -> None:
    """[pos-trading] (value)"""
    found = value(L1.problem, L1.utility, at(1, 2.5, 4), at(2, 2, 3))
    assert found.tolist() == pytest.approx([2.14646066, 1.67856105, 1.95495810], abs=1e-8)


def test_the_stakes_on_the_way_are_the_published_ones() -> None:
    """[pos-trading] (share)"""
    plan = solve(L1.problem, L1.utility, 2.0)
    owned = stakes(L1.problem, plan, at(1, plan.switch_times[0], 4))
    assert owned.tolist() == pytest.approx([2.40968240, 3.07927603, 3.12900112], abs=1e-8)


def test_the_stakes_solve_their_differential_equation() -> None:
    """X' = ν + (N'/N) X, with N' of the square-root family written out by hand."""
    case = CASES["L4"]
    plan = solve(case.problem, case.utility, 2.0)
    (turn,) = plan.switch_times
    rate = lambda t: 0.2 if t < turn else -0.2  # noqa: E731
    growth = lambda t: 0.5 / (100 + t)  # noqa: E731, A = N(0)^(1/α) = 100
    known = solve_ivp(
        lambda t, x: [rate(t) + growth(t) * x[0]], (0, 5), [2.0], rtol=1e-10, max_step=0.01
    )
    assert float(stakes(case.problem, plan, at(5.0))) == pytest.approx(known.y[0, -1], abs=1e-5)


@pytest.mark.parametrize(
    ("alpha", "switch", "worth"),
    [
        (0, 0.78844453, 1.84054077),
        (0.5, 0.96625028, 1.87220994),
        (1, 2.54812699, 2.57325643),
        (2, 3.88095393, 10.23622341),
    ],
)
def test_issuance_moves_the_switch_as_published(alpha: float, switch: float, worth: float) -> None:
    case = replace(L1, alpha=alpha)
    plan = solve(case.problem, case.utility, 2.0)
    assert plan.switch_times == pytest.approx([switch], abs=2e-8)
    assert plan.value == pytest.approx(worth, abs=1e-8)


def test_the_value_function_solves_its_equation() -> None:
    """v_t + e^(−βt) ℓx + (N'/N) x v_x + ν̄|v_x − p| = 0, away from the switch and from x = 0."""
    h, beta = 1e-4, 0.1
    v = lambda t, x: float(value(L1.problem, L1.utility, double(t), x))  # noqa: E731
    for t, x in ((0.7, 1.5), (2.0, 2.0), (3.3, 2.5), (4.5, 1.0)):
        v_t = (v(t + h, x) - v(t - h, x)) / (2 * h)
        v_x = (v(t, x + h) - v(t, x - h)) / (2 * h)
        growth = 1 / (10 + t)
        left = v_t + np.exp(-beta * t) * 0.08 * x + growth * x * v_x + 0.2 * abs(v_x - 0.8)
        assert abs(left) < 1e-9  # of second order in h, and rounding of v over h
    assert v(5.0, 2.0) == pytest.approx(np.exp(-0.5) * 0.9 * 2.0, abs=1e-12)


def test_the_identity_holds_for_a_strategy_that_is_far_from_optimal() -> None:
    """[pos-trading] (identity): ν = 0.2 sin 3t, by the identity and by solving for X."""
    trade = lambda t: 0.2 * torch.sin(3 * t)  # noqa: E731
    found = float(identity_value(L1.problem, L1.utility, 2.0, trade))
    assert found == pytest.approx(2.42410087, abs=1e-8)

    def slope(t: float, state: np.ndarray) -> list[float]:
        """Stakes, and the objective so far."""
        x, nu = state[0], 0.2 * np.sin(3 * t)
        price = 0.8 * np.exp(0.1 * t)
        return [nu + x / (10 + t), np.exp(-0.1 * t) * (0.08 * x - price * nu)]

    known = solve_ivp(slope, (0, 5), [2.0, 0.0], rtol=1e-11, atol=1e-12)
    x, earned = known.y[:, -1]
    assert found == pytest.approx(earned + np.exp(-0.5) * 0.9 * x, abs=1e-8)


@settings(max_examples=10)
@given(
    st.floats(0, 2.5),
    st.floats(0, 0.3),
    st.floats(0, 1.5),
    st.floats(0.05, 3),
    st.floats(-0.3, 0.4),
)
def test_the_value_is_that_of_its_own_strategy_and_beats_others(
    alpha: float, running: float, terminal: float, price: float, growth: float
) -> None:
    """J of the strategy by definition is U by the identity, and no other bang-bang is better."""
    problem = StakeProblem(PowerIssuance(10.0, alpha), GeometricPrice(price, growth))
    utility = Utility(running, terminal)
    plan = solve(problem, utility, 2.0)
    sign = lambda t: 0.2 * torch.sign(advantage(problem, utility, t))  # noqa: E731
    pieces = zip(plan.edges[:-1], plan.edges[1:])
    sums = sum(
        float(gained(problem, utility, a, b) * sign((a + b) / 2)) for a, b in pieces
    ) + 2.0 * float(marginal_value(problem, utility, double(0.0)))
    assert plan.value == pytest.approx(sums, abs=1e-9 * (1 + abs(sums)))
    for first in (1, -1):
        for s in (0.5, 2.0, 4.0):
            other = bang(problem, utility, 2.0, [s], first)
            assert other.value <= plan.value + 1e-10 * (1 + abs(sums))


def test_holding_and_selling_until_empty_earn_what_is_published() -> None:
    """[pos-trading] (state constraint): both are worse than buying first; the formula is better."""
    problem, utility = L6.problem, L6.utility
    held = performance(problem, utility, 0.4, at(0, 5), at(0.0))
    assert held == pytest.approx(0.11147755, abs=1e-8)
    empty = 10 * (np.exp(0.04 / 0.2) - 1)  # ν̄ ∫du/N = x/N(0)
    assert empty == pytest.approx(2.21402758, abs=1e-8)
    quick = performance(problem, utility, 0.4, at(0, empty, 5), at(-0.2, 0.0))
    assert quick == pytest.approx(0.36277430, abs=1e-8)
    free = float(identity_value(problem, utility, 0.4, lambda t: torch.full_like(t, -0.2)))
    assert free == pytest.approx(0.72267424, abs=1e-8)
    plan = solve(problem, utility, 0.4)
    assert held < quick < plan.value < free
    assert float(value(problem, utility, double(0.0), 0.4)) == pytest.approx(plan.value, abs=1e-10)
    assert float(free_switch(problem, utility)) == 0
    assert float(least_switch(problem, double(0.0), 0.4)) == pytest.approx(1.08194987, abs=1e-8)


def test_the_stakes_of_the_constrained_optimum_end_at_zero_and_not_before() -> None:
    """[pos-trading] (state constraint)"""
    plan = solve(L6.problem, L6.utility, 0.4)
    owned = stakes(L6.problem, plan, torch.linspace(0, 5, 101, dtype=torch.float64))
    assert (owned[:-1] > 0.009).all()  # what it sells in the last step of 0.05
    assert abs(float(owned[-1])) < 1e-9


def test_closed_forms_are_vectorised_over_parameters() -> None:
    """Every row of a batch of problems equals the problem by itself."""
    cases = [CASES[name] for name in ("L1", "L2", "L3", "L4", "L6", "L7", "L8")]
    column = lambda name: torch.tensor([getattr(c, name) for c in cases], dtype=torch.float64)  # noqa: E731
    problem = StakeProblem(
        PowerIssuance(10.0, column("alpha")), GeometricPrice(column("price"), column("growth"))
    )
    utility = Utility(column("running"), column("terminal"))
    found = value(problem, utility, double(0.0), column("x"))
    assert found.tolist() == pytest.approx([c.value for c in cases], abs=1e-8)
    switch = torch.maximum(
        free_switch(problem, utility), least_switch(problem, double(torch.zeros(7)), column("x"))
    )
    known = [c.switches[0] if c.switches else {"buy": 5.0, "sell": 0.0}[c.regime] for c in cases]
    assert switch.tolist() == pytest.approx(known, abs=2e-8)
    times = torch.tensor([[0.5], [2.0], [4.5]], dtype=torch.float64)
    psi = marginal_value(problem, utility, times)
    assert psi.shape == (3, 7)
    alone = marginal_value(cases[3].problem, cases[3].utility, times[:, 0])
    torch.testing.assert_close(psi[:, 3], alone, rtol=1e-13, atol=0)


def test_an_issuance_and_a_price_of_ones_own_give_the_same_as_the_families() -> None:
    own = StakeProblem(
        OwnIssuance(lambda t: 10 + t, 5.0), OwnPrice(lambda t: 0.8 * torch.exp(0.1 * t), 5.0)
    )
    plan = solve(own, L1.utility, 2.0)
    assert plan.regime == "buy-then-sell"
    assert plan.value == pytest.approx(L1.value, abs=1e-8)
    assert plan.switch_times == pytest.approx(L1.switches, abs=2e-8)


def test_a_price_that_swings_gives_as_many_switches() -> None:
    """[pos-trading] (bang-bang): for any price; the signs are those of Ψ − p, by quadrature."""
    price = OwnPrice(lambda t: torch.exp(0.1 * t) * (0.85 + 0.3 * torch.sin(3 * t)), 5.0)
    problem = StakeProblem(PowerIssuance(10.0, 1.0), price)
    plan = solve(problem, L1.utility, 2.0)

    def gap(t: float) -> float:
        """Ψ − p."""
        kept = 0.9 * np.exp(-0.5) * 15 + 0.08 * quad(lambda s: np.exp(-0.1 * s) * (10 + s), t, 5)[0]
        return kept / (10 + t) - (0.85 + 0.3 * np.sin(3 * t))

    assert len(plan.switch_times) > 2
    for s in plan.switch_times:
        assert gap(s) == pytest.approx(0, abs=1e-9)
        assert gap(s - 0.01) * gap(s + 0.01) < 0
    known = 2 * (gap(0) + 0.85) + 0.2 * quad(lambda t: abs(gap(t)), 0, 5, limit=200)[0]
    assert plan.value == pytest.approx(known, abs=1e-7)


def test_it_refuses_what_it_cannot_answer() -> None:
    falling = replace(L1, growth=0.0).problem
    with pytest.raises(ValueError, match=r"the valuation exp\(−βt\) E P\(t\) falls somewhere"):
        free_switch(falling, L1.utility)
    with pytest.raises(ValueError, match="the valuation"):
        value(falling, L1.utility, double(0.0), 2.0)
    with pytest.raises(ValueError, match="times must be within"):
        value(L1.problem, L1.utility, double(5.5), 2.0)
    with pytest.raises(ValueError, match="this closed form is for linear utility"):
        marginal_value(L1.problem, replace(L1.utility, shape=square), double(0.0))
    with pytest.raises(ValueError, match="would own all stakes"):
        value(CASES["L2"].problem, L1.utility, double(0.0), 9.9)
