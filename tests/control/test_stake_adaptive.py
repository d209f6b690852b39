"""Trades that follow the realised price: the closed form against simulation and limits."""

import numpy as np
import pytest
import torch

from scoreward.core.keys import Key
from scoreward.studies.stake.adaptive import (
    PiecewiseLinear,
    adaptive_path,
    adaptive_value,
    drawn,
    mean_distance,
)
from scoreward.studies.stake.proof_of_stake import (
    GeometricPrice,
    OwnPrice,
    PowerIssuance,
    StakeProblem,
    Utility,
)
from tests.control.stake_cases import CASES

L1 = CASES["L1"]


def moving(sigma: float | torch.Tensor) -> StakeProblem:
    return StakeProblem(PowerIssuance(10.0, 1.0), GeometricPrice(0.8, 0.1, sigma))


def test_the_value_is_the_published_one_for_several_volatilities_at_once() -> None:
    """[pos-trading] (adaptive)"""
    sigma = torch.tensor([0.2, 0.5, 1.0], dtype=torch.float64)
    found = adaptive_value(moving(sigma), L1.utility, 2.0)
    assert found.tolist() == pytest.approx([2.66333969, 2.89825876, 3.26180816], abs=1e-8)
    assert float(adaptive_value(moving(0.2), L1.utility, 2.0)) == pytest.approx(
        2.66333969, abs=1e-8
    )


def test_without_volatility_it_is_the_value_of_the_mean_price() -> None:
    """And with hardly any it is hardly more, where the integrand bends sharply."""
    assert float(adaptive_value(moving(0.0), L1.utility, 2.0)) == pytest.approx(L1.value, abs=1e-8)
    assert 0 < float(adaptive_value(moving(0.01), L1.utility, 2.0)) - L1.value < 1e-3


def test_the_mean_distance_is_that_of_many_draws() -> None:
    """2·10⁶ antithetic draws; six standard errors, so wrong once in a million."""
    z = torch.from_numpy(np.random.RandomState(0).randn(1_000_000))
    z = torch.cat([z, -z])
    for forward, strike, s in ((1.0, 0.9, 0.3), (0.5, 1.0, 0.8), (2.0, 0.4, 0.1), (1.0, 0.0, 0.5)):
        draws = (strike - forward * torch.exp(s * z - s**2 / 2)).abs()
        error = 6 * float(draws.std()) / 1e3
        found = mean_distance(*(torch.tensor(v, dtype=torch.float64) for v in (forward, strike, s)))
        assert float(found) == pytest.approx(float(draws.mean()), abs=error)


def test_the_mean_over_drawn_paths_is_the_value() -> None:
    """[pos-trading] (adaptive): 100 paths of 100 steps; six standard errors and the time step."""
    problem = moving(0.5)
    paid = [drawn(problem, L1.utility, 2.0, Key((7,)) / i, cells=100)[1].value for i in range(100)]
    error = float(6 * np.std(paid) / 10)
    assert error < 1.0
    assert np.mean(paid) == pytest.approx(2.89825876, abs=error + 0.01)


def test_the_value_on_a_path_starts_at_the_value_and_ends_at_what_the_stakes_are_worth() -> None:
    seen, plan = drawn(moving(0.5), L1.utility, 2.0, Key((3,)), cells=300)
    path = adaptive_path(moving(0.5), L1.utility, seen, plan, 0.0)
    assert float(path.value[0]) == pytest.approx(2.89825876, abs=1e-8)
    assert float(path.value[-1]) == pytest.approx(
        float(np.exp(-0.5) * 0.9 * path.stakes[-1]), abs=1e-10
    )
    buys = plan.rates > 0
    below = path.price[:-1] <= path.kept[:-1]
    assert torch.equal(buys, below)
    assert 0 < int(buys.sum()) < len(buys)


@pytest.mark.long
def test_the_drawn_price_has_the_moments_of_geometric_brownian_motion() -> None:
    """log P(T) − log p₀ has mean (μ − σ²/2)T and variance σ²T; 200 paths, six standard errors."""
    problem = moving(0.5)
    logs = []
    for i in range(200):
        seen, _ = drawn(problem, L1.utility, 2.0, Key((9,)) / i, cells=20)
        first, last = seen.price.mean(torch.tensor([0.0, 5.0], dtype=torch.float64)).log()
        logs.append(float(last - first))
    assert np.mean(logs) == pytest.approx(0.1 * 5 - 0.625, abs=6 * 0.5 * (5 / 200) ** 0.5)
    assert np.var(logs) == pytest.approx(1.25, rel=6 * (2 / 200) ** 0.5)


def test_a_line_goes_through_its_points() -> None:
    line = PiecewiseLinear(
        torch.tensor([0.0, 1.0, 3.0]).double(), torch.tensor([1.0, 2.0, -2.0]).double()
    )
    assert line(torch.tensor([0.0, 0.5, 1.0, 2.0, 3.0]).double()).tolist() == [1, 1.5, 2, 0, -2]


def test_it_refuses_where_the_closed_form_does_not_hold() -> None:
    own = StakeProblem(PowerIssuance(10.0), OwnPrice(lambda t: 1 + 0 * t, 5.0))
    with pytest.raises(ValueError, match="needs a GeometricPrice with a volatility"):
        adaptive_value(own, L1.utility, 2.0)
    for x in (0.4, 9.5):
        with pytest.raises(
            ValueError, match=f"the share starts at {x / 10} and can move by 0.08109"
        ):
            adaptive_value(moving(0.5), Utility(0.08, 0.9), x)
