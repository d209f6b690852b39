"""Stake trading as an environment: the known rule earns the known value, and limits hold."""

import pytest
import torch

from scoreward.core.keys import Key
from scoreward.studies.control.cpg import CPG
from scoreward.studies.control.cppo import CPPO
from scoreward.studies.control.critics import LinearCritic
from scoreward.studies.control.learner import Learner, PathSampling
from scoreward.studies.control.normal import Normal
from scoreward.studies.control.policies import LinearPolicy, mean_action
from scoreward.studies.control.sde import Policy, begin, collect, returns
from scoreward.studies.stake.environment import StakeTrading, following, watching
from scoreward.studies.stake.optimum import solve
from scoreward.studies.stake.proof_of_stake import GeometricPrice
from tests.control.stake_cases import CASES, Case
from tests.support.matrix import long

KEY = Key((0,))


def environment(
    case: Case, volatility: float = 0.0, settle: float = 0.02, spread: float = 0.0
) -> StakeTrading:
    return StakeTrading(
        issuance=case.problem.issuance,
        price=GeometricPrice(case.price, case.growth, volatility),
        utility=case.utility,
        stakes=case.x,
        rate=case.rate,
        horizon=5.0,
        discount=0.1,
        settle=settle,
        spread=spread,
    )


def always(rate: float) -> Policy:
    return lambda x, t: Normal(torch.full_like(x[:, :1], rate), x.new_zeros(1, 1, 1))


def earned(env: StakeTrading, policy: Policy, steps: int, paths: int = 1) -> torch.Tensor:
    return returns(env, policy, begin(env, paths, KEY), steps, 5.0 / steps, KEY)


@pytest.mark.parametrize("name", ["L1", long("L2"), long("L3"), long("L4"), "L6", long("C4")])
def test_the_optimal_strategy_earns_the_optimal_value(name: str) -> None:
    """[pos-trading] (SDE): up to the first-order error of the step, which extrapolation removes."""
    case = CASES[name]
    policy = following(solve(case.problem, case.utility, case.x))
    coarse, fine = (
        float(earned(environment(case, settle=5 / steps), policy, steps)) - case.value
        for steps in (100, 200)
    )
    assert abs(fine) < 0.02
    # a switch is moved to the next step, which shows where everything must be sold in time (L6)
    assert abs(2 * fine - coarse) < (5e-3 if name == "L6" else 2e-3)


def test_the_price_adaptive_rule_earns_its_value() -> None:
    """4000 paths, six standard errors and the step; better than any rule that does not look."""
    env = environment(CASES["L1"], volatility=0.5)
    found = earned(env, watching(env), 100, 4000)
    error = 6 * float(found.std()) / 4000**0.5
    assert error < 0.2
    assert float(found.mean()) == pytest.approx(2.89825876, abs=error + 0.02)
    assert float(found.mean()) - error > CASES["L1"].value


def test_without_volatility_the_adaptive_rule_is_the_optimal_strategy() -> None:
    env = environment(CASES["L1"])
    plan = following(solve(CASES["L1"].problem, env.utility, 2.0))
    # the one step in which the strategy switches is decided at its start
    assert float(earned(env, watching(env), 100)) == pytest.approx(
        float(earned(env, plan, 100)), abs=1e-4
    )


def test_rates_beyond_the_limit_are_cut() -> None:
    env = environment(CASES["L1"])
    assert float(earned(env, always(9.0), 50)) == float(earned(env, always(0.2), 50))
    assert float(earned(env, always(-9.0), 50)) == float(earned(env, always(-0.2), 50))


def test_nothing_is_sold_that_is_not_owned() -> None:
    """Selling without end from 0.4 stakes (L6) earns what was published for selling until empty."""
    env = environment(CASES["L6"], settle=0.0125)
    assert float(earned(env, always(-0.2), 400)) == pytest.approx(0.36277430, abs=3e-3)
    rows, _ = collect(env, always(-0.2), begin(env, 1, KEY), 240, 0.0125, KEY)
    assert (rows.next[:, 0] >= 0).all()
    empty = torch.tensor([[0.0]]).double()
    t = torch.zeros(1).double()
    assert float(env.reward(empty, torch.tensor([[-0.2]]).double(), t)) == 0
    assert float(env.traded(torch.tensor([[1.0]]).double(), torch.tensor([[0.2]]).double(), t)) == 0


