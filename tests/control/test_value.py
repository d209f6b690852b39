"""Critics: the increments that have mean zero, what each way of learning finds, and the trap."""

from math import exp
from typing import Literal

import pytest
import torch
from torch import Tensor

from scoreward.core import value
from scoreward.core.keys import Key
from scoreward.studies.control import lq, problems, scalar_lq
from scoreward.studies.control.critics import LinearCritic, NetworkCritic, excess, quadratic, rates
from scoreward.studies.control.lq import LinearGaussian
from scoreward.studies.control.policies import LinearPolicy, mlp
from scoreward.studies.control.sde import Environment, PathSteps, begin, collect
from tests.control.clock import Clock
from tests.support.matrix import long

KEY = Key(("value",))
GAIN, INTERCEPT, VARIANCE = -0.2, -0.3, exp(-1)
EXACT = (-0.5676, -0.2270, 0.1041)


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def policy(variance: float = VARIANCE) -> LinearPolicy:
    result = LinearPolicy(2, 1, variance)
    result.weight.data = double([[GAIN, INTERCEPT]])
    return result


def sample(env: Environment, dt: float, time: float = 1.0, paths: int = 4000) -> PathSteps:
    """Transitions of L1's policy, from paths that have forgotten their start."""
    coarse = max(dt, 0.03)
    _, settled = collect(env, policy(), begin(env, paths, KEY), round(4 / coarse), coarse, KEY)
    return collect(env, policy(), settled, round(time / dt), dt, KEY / "rows")[0]


def coefficients(weights: Tensor) -> list[float]:
    """(k2, k1, k0) from the weights of 1, x, x²."""
    return [2 * weights[2].item(), weights[1].item(), weights[0].item()]


def test_the_printed_exact_value_of_the_policy() -> None:
    found = scalar_lq.evaluate(
        problems.L1, scalar_lq.ScalarPolicy(double(GAIN), double(INTERCEPT), double(VARIANCE))
    )
    numbers = [found.k2.item(), found.k1.item(), found.k0.item()]
    assert numbers == pytest.approx(EXACT, abs=6e-5)


def test_orthogonality_finds_the_value() -> None:
    """[ct-policy-opt] (LSTD) at dt = 0.01; printed (−0.5647, −0.2304, 0.1024) of another sample.

    Standard errors over seeds are about 0.008, 0.008 and 0.012 at this size.
    """
    env = problems.l1()
    rows = sample(env, 0.01)
    critic = LinearCritic()
    critic.fit(env, rows, 4000, KEY)
    assert critic.weights is not None
    assert coefficients(critic.weights) == pytest.approx(EXACT, abs=0.045)


@pytest.mark.parametrize(
    ("dt", "flat"),
    [
        (0.1, (-0.1817, -0.0491, -0.0060)),
        (0.03, (-0.0606,)),
        (0.01, (-0.0204,)),
        (0.003, (-0.0060,)),
    ],
)
def test_the_squared_error_flattens_the_value(dt: float, flat: tuple[float, ...]) -> None:
    """[ct-policy-opt] (TD trap): printed minimisers; k2 should be −0.5676 for every dt."""
    env = problems.l1()
    rows = sample(env, dt, time=max(0.6, 20 * dt))
    phi, later = quadratic(rows.x, rows.t), quadratic(rows.next, rows.t)
    weights = value.squared_td_error_trap(phi, later, rates(env, rows), env.discount, dt)
    found = coefficients(weights)
    assert found[0] == pytest.approx(flat[0], rel=0.1)
    if len(flat) > 1:
        assert found == pytest.approx(flat, abs=0.02)
    change = exp(-dt) * later - phi  # a quadratic form: the minimiser beats its neighbours
    best, *others = [
        ((change @ (weights + s) + rates(env, rows) * dt) ** 2).mean().item()
        for s in (0.0, 0.02, -0.02)
    ]
    assert all(best < other for other in others)


def test_the_increment_of_the_true_value_has_mean_zero_for_each_state() -> None:
    """[ct-policy-opt] (martingale): regressed on 1, x, x², nothing is left; 6 standard errors."""
    env = problems.l1()
    rows = sample(env, 0.003, time=0.5)
    exact = lq.evaluate(
        env, LinearGaussian(double([[GAIN]]), double([INTERCEPT]), double([[VARIANCE]]))
    )
    delta = value.increment(
        exact(rows.x), exact(rows.next), rates(env, rows), env.discount, rows.dt
    )
    tested = delta[:, None] * quadratic(rows.x, rows.t)
    assert (tested.mean(0).abs() < 6 * tested.std(0) / len(tested) ** 0.5 + 3e-6).all()
    shifted = value.increment(
        exact(rows.x) + 1, exact(rows.next) + 1, rates(env, rows), env.discount, rows.dt
    )
    assert abs(shifted.mean() + 0.003) < 6 * shifted.std() / len(shifted) ** 0.5  # −β dt


