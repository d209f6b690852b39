"""Controlled SDEs: laws of steps, the occupation law, horizons, realised objectives."""

from dataclasses import replace
from math import exp
from time import perf_counter

import pytest
import torch
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.studies.control import lq, problems
from scoreward.studies.control.normal import Normal
from scoreward.studies.control.policies import LinearPolicy, mean_action
from scoreward.studies.control.sde import (
    Paths,
    advance,
    begin,
    collect,
    returns,
    step,
)
from tests.control.clock import Clock

KEY = Key(("sde",))


def linear(gain: list[list[float]], intercept: list[float], variance: float) -> LinearPolicy:
    policy = LinearPolicy(len(gain[0]) + 1, len(gain), variance)
    weight = torch.cat([torch.tensor(gain), torch.tensor(intercept)[:, None]], 1)
    policy.weight.data = weight.double()
    return policy


def exact(policy: LinearPolicy) -> lq.LinearGaussian:
    factor, weight = policy.factor().detach(), policy.weight.detach()
    return lq.LinearGaussian(weight[:, :-1], weight[:, -1], factor @ factor.T)


def one(x: Tensor, t: Tensor) -> Normal:
    return Normal(torch.ones_like(x), x.new_zeros(1, 1, 1))


def test_a_step_of_the_matrix_problem_is_the_gaussian_of_its_coefficients() -> None:
    """Mean x + (Ax + Ba) dt, covariance dt Σ_j (C_j x + D_j a)(C_j x + D_j a)ᵀ, with two noises."""
    env = problems.matrix()
    env = replace(env, C=torch.cat([env.C, 2 * env.C]), D=torch.cat([env.D, -env.D]))
    x, a = KEY.normal(3, 2, dtype=torch.float64), (KEY / "a").normal(3, 2, dtype=torch.float64)
    law = step(env, x, a, torch.zeros(3).double(), 0.01)
    for i in range(3):
        mean = x[i] + 0.01 * (env.A @ x[i] + env.B @ a[i])
        noise = [C @ x[i] + D @ a[i] for C, D in zip(env.C, env.D)]
        torch.testing.assert_close(law.mean[i], mean)
        covariance = 0.01 * sum(torch.outer(s, s) for s in noise)
        torch.testing.assert_close(law.factor[i] @ law.factor[i].T, covariance)


def test_restarted_paths_follow_the_occupation_law() -> None:
    """[ct-policy-opt] (occupation): time averages against the closed-form moments.

    8000 paths of 12 time units, first 6 left out; Euler's bias at dt = 0.02 is below 0.01 here.
    Standard errors are about 0.004 and 0.006; the limits are wider than five of them.
    """
    env, policy = problems.l2(), linear([[-0.4]], [0.1], 0.3)
    _, paths = collect(env, policy, begin(env, 8000, KEY), 300, 0.02, KEY / "burn")
    rows, _ = collect(env, policy, paths, 300, 0.02, KEY / "stay")
    mean, square = lq.moments(env, exact(policy))
    assert rows.x.mean().item() == pytest.approx(mean.item(), abs=0.02)
    assert (rows.x**2).mean().item() == pytest.approx(square.item(), abs=0.04)
    assert rows.cut.double().mean().item() == pytest.approx(1 - exp(-0.016), rel=0.05)
    assert rows.t.mean().item() == pytest.approx(1 / 0.8, rel=0.05)  # ages are exponential


def test_the_realised_objective_is_the_value_of_the_policy() -> None:
    """Monte Carlo against policy evaluation, entropy included; matrix problem, 6 standard errors.

    5000 paths to time 9 (what is left is worth e^(−6.3)); Euler's bias at dt = 0.03 is < 0.01.
    """
    env, policy = problems.matrix(), linear([[-0.3, 0.1], [0.0, -0.2]], [0.1, -0.1], 0.2)
    total = returns(env, policy, begin(env, 5000, KEY), 300, 0.03, KEY / "r")
    error = (total.std() / len(total) ** 0.5).item()
    value = lq.objective(env, exact(policy)).item()
    assert total.mean().item() == pytest.approx(value, abs=6 * error + 0.01)
    assert error < 0.02


def test_a_horizon_pays_once_and_starts_anew() -> None:
    env = Clock(discount=0.5, horizon=1.0)
    rows, paths = collect(env, one_with_density, begin(env, 2, KEY), 10, 0.1, KEY)
    ended = rows.ended.reshape(10, 2)
    assert ended.sum(0).tolist() == [1, 1]
    assert ended[-1].all()
    assert (rows.bonus.reshape(10, 2)[-1] == rows.next.reshape(10, 2, 1)[-1, :, 0]).all()
    assert (paths.t == 0).all()
    assert (paths.x == 0).all()


def one_with_density(x: Tensor, t: Tensor) -> Normal:
    return Normal(torch.ones_like(x), x.new_full((1, 1, 1), 1e-9))


