"""Pair trading: printed numbers, the equations they solve, and simulation."""

from dataclasses import replace
from math import exp

import pytest
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.studies.control.normal import Normal
from scoreward.studies.control.pairs import Bet, LogPairs, PowerPairs
from scoreward.studies.control.sde import Policy, begin, returns

KEY = Key(("pairs",))


def test_log_wealth_for_ever() -> None:
    """[ct-policy-opt] (pairs, log): printed optimum, and a printed evaluation."""
    env = LogPairs()
    best = env.best()
    assert (best.intercept, best.slope, best.variance) == pytest.approx((1.3, -4, 0.16))
    assert env.value(best) == pytest.approx((0.4644201999, -0.7043650794, 0.8928571429), abs=6e-11)
    assert env.objective(best) == pytest.approx(0.5437852792, abs=6e-11)
    other = (0.3190096570, -0.4761904762, 0.6696428571)
    assert env.value(Bet(0.5, -2, 0.3)) == pytest.approx(other, abs=6e-11)


def test_no_other_bet_is_better() -> None:
    """The objective is stationary at the optimum, and lower on all sides."""
    env = LogPairs()
    best = env.best()
    for change in ({"intercept": 1.4}, {"slope": -3.9}, {"variance": 0.17}, {"variance": 0.15}):
        assert env.objective(replace(best, **change)) < env.objective(best)
    steps = (replace(best, slope=best.slope + h) for h in (1e-4, -1e-4))
    up, down = (env.objective(bet) for bet in steps)
    assert (up - down) / 2e-4 == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    ("power", "exponents", "value", "share"),
    [
        (-1.0, (-0.2000935254, 0.4634986516, -1.2038307799), -0.77688531, 0.88174933),
        (0.3, (0.1023396508, -0.2279811166, 0.5983941346), 3.78900154, 1.53145555),
    ],
)
def test_a_power_of_wealth_at_a_horizon(
    power: float, exponents: tuple[float, ...], value: float, share: float
) -> None:
    """[ct-policy-opt] (pairs, power): printed A, B, C, V(0, 1, −0.1) and h*(0, 0)."""
    env = PowerPairs(power=power)
    assert env.best_exponents(1.0) == pytest.approx(exponents, abs=6e-11)
    assert env.best(0.0).intercept == pytest.approx(share, abs=6e-9)
    assert env.objective(env.best) == pytest.approx(value, abs=6e-9)
    assert env.exponents(env.best, 1.0) == pytest.approx(exponents, abs=1e-10)


def test_the_optimum_solves_the_equation_of_dynamic_programming() -> None:
    """V_t + max_h generator = 0 for V = w^g/g exp(A + Bx + Cx²/2), by finite differences.

    [ct-policy-opt] (pairs, power); the generator is written out here.
    """
    env, g, d = PowerPairs(), -1.0, 1e-3

    def value(t: float, w: float, x: float) -> float:
        a, b, c = env.best_exponents(1 - t)
        return w**g / g * exp(a + b * x + 0.5 * c * x**2)

    t, w, x = 0.4, 1.3, 0.35
    v = {(i, j): value(t, w + i * d, x + j * d) for i in (-1, 0, 1) for j in (-1, 0, 1)}
    in_t = (value(t + d, w, x) - value(t - d, w, x)) / (2 * d)
    in_x, in_w = (v[0, 1] - v[0, -1]) / (2 * d), (v[1, 0] - v[-1, 0]) / (2 * d)
    in_xx = (v[0, 1] - 2 * v[0, 0] + v[0, -1]) / d**2
    in_ww = (v[1, 0] - 2 * v[0, 0] + v[-1, 0]) / d**2
    in_xw = (v[1, 1] - v[1, -1] - v[-1, 1] + v[-1, -1]) / (4 * d**2)

    def generator(h: float) -> float:
        margin = 1.0 * (0.2 - x) + 0.125
        drift = 1.0 * (0.2 - x) * in_x + w * (h * margin + 0.02) * in_w
        second = 0.5 * 0.25 * in_xx + 0.5 * h**2 * 0.25 * w**2 * in_ww + h * 0.25 * w * in_xw
        return in_t + drift + second

    bet = env.best(t)
    h = bet.intercept + bet.slope * x
    assert generator(h) == pytest.approx(0, abs=1e-5)
    assert generator(h + 0.1) < generator(h)
    assert generator(h - 0.1) < generator(h)


def rule(bet: Bet) -> Policy:
    def policy(x: Tensor, t: Tensor) -> Normal:
        factor = x.new_full((1, 1, 1), bet.variance**0.5)
        return Normal(bet.intercept + bet.slope * x[:, :1], factor)

    return policy


def test_simulated_log_wealth_earns_what_the_closed_form_says() -> None:
    """Monte Carlo to time 10 (e^(−8) is left), dt = 0.02; 6 standard errors and 0.01 for both."""
    env, bet = LogPairs(), Bet(0.5, -2, 0.3)
    total = returns(env, rule(bet), begin(env, 10_000, KEY), 500, 0.02, KEY / "log")
    error = (total.std() / len(total) ** 0.5).item()
    assert total.mean().item() == pytest.approx(env.objective(bet), abs=6 * error + 0.01)
    assert error < 0.02


def test_simulated_utility_is_what_the_odes_say_for_a_policy_that_explores() -> None:
    """[ct-policy-opt] (pairs, power): exploration costs as derived; 6 standard errors."""
    env, bet = PowerPairs(), Bet(0.5, -1.5, 0.4)
    total = returns(env, rule(bet), begin(env, 20_000, KEY), 100, 0.01, KEY / "power")
    error = (total.std() / len(total) ** 0.5).item()
    exact = env.objective(lambda t: bet)
    assert total.mean().item() == pytest.approx(exact, abs=6 * error + 0.002)
    quiet = env.objective(lambda t: replace(bet, variance=0.0))
    assert quiet - exact > 6 * error  # the test would notice exploration left out


def test_a_power_of_zero_or_one_is_refused() -> None:
    for power in (0.0, 1.0):
        with pytest.raises(ValueError, match="below 1 and not 0"):
            PowerPairs(power=power)


def test_utility_that_explodes_is_refused() -> None:
    with pytest.raises(ValueError, match="infinite before this horizon"):
        PowerPairs(horizon=2.0).exponents(lambda t: Bet(0.0, -20.0, 0.0), 2.0)
    with pytest.raises(ValueError, match=r"takes no discount, got 0\.1"):
        PowerPairs(discount=0.1)