def test_the_advantage_rate_is_the_generator() -> None:
    """[ct-policy-opt] (advantage rate): averaged over noise, q̂ is L^a V + r − βV.

    L2, V = exact quadratic, one (x, a), the average taken by Gauss–Hermite; error O(dt).
    """
    env, dt = problems.l2(), 1e-4
    exact, _ = lq.optimum(env)
    nodes, weights = torch.tensor([-(3**0.5), 0.0, 3**0.5]).double(), double([1 / 6, 2 / 3, 1 / 6])
    x, a = double([[0.7]] * 3), double([[-0.3]] * 3)
    t = torch.zeros(3).double()
    moved = x + env.drift(x, a, t) * dt + env.diffusion(x, a, t)[:, :, 0] * dt**0.5 * nodes[:, None]
    q = value.advantage_rate(exact(x), exact(moved), env.reward(x, a, t), env.discount, dt)
    k2, k1 = exact.K.item(), exact.k.item()
    diffusion = 0.2 * 0.7 + 0.3 * -0.3
    reward = -(0.5 * 0.49 + 0.1 * 0.7 * -0.3 + 0.5 * 0.09 + 0.2 * 0.7 - 0.3 * -0.3)
    drift = (-0.5 * 0.7 - 0.3) * (k2 * 0.7 + k1)
    expected = drift + 0.5 * diffusion**2 * k2 + reward - 0.8 * exact(x)[0].item()
    assert (weights * q).sum().item() == pytest.approx(expected, abs=1e-4)


def test_q_learning_conditions_hold_for_the_optimum() -> None:
    """[q-learning] (martingale), [q-learning] (normalisation): at the optimum q = γ log π*.

    δ_q has mean zero given (x, a), so it is orthogonal to functions of both; 6 standard errors.
    """
    env = problems.l1()
    exact, best = lq.optimum(env)
    optimal = LinearPolicy(2, 1, best.covariance.item())
    optimal.weight.data = torch.cat([best.gain, best.intercept[:, None]], 1)
    rows, _ = collect(env, optimal, begin(env, 4000, KEY), 100, 0.01, KEY)
    q = env.temperature * rows.log_prob
    delta = value.q_increment(
        exact(rows.x), exact(rows.next), rows.reward, q, env.discount, rows.dt
    )
    features = quadratic(torch.cat([rows.x, rows.action], 1), rows.t)
    tested = delta[:, None] * features
    assert (tested.mean(0).abs() < 6 * tested.std(0) / len(tested) ** 0.5 + 2e-5).all()
    assert value.q_excess(q, rows.log_prob, env.temperature).abs().max() == 0
    without = value.q_increment(
        exact(rows.x), exact(rows.next), rows.reward, 0 * q, env.discount, rows.dt
    )
    wrong = without * (rows.log_prob - rows.log_prob.mean())
    assert abs(wrong.mean()) > 6 * wrong.std() / len(wrong) ** 0.5  # q is needed


def test_q_learning_on_policy_moves_along_the_policy_gradient() -> None:
    """[q-learning] (martingale): with q = γ log π, ∇q δ_q / dt is γ ∇log π (q̂ − γ log π)."""
    v, later, rate, log_prob = (KEY / "abc").normal(4, 50, dtype=torch.float64)
    delta = value.q_increment(v, later, rate, 0.2 * log_prob, 0.7, 0.01)
    q_hat = value.advantage_rate(v, later, rate, 0.7, 0.01)
    torch.testing.assert_close(delta / 0.01, value.q_excess(q_hat, log_prob, 0.2))


def test_the_orthogonality_loss_has_the_semi_gradient() -> None:
    """[ct-policy-opt] (TD orthogonality): −mean ∇V δ/dt, nothing through V(x')."""
    phi, later = (KEY / "phi").normal(2, 20, 3, dtype=torch.float64)
    rate = (KEY / "rate").normal(20, dtype=torch.float64)
    weights = double([0.3, -0.2, 0.5]).requires_grad_()
    value.orthogonality_loss(phi @ weights, later @ weights, rate, 0.7, 0.02).backward()
    w = weights.detach()
    delta = exp(-0.7 * 0.02) * later @ w - phi @ w + rate * 0.02
    expected = -(phi * delta[:, None]).mean(0) / 0.02
    torch.testing.assert_close(weights.grad, expected)