def test_time_is_an_argument_and_the_terminal_reward_is_discounted() -> None:
    """x(1) = Σ t dt = 0.45 at dt = 0.1, and the reward is Σ e^(−t/2) t dt."""
    env = Clock(discount=0.5, horizon=1.0)
    total = returns(env, one, begin(env, 3, KEY), 10, 0.1, KEY)
    running = sum(0.1 * k * exp(-0.05 * k) * 0.1 for k in range(10))
    expected = torch.full((3,), running + exp(-0.5) * 0.45).double()
    torch.testing.assert_close(total, expected)


def test_states_are_confined_after_every_step() -> None:
    env = Clock(discount=0.0, horizon=1.0, roof=0.2)
    rows, _ = collect(env, one_with_density, begin(env, 2, KEY), 10, 0.1, KEY)
    assert rows.next.max().item() == 0.2
    assert returns(env, one, begin(env, 2, KEY), 10, 0.1, KEY)[0].item() == pytest.approx(0.65)


def test_the_mass_is_the_integral_of_the_discount() -> None:
    assert Clock(discount=0.5).mass == 2
    assert Clock(discount=0.5, horizon=2.0).mass == pytest.approx((1 - exp(-1)) / 0.5)
    assert Clock(discount=0.0, horizon=2.0).mass == 2
    assert Clock(discount=0.0).mass == 1
    assert Clock(discount=0.0).ergodic
    assert not Clock(discount=0.0, horizon=2.0).ergodic


def test_the_same_key_gives_the_same_paths_and_another_key_others() -> None:
    env, policy = problems.l1(), linear([[-0.4]], [-0.7], 0.1)
    first, _ = collect(env, policy, begin(env, 9, KEY), 5, 0.1, KEY)
    again, _ = collect(env, policy, begin(env, 9, KEY), 5, 0.1, KEY)
    other, _ = collect(env, policy, begin(env, 9, KEY), 5, 0.1, KEY / "other")
    assert torch.equal(first.next, again.next)
    assert not torch.equal(first.next, other.next)


def test_actions_and_noise_of_a_step_are_independent() -> None:
    """Correlation over 10⁵ paths below 6/√n, though both are standard normal draws of one step."""
    env, count = problems.l3(), 100_000  # a moves the state, nothing else does
    env = replace(env, D=torch.zeros(1, 1, 1).double(), C=torch.ones(1, 1, 1).double())
    paths = Paths(torch.ones(count, 1).double(), torch.zeros(count).double())
    row, _ = advance(env, linear([[0.0]], [0.0], 1.0), paths, 0.01, KEY)
    shock = (row.next - row.x - 0.01 * row.action)[:, 0]
    assert abs(torch.corrcoef(torch.stack([shock, row.action[:, 0]]))[0, 1].item()) < 6 / count**0.5


def test_two_steps_worked_out_by_hand() -> None:
    """dX = a dt + X dW, r = −(x² + a²)/2, a ~ N(0, 1), two steps of 1 from x = 1, discount 1.

    E x₁² = 1 + 1 + 1, so E = −(1 + 1)/2 − e⁻¹ (3 + 1)/2; if noise and action were one: E x₁² = 5.
    """
    env, count = problems.l3(), 200_000
    env = replace(env, C=torch.ones(1, 1, 1).double(), temperature=0.0)
    paths = Paths(torch.ones(count, 1).double(), torch.zeros(count).double())
    total = returns(env, linear([[0.0]], [0.0], 1.0), paths, 2, 1.0, KEY)
    error = (total.std() / count**0.5).item()
    assert total.mean().item() == pytest.approx(-1 - 2 * exp(-1), abs=6 * error)


def test_the_mean_policy_has_no_noise() -> None:
    policy = linear([[-0.4]], [0.1], 0.3)
    x = torch.tensor([[2.0], [0.0]]).double()
    law = mean_action(policy)(x, torch.zeros(2).double())
    torch.testing.assert_close(law.sample(torch.ones(2, 1).double()), -0.4 * x + 0.1)


def test_simulation_is_fast() -> None:
    """A hundredth of 10⁵ paths × 10³ steps; the limit is 20 s for all of it, so 0.2 s × 5 of slack.

    The whole takes about 4 s on one core.
    """
    env, policy = problems.l1(), linear([[-0.4]], [-0.7], 0.1)
    paths = begin(env, 10_000, KEY)
    returns(env, policy, paths, 5, 0.01, KEY)
    start = perf_counter()
    returns(env, policy, paths, 100, 0.01, KEY)
    assert perf_counter() - start < 1.0


def test_bad_problems_and_steps_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="discount >= 0, temperature >= 0 and horizon > 0, got -1"):
        Clock(discount=-1.0)
    with pytest.raises(ValueError, match="`dt` must be positive, got 0"):
        collect(Clock(discount=1.0), one, begin(Clock(discount=1.0), 1, KEY), 1, 0.0, KEY)
    env = Clock(discount=1.0, horizon=1.0)
    with pytest.raises(ValueError, match=r"not a whole number of steps of 0\.3; take dt = 0\.33"):
        collect(env, one, begin(env, 1, KEY), 1, 0.3, KEY)
