"""The linear program and dynamic programming agree with the closed forms, and go further."""

from dataclasses import replace
from math import exp

import pytest
import torch
from scipy.integrate import quad

from scoreward.studies.stake import solvers as stake_solvers
from scoreward.studies.stake.optimum import solve
from scoreward.studies.stake.paths import Strategy, share
from scoreward.studies.stake.proof_of_stake import (
    GeometricPrice,
    PowerIssuance,
    StakeProblem,
    Utility,
    power,
)
from scoreward.studies.stake.solvers import dynamic_programming, linear_program
from tests.control.stake_cases import CASES, CONVEX, LINEAR, Case
from tests.support.matrix import mostly_long

FEW = [CASES[name] for name in ("L1", "L6", "L9")]


@pytest.mark.parametrize("case", mostly_long(LINEAR, FEW), ids=lambda case: case.name)
def test_the_linear_program_agrees_with_the_published_value(case: Case) -> None:
    """[pos-trading] (linear program)"""
    plan = linear_program(case.problem, case.utility, case.x, cells=1200)
    assert plan.value == pytest.approx(case.value, abs=2e-7)
    assert plan.switch_times == pytest.approx(case.switches, abs=0.0042)  # a cell
    assert plan.regime == case.regime


@pytest.mark.parametrize(
    "case", mostly_long([*LINEAR, *CONVEX], [*FEW, CASES["C4"]]), ids=lambda case: case.name
)
def test_dynamic_programming_agrees_with_the_published_value(case: Case) -> None:
    """[pos-trading] (HJB): to 1e-5 also where the account must not be overdrawn (L6)."""
    plan = dynamic_programming(case.problem, case.utility, case.x)
    assert plan.value == pytest.approx(case.value, abs=1e-6)


def test_dynamic_programming_is_of_second_order() -> None:
    """Four times the cells, at least ten times closer (L1 from where nothing is interpolated)."""
    case = CASES["L1"]
    errors = [
        abs(dynamic_programming(case.problem, case.utility, 2.0, n).value - 2.57325643)
        for n in (60, 240)
    ]
    assert errors[0] > 1e-5
    assert errors[1] < errors[0] / 10


def test_owning_all_stakes_is_the_most_one_can() -> None:
    """Buying at P₀ = 0.3 is a bargain; from 9.9 of 10 the agent buys up to N and then holds.

    The share 1 is reached when 0.2 ∫du/N = 0.01; then rewards keep it. By hand: the value is
    Ψ(0) x + 0.2 ∫(Ψ − 0.3) up to that time, with N = (100 + t)^½.
    """
    problem = StakeProblem(PowerIssuance(10.0, 0.5), GeometricPrice(0.3, 0.1))
    utility = Utility(0.08, 0.9)
    full = (10 + 0.01 / 0.2 / 2) ** 2 - 100
    plan = solve(problem, utility, 9.9)
    assert plan.regime == "buy-then-hold"
    assert plan.switch_times == pytest.approx([full], abs=1e-4)

    n = lambda t: (100 + t) ** 0.5  # noqa: E731
    end = lambda t: exp(-0.1 * t)  # noqa: E731

    def psi(t: float) -> float:
        return (0.9 * end(5) * n(5) + 0.08 * quad(lambda s: end(s) * n(s), t, 5)[0]) / n(t)

    known = psi(0) * 9.9 + 0.2 * quad(lambda t: psi(t) - 0.3, 0, full)[0]
    assert plan.value == pytest.approx(known, abs=2e-7)
    assert float(share(problem, plan, torch.tensor([5.0]).double())) == pytest.approx(1, abs=1e-9)
    # and the solver for any utility, which meets the share 1 to within a cell
    other = solve(problem, replace(utility, shape=power(1.0)), 9.9)
    assert not other.exact
    assert other.value == pytest.approx(known, abs=2e-3)


def test_a_falling_price_with_a_nearly_empty_account_needs_the_linear_program() -> None:
    """L9 sells and then buys; from 0.1 stakes it must stop at nothing, and buy later.

    By hand: sell for 0.5, hold nothing until Ψ = p at 1.9110848, buy until the end. N is constant
    and nothing runs, so Ψ = 0.9 e^(−½) and p = 0.8 e^(−0.2 t).
    """
    case = CASES["L9"]
    plan = solve(case.problem, case.utility, 0.1)
    psi = 0.9 * exp(-0.5)
    p = lambda a, b: 4 * (exp(-0.2 * a) - exp(-0.2 * b))  # noqa: E731
    turn = 1.9110848
    known = 0.2 * p(0, 0.5) + 0.2 * (psi * (5 - turn) - p(turn, 5))
    assert plan.regime == "sell-then-hold-then-buy"
    assert plan.switch_times == pytest.approx([0.5, turn], abs=0.0026)
    assert plan.value == pytest.approx(known, abs=2e-7)


def test_phases_are_read_off_rates_with_a_mixed_piece_between() -> None:
    """A cell that buys for a quarter and sells for the rest is a switch inside it."""
    edges = torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]).double()
    plan = Strategy(1.0, edges, torch.tensor([0.2, 0.2, -0.1, -0.2]).double(), 0.2, 0.0)
    assert plan.phases == [("buy", 0.0), ("sell", pytest.approx(2.25))]
    single = Strategy(1.0, edges[:2], torch.tensor([0.0]).double(), 0.2, 0.0)
    assert (single.regime, single.switch_times) == ("hold", [])


def test_a_linear_program_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failed:
        success, message = False, "no luck"

    monkeypatch.setattr(stake_solvers, "linprog", lambda *_, **__: Failed())
    case = CASES["L1"]
    with pytest.raises(RuntimeError, match="program of 2000 cells was not solved: no luck"):
        linear_program(case.problem, case.utility, 2.0)


def test_who_owns_all_stakes_holds_until_it_is_time_to_sell() -> None:
    """L1 from 9.9 of 10 stakes: buy until 10 (e^0.05 − 1), hold, sell from the switch of L1 on.

    By hand: J = Ψ(0) x + ∫ν (Ψ − p), Ψ from its definition by quadrature.
    """
    case = CASES["L1"]
    full, turn = 10 * (exp(0.05) - 1), 2.54812699
    plan = solve(case.problem, case.utility, 9.9)
    assert plan.regime == "buy-then-hold-then-sell"
    assert plan.switch_times == pytest.approx([full, turn], abs=0.0026)

    def gap(t: float) -> float:
        still = quad(lambda s: exp(-0.1 * s) * (10 + s), t, 5)[0]
        return (0.9 * exp(-0.5) * 15 + 0.08 * still) / (10 + t) - 0.8

    known = (gap(0) + 0.8) * 9.9 + 0.2 * (quad(gap, 0, full)[0] - quad(gap, turn, 5)[0])
    assert plan.value == pytest.approx(known, abs=2e-7)