def test_lstd_makes_increments_orthogonal_to_the_features() -> None:
    """[ct-policy-opt] (LSTD): Σ φ δ = 0 at the solution, terms of size 1."""
    phi, later = (KEY / "lstd").normal(2, 200, 3, dtype=torch.float64)
    rate = (KEY / "rate").normal(200, dtype=torch.float64)
    system, right = value.lstd_system(phi, later, rate, 0.7, 0.02)
    weights = value.solve_lstd(system, right, phi.mean(0), ergodic=False, ridge=0).weights
    delta = value.increment(phi @ weights, later @ weights, rate, 0.7, 0.02)
    torch.testing.assert_close(phi.T @ delta, torch.zeros(3).double(), rtol=0, atol=1e-7)


def test_the_ergodic_critic_finds_the_average_reward() -> None:
    """Average reward 0.13… of a fixed policy, and relative value; 0.02 is five standard errors."""
    env = problems.ergodic()
    rows = sample(env, 0.01)
    critic = LinearCritic()
    critic.fit(env, rows, 4000, KEY)
    assert critic.weights is not None
    exact = lq.evaluate(
        env, LinearGaussian(double([[GAIN]]), double([INTERCEPT]), double([[VARIANCE]]))
    )
    assert critic.average.item() == pytest.approx(exact.c.item(), abs=0.03)
    found = coefficients(critic.weights)
    assert found == pytest.approx((exact.K.item(), exact.k.item(), 0), abs=0.06)


def test_returns_stop_where_a_path_is_cut() -> None:
    """Written out by hand: three steps, the second of path 1 is the end of its piece."""
    rate, later = double([[1.0, 2], [3, 4], [5, 6]]), double([[10.0, 20], [30, 40], [50, 60]])
    cut = torch.tensor([[False, False], [False, True], [False, False]])
    d, h = exp(-0.05), 0.1
    found = value.realised(rate, later, cut, 0.5, h)
    last = [5 * h + d * 50, 6 * h + d * 60]
    middle = [3 * h + d * last[0], 4 * h + d * 40]
    first = [1 * h + d * middle[0], 2 * h + d * middle[1]]
    torch.testing.assert_close(found, double([first, middle, last]))


@pytest.mark.parametrize("fit_to", ["martingale loss", long("orthogonality")])
def test_a_network_learns_the_value(fit_to: Literal["martingale loss", "orthogonality"]) -> None:
    """[ct-policy-opt] (martingale loss): a network finds L1's value, by either way.

    15 time units in 20 rounds; what is left is mostly the noise of the last rounds.
    """
    torch.manual_seed(1)
    env, steps, paths = problems.l1(), 15, 1000 if fit_to == "martingale loss" else 400
    lr, epochs = (5e-3, 5) if fit_to == "martingale loss" else (3e-3, 15)
    critic = NetworkCritic(mlp(2, 1, width=32), fit_to, lr=lr, epochs=epochs, parts=4)
    where = begin(env, paths, KEY)
    for k in range(20):
        rows, where = collect(env, policy(), where, steps, 0.05, KEY / k)
        critic.fit(env, rows, paths, KEY / "fit" / k)
    x = torch.linspace(-1.2, 1.0, 45).double()[:, None]
    exact = lq.evaluate(
        env, LinearGaussian(double([[GAIN]]), double([INTERCEPT]), double([[VARIANCE]]))
    )(x)
    error = (critic(x, torch.zeros(45).double()).detach() - exact).square().mean()
    assert error < 0.15 * exact.var()


def test_a_critic_of_a_horizon_bootstraps_from_the_terminal_reward_alone() -> None:
    """At the horizon q̂ = r + (e^(−β dt) g(x') − V(x))/dt, whatever the critic says of x'."""
    env = Clock(discount=0.3, horizon=1.0)
    rows, _ = collect(env, LinearPolicy(2, 1, 0.1), begin(env, 9, KEY), 10, 0.1, KEY)
    critic = LinearCritic()
    critic.weights = double([5.0, 0, 0])
    found, end = excess(env, rows, critic), rows.ended
    assert 0 < end.sum() <= 9
    expected = rows.t[end] + (exp(-0.03) * rows.next[end, 0] - 5) / 0.1
    torch.testing.assert_close(found[end], expected)
    torch.testing.assert_close(found[~end], rows.t[~end] + 5 * (exp(-0.03) - 1) / 0.1)


def test_entropy_enters_the_rate() -> None:
    env = problems.l1()
    rows, _ = collect(env, policy(), begin(env, 5, KEY), 2, 0.1, KEY)
    torch.testing.assert_close(rates(env, rows), rows.reward - 0.1 * rows.log_prob)


def test_a_memory_outside_its_range_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`memory` must be in \[0, 1\), got 1"):
        LinearCritic(memory=1.0)
