"""The linear-quadratic problem against printed numbers, finite differences and itself."""

from dataclasses import replace
from time import perf_counter

import pytest
import torch
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.studies.control import lq, problems, scalar_lq
from scoreward.studies.control.lq import LinearGaussian, Quadratic
from scoreward.studies.control.scalar_lq import Coefficients, ScalarPolicy

OPTIMA = {  # k2, k1, k0, gain, intercept, variance
    "L1": (-0.5351837585, -0.1055512755, 0.7191487416, -0.3944487245, -0.7888974491, 0.0394448725),
    "L1 with rho=.5": (
        *(-0.6489995997, -0.1633319989, 1.3661149946),
        *(-0.3775010008, -0.7550020016, 0.0377501001),
    ),
    "L2": (-0.4109799978, -0.1954051577, 0.0306084884, -0.5165331657, 0.1008640622, 0.1928662255),
    "L3": (-0.6180339887, 0, -0.0232354013, -0.6180339887, 0, 0.1),
    "ergodic": (
        *(-0.8228756555, -0.2915026221, 0.6333741715),
        *(-0.3542486889, -0.7084973779, 0.0354248689),
    ),
}
CASES = {
    "L1": problems.L1,
    "L1 with rho=.5": replace(problems.L1, discount=0.5),
    "L2": problems.L2,
    "L3": problems.L3,
    "ergodic": problems.ERGODIC,
}


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def numbers(value: Quadratic, policy: LinearGaussian) -> list[float]:
    parts = (value.K, value.k, value.c, policy.gain, policy.intercept, policy.covariance)
    return [part.item() for part in parts]


def gaussian(gain: float, intercept: float, variance: float) -> LinearGaussian:
    return LinearGaussian(double([[gain]]), double([intercept]), double([[variance]]))


OLD, NEW = gaussian(-0.4, 0.1, 0.3), gaussian(-0.9, -0.2, 0.15)


@pytest.mark.parametrize("name", OPTIMA)
def test_optima_of_the_scalar_problems(name: str) -> None:
    """[ct-policy-opt] (LQ optimum), by the quadratic equation and by policy iteration."""
    value, policy = scalar_lq.optimum(CASES[name])
    found = [value.k2, value.k1, value.k0, policy.gain, policy.intercept, policy.variance]
    assert [v.item() for v in found] == pytest.approx(OPTIMA[name], abs=6e-11)
    env = problems.scalar(CASES[name], 0.0, 1.0)
    assert numbers(*lq.optimum(env)) == pytest.approx(OPTIMA[name], abs=6e-11)


def test_the_optimum_of_the_matrix_problem() -> None:
    """[ct-policy-opt] (LQ optimum)"""
    value, policy = lq.optimum(problems.matrix())
    expected = (
        ([[-0.4141514828, -0.1095970871], [-0.1095970871, -0.2110101317]], value.K),
        ([-0.0639618610, 0.1297266344], value.k),
        (-0.0166409021, value.c),
        ([[-0.5352010296, -0.1528627365], [-0.1308101420, -0.3594654140]], policy.gain),
        ([-0.0373021848, -0.0439789104], policy.intercept),
        ([[0.0983713162, -0.0004294361], [-0.0004294361, 0.1991613812]], policy.covariance),
    )
    for printed, found in expected:
        torch.testing.assert_close(found, double(printed), rtol=0, atol=6e-11)


def test_average_rewards_of_the_ergodic_benchmark() -> None:
    """0.7084973779 without exploration; exploring at the optimum costs γ/2 of plain reward."""
    env = problems.ergodic()
    _, best = lq.optimum(env)
    plain = replace(env, temperature=0.0)
    point = LinearGaussian(best.gain, best.intercept, torch.zeros_like(best.covariance))
    assert lq.objective(plain, point).item() == pytest.approx(0.7084973779, abs=6e-11)
    assert lq.objective(plain, best).item() == pytest.approx(0.6584973779, abs=6e-11)
    assert lq.objective(env, best).item() == pytest.approx(0.6333741715, abs=6e-11)
    assert best.covariance.log().item() == pytest.approx(-3.3403411944, abs=6e-11)


def test_the_best_objective_of_l1() -> None:
    assert lq.objective(problems.l1(), lq.optimum(problems.l1())[1]).item() == pytest.approx(
        0.5853528020, abs=6e-11
    )


def test_evaluation_and_moments_of_a_policy() -> None:
    """[ct-policy-opt] (LQ evaluation), [ct-policy-opt] (occupation moments) of L2."""
    env = problems.l2()
    value, (mean, square) = lq.evaluate(env, OLD), lq.moments(env, OLD)
    found = [value.K.item(), value.k.item(), value.c.item()]
    assert found == pytest.approx((-0.41640962, -0.19567079, 0.01626804), abs=6e-9)
    assert [mean.item(), square.item()] == pytest.approx((0.5294117647, 0.5152388685), abs=6e-11)
    assert lq.objective(env, OLD).item() == pytest.approx(-0.4917099682, abs=6e-11)
    slope = lq.gradient(env, OLD)
    by_log_variance = slope.covariance.item() * 0.3
    found = [slope.gain.item(), slope.intercept.item(), by_log_variance]
    assert found == pytest.approx((-0.08102514, -0.08292244, -0.06952691), abs=6e-9)


