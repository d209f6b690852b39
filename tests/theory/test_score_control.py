"""Score as action on Gaussian data: tables of the reference problem, equations they solve."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from scoreward.core.keys import Key
from scoreward.core.process import VE, LinearVP, Process, RectifiedFlow
from scoreward.theory.gaussian import GaussianLaw, LinearReward, QuadraticReward
from scoreward.theory.score_control import (
    Optimal,
    Problem,
    Shifted,
    action_std,
    advantage_rate,
)
from tests.core.laws import exact
from tests.theory.printed import F64, printed, real

PROCESS = LinearVP(3.0, 3.0)  # α² = exp(−3 t): β = 1 and T = 3
DATA, NOISE = GaussianLaw.of(0.5, 0.25), GaussianLaw.of(0.0, 1.0)
P1 = Problem(DATA, PROCESS, QuadraticReward(real(1.5)), beta=0.5)
STATES = ("3", "0"), ("1.5", "-0.5"), ("0.7", "0.9"), ("0.05", "1.2")
T = real(*(float(t) for t, _ in STATES)) / 3
X = real(*(float(x) for _, x in STATES))[:, None]
ZERO = real(0.0)


def test_values_and_scores_are_those_of_the_table() -> None:
    """[score-as-action] (value) and [score-as-action] (optimal score)"""
    law, _ = P1.ahead(X, T)
    assert law.mean[:, 0].tolist() == printed(
        "0.49353522", "0.39559018", "0.65374068", "1.10608050"
    )
    assert law.variance.tolist() == printed("0.24676761", "0.23325155", "0.20054412", "0.04254565")
    before = Shifted(P1, ZERO)
    values = ("-1.25973896", "-1.45297261", "-0.91669896", "-0.19771822")
    assert before.value(X, T).tolist() == printed(*values)
    plug_in = P1.reward.expect(GaussianLaw(law.mean, torch.zeros(4, dtype=F64)))
    values = ("-1.01297135", "-1.21972106", "-0.71615484", "-0.15517257")
    assert plug_in.tolist() == printed(*values)
    best = Optimal(P1)
    values = ("-0.68144665", "-0.79576607", "-0.54463207", "-0.17189539")
    assert best.value(X, T).tolist() == printed(*values)
    slopes = ("0.05870037", "0.16206246", "0.26364353", "0.57282735")
    assert best.value_gradient(X, T)[:, 0].tolist() == printed(*slopes)
    scores = ("0.11589254", "0.88414240", "-0.87267363", "-2.48569400")
    assert P1.score(X, T)[:, 0].tolist() == printed(*scores)
    scores = ("0.23329327", "1.20826732", "-0.34538657", "-1.34003929")
    assert best.score(X, T)[:, 0].tolist() == printed(*scores)


OPTIMA = {
    0.5: ("-0.821553", "-0.517278", "0.608550", "0.878747", "0.131323", "-1.320390"),
    1.0: ("-0.683136", "-0.381586", "0.603100", "0.993493", "0.125037", "-1.263097"),
    2.0: ("-0.673296", "-0.375005", "0.596583", "0.999995", "0.125000", "-1.250019"),
}


@pytest.mark.parametrize("eta", OPTIMA)
def test_optima_are_those_of_the_table(eta: float) -> None:
    """[score-as-action] (tilt), [score-as-action] (Thm. 3.1): J, E r, path KL, end, J before."""
    problem = replace(P1, eta=eta)
    best, law = Optimal(problem), Optimal(problem).law(NOISE)
    found = [
        best.objective(NOISE),
        problem.reward.expect(law),
        best.path_kl(NOISE),
        law.mean[0],
        law.variance,
        Shifted(problem, ZERO).objective(NOISE),
    ]
    assert [value.item() for value in found] == printed(*OPTIMA[eta])


FAMILY = {
    0.0: ("-0.99489789", "0.37997033"),
    0.5: ("-1.00846642", "0.21076030"),
    1.0: ("-0.91533829", "0.27607074"),
    2.0: ("-0.92872518", "0.21399105"),
}


@pytest.mark.parametrize("eta", FAMILY)
def test_the_family_of_policies_is_that_of_the_table(eta: float) -> None:
    """[score-as-action] (family) at θ = 0.9"""
    policy = Shifted(replace(P1, eta=eta), real(0.9))
    found = [policy.objective(NOISE).item(), policy.gradient(NOISE).item()]
    assert found == printed(*FAMILY[eta])


def test_the_best_of_the_family_is_that_of_the_table() -> None:
    """[score-as-action] (family)"""
    best = Shifted(P1, real(0.9)).best(NOISE)
    found = [best.theta.item(), best.objective(NOISE).item()]
    assert found == printed("2.02602738", "-0.75990668")
    assert best.gradient(NOISE).item() == pytest.approx(0, abs=1e-14)
    assert best.objective(NOISE) < Optimal(P1).objective(NOISE)


def test_exact_tilts_are_those_of_the_text() -> None:
    """[score-as-action] (tilt)"""
    law = LinearReward(real(0.8)).tilted(DATA, 0.5)
    assert [law.mean.item(), law.variance.item()] == pytest.approx([0.9, 0.25], rel=1e-14)
    law = P1.reward.tilted(DATA, 0.5)
    assert [law.mean.item(), law.variance.item()] == pytest.approx([1.0, 0.125], rel=1e-14)


PROBLEMS = {
    "vp quadratic": (P1, NOISE),
    "flow linear": (Problem(DATA, RectifiedFlow(), LinearReward(real(0.8)), 0.7), NOISE),
    "flow quadratic": (
        Problem(DATA, RectifiedFlow(), QuadraticReward(real(-1.0), 0.7), 0.3),
        NOISE,
    ),
    "ve linear": (
        Problem(DATA, VE(0.05, 5.0), LinearReward(real(-0.6)), 0.4),
        GaussianLaw.of(0.0, 25.0),
    ),
}
ETAS = (0.5, 1.0, 1.7)


def residual(policy: Optimal | Shifted, action: torch.Tensor, t: float, x: float) -> float:
    """q from its definition, by central differences of V in t and x."""
    problem, h = policy.problem, 1e-4

    def value(t: float, x: float) -> float:
        return policy.value(real(x)[:, None], real(t)).item()

    f = (problem.process.d_alpha(real(t)) / problem.process.alpha(real(t))).item()
    g = problem.process.g(real(t)).item() ** 2
    in_t = (value(t + h, x) - value(t - h, x)) / (2 * h)
    in_x = (value(t, x + h) - value(t, x - h)) / (2 * h)
    second = (value(t, x + h) - 2 * value(t, x) + value(t, x - h)) / h**2
    drift = -f * x + (1 + problem.eta**2) / 2 * g * action.item()
    before = problem.score(real(x)[:, None], real(t)).item()
    charge = problem.cost / 2 * g * (action.item() - before) ** 2
    return -in_t + drift * in_x + problem.eta**2 / 2 * g * second - charge


@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_values_solve_the_equation_of_the_control_problem(name: str, eta: float) -> None:
    """[score-as-action] (value), [score-as-action] (optimal score): V* solves its equation.

    [score-as-action] (advantage): q is 0 at the policy's score, and what it is elsewhere; V_θ by
    Feynman–Kac. Property (vi).
    """
    problem = replace(PROBLEMS[name][0], eta=eta)
    for policy in (Optimal(problem), Shifted(problem, real(0.6))):
        for t, x in ((0.8, -0.4), (0.3, 1.1)):
            point, time = real(x)[:, None], real(t)
            own = policy.score(point, time)
            assert residual(policy, own, t, x) == pytest.approx(0, abs=2e-6)
            for push in (-0.7, 1.3):
                expected = advantage_rate(policy, own + push, point, time).item()
                found = residual(policy, own + push, t, x)
                assert found == pytest.approx(expected, rel=2e-5, abs=2e-6)
        end = policy.value(X, torch.zeros(4, dtype=F64))
        reward = problem.reward.expect(GaussianLaw(X, torch.zeros(4, dtype=F64)))
        torch.testing.assert_close(end, reward, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("eta", ETAS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_optimum_is_the_mean_value_at_the_start(name: str, eta: float) -> None:
    """[score-as-action] (value): J* = E V*(1, X_1), by Gauss–Hermite over the start."""
    problem, start = PROBLEMS[name]
    best = Optimal(replace(problem, eta=eta))
    node = real(-(3**0.5), 0.0, 3**0.5)  # exact for a quadratic V*
    x = (start.mean + start.variance.sqrt() * node)[:, None]
    mean = (best.value(x, torch.ones(3, dtype=F64)) * real(1 / 6, 2 / 3, 1 / 6)).sum()
    torch.testing.assert_close(mean, best.objective(start))


@pytest.mark.parametrize("eta", [0.0, *ETAS])
@pytest.mark.parametrize("name", PROBLEMS)
def test_the_policy_gradient_is_the_derivative_of_the_objective(name: str, eta: float) -> None:
    """[score-as-action] (Thm. 4.1): the integral against finite differences, for any η and the ODE,
    which is [scores-as-actions] (deterministic).

    Property (vii).
    """
    problem, start = PROBLEMS[name]
    policy = Shifted(replace(problem, eta=eta), real(0.9))

    def objective(theta: float) -> float:
        return replace(policy, theta=real(theta)).objective(start).item()

    def rate(root: float) -> float:  # in √t, because g² has a sharp end at t = 0 under VE
        return 2 * root * policy.gradient_rate(start, root**2).item()

    slope = (objective(0.9 + 1e-4) - objective(0.9 - 1e-4)) / 2e-4
    total = quad(rate, 1e-6, 1 - 1e-9, limit=400, epsabs=1e-9)[0]
    assert total == pytest.approx(slope, rel=2e-6, abs=1e-7)
    assert policy.gradient(start).item() == pytest.approx(slope, rel=1e-7, abs=1e-9)


@pytest.mark.parametrize("process", [LinearVP(3.0, 3.0), RectifiedFlow()], ids=repr)
def test_at_eta_one_the_uncontrolled_mean_is_the_denoised_state(process: Process) -> None:
    problem = Problem(GaussianLaw.of(0.7, 0.25), process, LinearReward(real(1.0)), 1.0)
    law, _ = problem.ahead(X, T)
    torch.testing.assert_close(law.mean, exact(process)(X, T).x0)
    other, _ = replace(problem, eta=1.5).ahead(X, T)
    assert not torch.allclose(law.mean[1:], other.mean[1:], atol=1e-3)


@settings(max_examples=40)
@given(theta=st.floats(-2, 3), eta=st.floats(0.3, 2.5))
def test_no_policy_of_the_family_beats_the_optimum(theta: float, eta: float) -> None:
    problem = replace(P1, eta=eta)
    policy = Shifted(problem, real(theta))
    assert policy.objective(NOISE) <= Optimal(problem).objective(NOISE)
    assert policy.objective(NOISE) <= policy.best(NOISE).objective(NOISE) + 1e-12


def test_a_simulated_optimum_has_the_law_and_the_cost_of_the_closed_form() -> None:
    """[score-as-action] (Thm. 3.1) in two dimensions: 20 000 Euler paths with the optimal score."""
    data, start = GaussianLaw.of([0.5, -0.2], 0.25), GaussianLaw.of([0.0, 0.0], 1.0)
    problem = Problem(data, PROCESS, QuadraticReward(real(1.5, 0.0)), 0.5, 1.3)
    best, key, n = Optimal(problem), Key(("paths",)), 300
    x, kl = (key / "start").normal(20_000, 2, dtype=F64), torch.zeros(20_000, dtype=F64)
    times = torch.linspace(1, 0, n + 1).double() ** 1.5
    for i, (now, then) in enumerate(pairwise(times)):
        t, h = now.expand(len(x)), now - then
        g, score = PROCESS.g(t[:1]), best.score(x, t)
        kl = kl + 0.5 * problem.cost / 0.5 * g**2 * h * (score - problem.score(x, t)).square().sum(
            1
        )
        noise = (key / i).normal(20_000, 2, dtype=F64)
        x = x + (1.5 * x + problem.pull * g**2 * score) * h + 1.3 * g * h.sqrt() * noise
    law = best.law(start)
    torch.testing.assert_close(x.mean(0), law.mean, atol=0.01, rtol=0)
    assert x.var(0).mean().item() == pytest.approx(law.variance.item(), rel=0.04)
    assert kl.mean().item() == pytest.approx(best.path_kl(start).item(), rel=0.02)


@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0])
def test_noise_on_the_score_is_the_noise_of_the_reverse_process(eta: float) -> None:
    """[score-as-action] (action noise): (1 + η²)/2 g² std · step = η g √step."""
    t, step = real(0.4), 0.01
    g = PROCESS.g(t)
    std = action_std(PROCESS, t, step, eta)
    torch.testing.assert_close((1 + eta**2) / 2 * g**2 * std * step, eta * g * step**0.5)


def test_impossible_problems_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`beta`.* must be positive, got 0"):
        replace(P1, beta=0.0)
    with pytest.raises(ValueError, match=r"`eta` must be finite and not negative, got -1"):
        replace(P1, eta=-1.0)
    with pytest.raises(ValueError, match=r"one data law, got \(2,\) of them"):
        replace(P1, data=GaussianLaw.of(0.5, real(0.25, 0.3)))
    with pytest.raises(ValueError, match="there is no optimum; use eta > 0"):
        Optimal(replace(P1, eta=0.0))
