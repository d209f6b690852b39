"""The stake-trading model: issuance, prices, paths, the cash account, and what is refused."""

from math import exp
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from scoreward.studies.stake.optimum import solve
from scoreward.studies.stake.paths import bang, follow
from scoreward.studies.stake.proof_of_stake import (
    GeometricPrice,
    OwnIssuance,
    OwnPrice,
    PowerIssuance,
    StakeProblem,
    Utility,
    double,
    integrate,
    linear,
    power,
    square,
)
from tests.control.stake_cases import CASES

L1 = CASES["L1"]
NAN, INF = float("nan"), float("inf")


@settings(max_examples=40)
@given(st.floats(0.05, 4), st.floats(2, 1000), st.floats(0, 4), st.floats(0.01, 4))
def test_the_family_of_issuance_is_a_power_and_its_inverse_integrates(
    alpha: float, initial: float, start: float, width: float
) -> None:
    """[pos-trading] (issuance): N = (A + t)^α with A = N(0)^(1/α), and ∫du/N by quadrature."""
    issuance, a = PowerIssuance(initial, alpha), initial ** (1 / alpha)
    total = float(issuance.total(double(start)))
    assert total == pytest.approx((a + start) ** alpha, rel=1e-9)
    known = quad(lambda u: (a + u) ** -alpha, start, start + width)[0]
    found = float(issuance.bought(double(start), double(start + width)))
    assert found == pytest.approx(known, rel=1e-8)


def test_the_ends_of_the_family_have_their_limits() -> None:
    """α = 0 and tiny α are constant, α near 1 is the logarithm, without overflow or 0/0."""
    alpha = torch.tensor([0.0, 1e-9, 1 - 1e-9, 1.0, 1 + 1e-9], dtype=torch.float64)
    issuance = PowerIssuance(10.0, alpha)
    total = issuance.total(double(3.0))
    assert total.tolist() == pytest.approx([10, 10, 13, 13, 13], rel=1e-7)
    bought = issuance.bought(double(0.0), double(3.0))
    log = float(np.log(1.3))
    assert bought.tolist() == pytest.approx([0.3, 0.3, log, log, log], rel=1e-7)


def test_quadrature_is_exact_for_polynomials_and_takes_batches() -> None:
    start, end = torch.tensor([0.0, 1.0]).double(), torch.tensor([2.0, 4.0]).double()
    found = integrate(lambda t: t**5, start, end)
    assert found.tolist() == pytest.approx([64 / 6, (4096 - 1) / 6], rel=1e-14)
    assert float(integrate(lambda t: t, 3.0, 1.0)) == pytest.approx(-4)


def test_the_valuation_tells_the_three_attitudes_to_risk() -> None:
    """[pos-trading] (valuation): μ against β decides whether p is constant, rising or falling."""
    times = torch.tensor([0.0, 1.0, 4.0]).double()
    p = {
        growth: StakeProblem(PowerIssuance(10.0), GeometricPrice(0.8, growth, 0.3))
        for growth in (0.05, 0.1, 0.2)
    }
    assert p[0.1].valuation(times).tolist() == pytest.approx([0.8] * 3, rel=1e-14)
    assert p[0.2].valuation(times).tolist() == pytest.approx(
        [0.8, 0.8 * exp(0.1), 0.8 * exp(0.4)], rel=1e-14
    )
    assert [problem.rising() for problem in p.values()] == [False, True, True]


@pytest.mark.parametrize("r", [0.0, 0.04, 0.1])
def test_the_objective_is_the_same_whether_trades_are_paid_at_once_or_from_an_account(
    r: float,
) -> None:
    """[pos-trading] (cash): if cash is kept until T, J falls by (β − r) ∫ e^(−βt) b dt.

    The account pays r. Its b(T) is consumed at the end: e^(−βT) b(T) replaces −∫ e^(−βt) P ν dt.
    At r = β the two agree, below it saving is a loss while b > 0 and a gain while it is owed.
    """
    plan = solve(L1.problem, L1.utility, 2.0)
    path = follow(L1.problem, L1.utility, plan, interest=r, times=4001)
    rate = lambda t: 0.2 if t < plan.switch_times[0] else -0.2  # noqa: E731
    turn = plan.switch_times[0]
    spent = quad(lambda t: exp(-0.1 * t) * 0.8 * exp(0.1 * t) * rate(t), 0, 5, points=[turn])[0]
    b, t = path.cash.numpy(), path.t.numpy()
    held = np.trapezoid(np.exp(-0.1 * t) * b, t)
    assert exp(-0.5) * b[-1] == pytest.approx(-spent - (0.1 - r) * held, abs=1e-6)
    slope = np.gradient(b, t)  # b' = r b − P ν
    inside = np.abs(t - turn) > 0.01
    right = r * b - 0.8 * np.exp(0.1 * t) * np.array([rate(s) for s in t])
    np.testing.assert_allclose(slope[inside][1:-1], right[inside][1:-1], atol=1e-5)