def test_scalar_and_matrix_forms_agree_for_random_problems() -> None:
    """[ct-policy-opt] (LQ evaluation), (occupation moments), (LQ gradient)"""
    for i in range(20):
        u = Key(("random", i)).uniform(16, dtype=torch.float64)
        c = Coefficients(
            A=-u[0],
            B=u[1],
            C=0.3 * u[2],
            D=0.5 * u[3],
            M=1 + u[4],
            R=0.5 * u[5],
            N=1 + u[6],
            P=u[7] - 0.5,
            Q=u[8] - 0.5,
            discount=0.5 + u[9],
            temperature=0.1 + u[10],
        )
        policy = ScalarPolicy(-u[11], u[12], 0.1 + u[13])
        env = problems.scalar(c, float(u[14]), float(u[15]))
        same = gaussian(-u[11].item(), u[12].item(), 0.1 + u[13].item())
        first, second = (m.item() for m in env.start_moments())
        value, exact = scalar_lq.evaluate(c, policy), lq.evaluate(env, same)
        torch.testing.assert_close(value.k2, exact.K[0, 0])
        torch.testing.assert_close(value.k1, exact.k[0])
        torch.testing.assert_close(value.k0, exact.c)
        mean, square = scalar_lq.occupation(c, policy, first, second)
        torch.testing.assert_close((mean[None], square[None, None]), lq.moments(env, same))
        slope, by = lq.gradient(env, same), scalar_lq.gradient(c, policy, first, second)
        torch.testing.assert_close(by[0], slope.gain[0, 0])
        torch.testing.assert_close(by[1], slope.intercept[0])
        torch.testing.assert_close(by[2], slope.covariance[0, 0] * policy.variance)
        best, rule = scalar_lq.optimum(c)
        expected = torch.stack(
            [best.k2, best.k1, best.k0, rule.gain, rule.intercept, rule.variance]
        )
        assert numbers(*lq.optimum(env)) == pytest.approx(expected.tolist(), rel=1e-9)


def test_the_gradient_of_the_matrix_problem_against_finite_differences() -> None:
    """[ct-policy-opt] (LQ gradient)"""
    env = problems.matrix()
    gain, intercept = double([[-0.3, 0.2], [0.1, -0.5]]), double([0.1, -0.2])
    covariance = double([[0.2, 0.05], [0.05, 0.3]])
    slope, h = lq.gradient(env, LinearGaussian(gain, intercept, covariance)), 1e-5

    def objective(where: str, change: Tensor) -> float:
        parts = {"gain": gain, "intercept": intercept, "covariance": covariance}
        return lq.objective(env, LinearGaussian(**{**parts, where: parts[where] + change})).item()

    for where, size in (("gain", (2, 2)), ("intercept", (2,)), ("covariance", (2, 2))):
        for i in range(torch.zeros(size).numel()):
            bump = torch.zeros(size).double().flatten()
            bump[i] = h
            bump = bump.reshape(size)
            if where == "covariance":
                bump = 0.5 * (bump + bump.T)
            expected = (objective(where, bump) - objective(where, -bump)) / (2 * h)
            found = getattr(slope, where)
            found = 0.5 * (found + found.T) if where == "covariance" else found
            assert found.flatten()[i].item() == pytest.approx(expected, abs=1e-8)


def test_the_performance_difference_identity() -> None:
    """[ct-policy-opt] (performance difference) to 1e-10, and its local approximation."""
    env = problems.l2()
    plain = (lq.objective(env, NEW) - lq.objective(env, OLD)).item()
    assert plain == pytest.approx(-0.1138458463, abs=6e-11)
    assert lq.difference(env, NEW, OLD).item() == pytest.approx(plain, abs=1e-10)
    assert lq.local_difference(env, NEW, OLD).item() == pytest.approx(-0.168857, abs=6e-7)


def test_the_performance_difference_identity_of_the_matrix_problem() -> None:
    """[ct-policy-opt] (performance difference), also for average rewards."""
    for env in (problems.matrix(), replace(problems.matrix(), discount=0.0)):
        old = LinearGaussian(
            double([[-0.3, 0.2], [0.1, -0.5]]), double([0.1, -0.2]), 0.3 * double(EYE)
        )
        new = LinearGaussian(
            double([[-0.1, 0.0], [0.3, 0.1]]), double([-0.4, 0.3]), 0.1 * double(EYE)
        )
        plain = (lq.objective(env, new) - lq.objective(env, old)).item()
        assert lq.difference(env, new, old).item() == pytest.approx(plain, abs=1e-10)