def test_buying_a_little_and_selling_more_is_no_money_machine() -> None:
    """Cash from trades and stakes never exceeds what the price of the shares bought allows.

    Alternating from nothing at a flat valuation and without utility must not earn anything.
    """
    case = Case("flat", 0, 0.0, 0.0, 1.0, 0.1, 0.0, (), "", 0.0)
    env = environment(case, settle=0.05)

    def alternate(x: torch.Tensor, t: torch.Tensor) -> Normal:
        odd = (torch.round(t / 0.05) % 4) > 0
        return Normal(torch.where(odd, -0.2, 0.02).double()[:, None], x.new_zeros(1, 1, 1))

    assert float(earned(env, alternate, 100)) < 1e-12


def test_the_price_is_a_martingale_around_its_mean() -> None:
    """M = P/E P has mean 1 and E log M = −σ²t/2; 20 000 paths, six standard errors."""
    env = environment(CASES["L1"], volatility=0.4)
    paths = begin(env, 20_000, KEY)
    rows, _ = collect(env, always(0.0), paths, 50, 0.02, KEY)
    last = rows.next.reshape(50, 20_000, 2)[-1, :, 1]
    still = rows.t.reshape(50, 20_000)[-1] > 0.97  # not restarted on the way
    last = last[still]
    error = 6 / len(last) ** 0.5
    assert float(last.mean()) == pytest.approx(1, abs=error * 0.42)
    assert float(last.log().mean()) == pytest.approx(-0.08, abs=error * 0.4 + 2e-3)
    assert float(last.log().std()) == pytest.approx(0.4, rel=error)


def test_paths_start_where_they_should() -> None:
    """At x, or uniformly around it: mean and variance of 10 000 starts, six standard errors."""
    assert begin(environment(CASES["L1"]), 3, KEY).x.tolist() == [[0.2]] * 3
    around = begin(environment(CASES["L1"], spread=1.0), 10_000, KEY).x[:, 0]
    assert float(around.min()) > 0.1
    assert float(around.max()) < 0.3
    assert float(around.mean()) == pytest.approx(0.2, abs=6 * 0.0577 / 100)
    assert float(around.std()) == pytest.approx(0.2 / 12**0.5, rel=0.03)


def test_a_problem_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="`settle` must be positive, got 0"):
        environment(CASES["L1"], settle=0.0)
    with pytest.raises(ValueError, match="`spread` must not lead below 0 or above"):
        environment(CASES["L1"], spread=2.5)
    case = CASES["L1"]
    with pytest.raises(ValueError, match=r"must not exceed N\(0\) = 10"):
        StakeTrading(
            issuance=case.problem.issuance,
            price=case.problem.price,
            utility=case.utility,
            stakes=11.0,
            horizon=5.0,
            discount=0.1,
        )


def powers(t: torch.Tensor) -> torch.Tensor:
    return torch.stack([(t / 5) ** k for k in range(4)], 1)


def judged(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    return torch.cat([powers(t) * (x[:, :1] / 0.2) ** k for k in range(3)], 1)


@pytest.mark.long
@pytest.mark.parametrize("update", [CPG(), CPPO(radius=0.1, epochs=5)], ids=["CPG", "CPPO"])
def test_learning_comes_near_the_optimum(update: CPG | CPPO) -> None:
    """L1 from a policy that holds: nine tenths of what there is to gain, in 20 small rounds.

    What the learned mean earns is measured on the same time steps as the optimal strategy.
    """
    env = environment(CASES["L1"], settle=0.1, spread=1.0)
    policy = LinearPolicy(4, 1, variance=0.04, features=lambda x, t: powers(t))
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.05)
    critic = LinearCritic(judged, memory=0.8)
    learner = Learner(env, policy, critic, update, optimizer, PathSampling(64, 50, 0.1), seed=0)
    for _ in range(20):
        learner.step()
    still = environment(CASES["L1"], settle=0.1)
    best = following(solve(env.problem, env.utility, 2.0))
    hold, learned, known = (
        float(earned(still, policy, 50)) for policy in (always(0.0), mean_action(policy), best)
    )
    assert hold < known - 0.1
    assert learned > known - 0.1 * (known - hold)