def test_what_is_still_to_come_falls_to_what_the_stakes_are_worth_at_the_end() -> None:
    """[pos-trading] (objective): and in between it is the objective of the rest, by quadrature."""
    plan = solve(L1.problem, L1.utility, 2.0)
    path = follow(L1.problem, L1.utility, plan)
    assert float(path.value[0]) == pytest.approx(2.57325643, abs=1e-8)
    assert float(path.value[-1]) == pytest.approx(exp(-0.5) * 0.9 * 3.145523, abs=1e-6)
    i = int(torch.searchsorted(path.t, 4.0))
    assert float(path.stakes[i]) == pytest.approx(3.12900112, abs=1e-8)  # sells from before 4
    owned = lambda t: (10 + t) * (3.12900112 / 14 - 0.2 * np.log((10 + t) / 14))  # noqa: E731
    rest = quad(lambda t: exp(-0.1 * t) * 0.08 * owned(t) + 0.2 * 0.8, 4, 5)[0]
    assert float(path.value[i]) == pytest.approx(rest + exp(-0.5) * 0.9 * owned(5), abs=1e-7)


def test_times_of_a_path_hold_every_switch_once() -> None:
    plan = bang(L1.problem, L1.utility, 2.0, [1.23456], 1)
    path = follow(L1.problem, L1.utility, plan, times=11)
    assert path.t.tolist() == pytest.approx([0, 0.5, 1, 1.23456, *np.arange(1.5, 5.01, 0.5)])


def number(_: object) -> Any:
    return 10.0


def scalar(t: torch.Tensor) -> Any:
    return float(t)


def problem(**change: object) -> StakeProblem:
    fields: dict = {"issuance": PowerIssuance(10.0), "price": GeometricPrice(0.8)}
    return StakeProblem(**{**fields, **change})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: PowerIssuance(0.0), r"N\(0\) must be positive, got 0.0 stakes"),
        (lambda: PowerIssuance(10.0, -1.0), "`alpha` must not be negative, got -1.0: stakes are"),
        (lambda: PowerIssuance(0.5, 1e-4), "too small for alpha = 0.0001: count stakes in a smal"),
        (lambda: PowerIssuance(NAN), "`total` must be a finite number, got nan"),
        (lambda: GeometricPrice(-1.0), "the price must be positive, got -1.0"),
        (lambda: GeometricPrice(1.0, INF), "`growth` must be a finite number, got inf"),
        (lambda: GeometricPrice(1.0, 0.0, -0.1), "`volatility` must not be negative, got -0.1"),
        (lambda: problem(horizon=-5.0), "`horizon` must be positive, got -5.0"),
        (lambda: problem(rate=0.0), "`rate` must be positive, got 0.0"),
        (lambda: problem(discount=-0.1), "`discount` must not be negative, got -0.1"),
        (lambda: Utility(-0.1, 1.0), "`running` utility must not be negative, got -0.1"),
        (lambda: Utility(0.1, -1.0), "`terminal` utility must not be negative, got -1.0"),
        (lambda: problem().check_stakes(-1.0), "`stakes` must not be negative, got -1.0"),
        (lambda: problem().check_stakes(10.5), r"must not exceed N\(0\) = 10, all there are, got"),
        (lambda: problem().check_stakes(NAN), "`stakes` must be a finite number, got nan"),
        (lambda: OwnIssuance(lambda t: 10 - t, 5.0), "the issuance falls somewhere"),
        (lambda: OwnIssuance(lambda t: t - 1, 5.0), "must be positive; its least value is -1"),
        (lambda: OwnIssuance(lambda t: t.log(), 5.0), "the issuance is not finite everywhere on"),
        (lambda: OwnIssuance(number, 5.0), "of the same shape, .* and returned float"),
        (lambda: OwnIssuance(lambda t: t[:3], 5.0), r"and returned shape \(3,\)"),
        (lambda: OwnPrice(scalar, 5.0), "price could not be asked for a tensor"),
        (lambda: OwnPrice(lambda t: 1 - t, 5.0), "the price must be positive; its least value"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(make, sentence: str) -> None:  # noqa: ANN001
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize("interest", [-0.01, 0.11])
def test_interest_above_the_discount_is_refused(interest: float) -> None:
    plan = solve(L1.problem, L1.utility, 2.0)
    with pytest.raises(ValueError, match=r"`interest` must be between 0 and the discount 0\.1"):
        follow(L1.problem, L1.utility, plan, interest)


def test_a_utility_that_is_steep_at_zero_counts_as_smooth_and_a_jump_does_not() -> None:
    for shape in (linear, square, power(0.5), power(3.0)):
        assert Utility(1.0, 1.0, shape).smooth(15.0)
    for at in (0.004, 2.9, 14.0):
        assert not Utility(1.0, 1.0, lambda x, at=at: x + 3 * (x > at).double()).smooth(15.0)