EYE = [[1.0, 0.0], [0.0, 1.0]]


def test_the_local_approximation_is_equal_to_first_order() -> None:
    """[ct-policy-opt] (local approximation): its error falls fourfold per halved change."""
    env = problems.l2()
    errors = []
    for share in (0.02, 0.01, 0.005):
        new = gaussian(-0.4 - 0.5 * share, 0.1 - 0.3 * share, 0.3 - 0.15 * share)
        plain = (lq.objective(env, new) - lq.objective(env, OLD)).item()
        errors.append(abs(lq.local_difference(env, new, OLD).item() - plain))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.05)


def test_exact_policy_iteration() -> None:
    """[ct-policy-opt] (LQ optimum): the printed iterates of L1 and L2."""
    printed = {
        "l1": (
            (-0.375, -0.75, 0.0375),
            (-0.39439655, -0.78879310, 0.03943966),
            (-0.39444872, -0.78889745, 0.03944487),
        ),
        "l2": (
            (-0.66810811, 0.13904366, 0.19027027),
            (-0.52395295, 0.10321895, 0.19273915),
            (-0.51655277, 0.10087236, 0.19286589),
            (-0.51653317, 0.10086406, 0.19286623),
        ),
    }
    for env, rows in ((problems.l1(), printed["l1"]), (problems.l2(), printed["l2"])):
        found = lq.iterate(env, gaussian(0, 0, 1), len(rows))
        for policy, row in zip(found, rows):
            values = [policy.gain.item(), policy.intercept.item(), policy.covariance.item()]
            assert values == pytest.approx(row, abs=6e-9)


def test_the_optimum_has_advantage_rate_gamma_log_policy() -> None:
    """q*(x, a) = γ log π*(a|x), so E_π[q* − γ log π] = −γ KL(π ‖ π*).

    [ct-policy-opt] (advantage rate), with q* written out from the generator of L2.
    """
    env = problems.l2()
    value, best = lq.optimum(env)
    x, a = 0.7, -0.3
    k2, k1 = value.K.item(), value.k.item()
    v = 0.5 * k2 * x**2 + k1 * x + value.c.item()
    drift, diffusion = -0.5 * x + a, 0.2 * x + 0.3 * a
    r = -(0.5 * x**2 + 0.1 * x * a + 0.5 * a**2 + 0.2 * x - 0.3 * a)
    q = drift * (k2 * x + k1) + 0.5 * diffusion**2 * k2 + r - 0.8 * v
    mean, std = (best.gain * x + best.intercept).item(), best.covariance.item() ** 0.5
    log_prob = torch.distributions.Normal(mean, std).log_prob(torch.tensor(a)).item()
    assert q == pytest.approx(0.2 * log_prob, abs=1e-7)
    other = gaussian(-0.2, 0.4, 0.3)
    here = lq.residual(env, other, value)(double([[x]])).item()
    laws = [
        torch.distributions.Normal((p.gain * x + p.intercept).item(), p.covariance.item() ** 0.5)
        for p in (other, best)
    ]
    kl = torch.distributions.kl_divergence(*laws).item()
    assert here == pytest.approx(-0.2 * kl, abs=1e-6)


def test_without_temperature_the_best_policy_is_a_point() -> None:
    env = replace(problems.l2(), temperature=0.0)
    value, best = lq.optimum(env)
    _, soft = lq.optimum(problems.l2())
    assert best.covariance.item() == 0
    torch.testing.assert_close(best.gain, soft.gain)  # γ only changes the spread
    assert lq.objective(env, best) > lq.objective(env, soft)
    scalar, _ = scalar_lq.optimum(replace(problems.L2, temperature=0.0))
    torch.testing.assert_close(scalar.k0, value.c)


def test_a_hundred_thousand_scalar_problems_take_less_than_a_second() -> None:
    u = Key(("many",)).uniform(100_000, dtype=torch.float64)
    many = replace(problems.L2, A=-u, Q=u - 0.5)
    start = perf_counter()
    value, policy = scalar_lq.optimum(many)
    scalar_lq.gradient(many, policy, 1.0, 1.5)
    assert perf_counter() - start < 1.0
    one = replace(problems.L2, A=-u[17], Q=u[17] - 0.5)
    torch.testing.assert_close(scalar_lq.optimum(one)[0].k0, value.k0[17])


def test_what_has_no_finite_value_is_refused() -> None:
    env = replace(problems.l3(), discount=0.5)
    with pytest.raises(ValueError, match="second moment grow faster than the discount"):
        lq.evaluate(env, gaussian(0.3, 0, 1))
    greedy = Quadratic(double([[20.0]]), double([0.0]), double(0.0))
    with pytest.raises(ValueError, match="best action is unbounded"):
        lq.improve(problems.l2(), greedy)
    with pytest.raises(ValueError, match="one problem"):
        problems.scalar(replace(problems.L1, A=torch.zeros(3).double()), 0, 1)
