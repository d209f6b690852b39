"""Score as action on a problem with a known answer: its gradients, and what it learns."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoreward.core.chain import Sampler, Transitions, draw
from scoreward.core.denoiser import NetworkDenoiser
from scoreward.core.kernel import (
    DDIM,
    DPMSolverPP,
    EulerMaruyama,
    Heun,
    Kernel,
    generalised,
    reverse_sde,
)
from scoreward.core.policy import DiffusionPolicy
from scoreward.objectives.paths.actions import ActionRows
from scoreward.objectives.paths.denoised_value import DenoisedValue
from scoreward.objectives.paths.score_as_action import ScoreAsAction
from scoreward.objectives.paths.visited import States
from scoreward.theory import gaussian as theory_laws
from scoreward.theory import score_control as theory
from tests.core.laws import F64, real
from tests.objectives import p1
from tests.objectives.p1 import BETA, GOAL, KAPPA, MU, PROCESS, S2, Law, Shifted, acting, chain
from tests.support.matrix import long

LONG = (pytest.mark.slow, pytest.mark.long)
BARE = ScoreAsAction(normalise="none", bound=None, clip=None, per_dimension=False)
PRINTED = [  # θ = 0.9: η, J, dJ/dθ
    (0.0, -0.99489789, 0.37997033),
    (0.5, -1.00846642, 0.21076030),
    (1.0, -0.91533829, 0.27607074),
    (2.0, -0.92872518, 0.21399105),
]


# The oracle itself


@pytest.mark.parametrize(("eta", "value", "slope"), PRINTED)
def test_the_oracle_has_the_printed_values(eta: float, value: float, slope: float) -> None:
    def objective(theta: float) -> float:
        return float(Law(eta, theta).objective(BETA if eta else 0.0))

    assert objective(0.9) == pytest.approx(value, abs=1e-8)
    difference = (objective(0.9 + 1e-4) - objective(0.9 - 1e-4)) / 2e-4
    assert difference == pytest.approx(slope, abs=1e-7)


@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0])
def test_the_oracle_is_that_of_the_library(eta: float) -> None:
    """Written twice: here for one problem, in scoreward.theory for all of them."""
    reward = theory_laws.QuadraticReward(real(GOAL), KAPPA)
    data = theory_laws.GaussianLaw(real(MU), real(S2)[0])
    problem = theory.Problem(data, PROCESS, reward, BETA, eta)
    t, x, ours = real(1.0, 0.4, 0.1), real(0.3, -0.5, 1.1), Law(eta, 0.9)
    theirs = theory.Shifted(problem, real(0.9))
    torch.testing.assert_close(theirs.value(x[:, None], t), ours.value(t, x))
    torch.testing.assert_close(theirs.value_gradient(x[:, None], t)[:, 0], ours.slope(t, x))
    best = theory.Optimal(problem)
    torch.testing.assert_close(best.score(x[:, None], t), Law(eta).best_score(x[:, None], t))
    torch.testing.assert_close(best.value(x[:, None], t), Law(eta).best_value(t, x))


# DiffusionPolicy gradients against closed forms


def quadrature(sampler: Sampler, theta: float, eta: float) -> tuple[ActionRows, DiffusionPolicy]:
    """Four equally likely transitions for each step: x and the noise one std to each side.

    Their means are exact for polynomials of degree three in each, so for everything below.
    """
    policy = acting(Shifted(theta), sampler)
    mean, spread, pieces = real(0.0), real(1.0), []
    for i, kernel in enumerate(sampler.kernels):
        t, s = (torch.full((4,), time, dtype=F64) for time in sampler.times[i : i + 2])
        x = (mean + spread * real(-1, -1, 1, 1))[:, None]
        with torch.no_grad():
            prediction = policy.old(x, t, None)
            law = kernel(prediction, s)
        after = law.sample(real(-1, 1, -1, 1)[:, None])
        step = torch.full((4,), i)
        row = torch.arange(4) + 4 * i
        answer = prediction.as_("score")
        pieces.append(Transitions(x, after, t, s, t * 0, answer, step, torch.arange(4), row))
        ends = law.mean[:, 0]
        mean, gain = ends[[0, 2]].mean(), (ends[2] - ends[0]) / (2 * spread)
        spread = (gain**2 * spread**2 + law.std[0, 0] ** 2).sqrt()
    path = Transitions(
        *(torch.cat(column) for column in zip(*(vars(p).values() for p in pieces), strict=True))
    )
    first = policy.reference(path.x, path.t, None).as_("score")
    exact = Law(eta, theta)
    zero = torch.zeros(len(path), dtype=F64)
    slope = exact.slope(path.s, path.next[:, 0])[:, None]
    rows = ActionRows(path, None, zero, first, path.sample, zero, zero, zero, slope)
    return rows, policy


def in_time(rows: ActionRows, eta: float, theta: float, objective: ScoreAsAction) -> Tensor:
    """The library's advantages of the rows with the exact value function in continuous time."""
    path, count = rows.path, len(rows)
    number, weight = torch.arange(count), BETA if eta else 0.0
    exact = Law(eta, theta)
    value = torch.cat(
        [exact.value(u, x[:, 0], weight) for u, x in ((path.t, path.x), (path.s, path.next))]
    )
    paid = weight * (exact.kl(path.t) - exact.kl(path.s)) if weight else path.t * 0
    nothing, both = torch.zeros(2 * count, dtype=F64), torch.cat([path.sample, path.sample])
    states = States(
        t=torch.cat([path.t, path.s]), inputs=nothing[:, None], first=nothing, reward=nothing,
        length=nothing, sample=both, step=both, after=torch.cat([count + number, number * 0 - 1]),
    )  # fmt: skip
    return objective.advantages(states, value, torch.cat([paid, paid * 0]))[:count]


def slope_of(objective: ScoreAsAction, rows: ActionRows, policy: DiffusionPolicy) -> float:
    """dJ/dθ as the loss has it: it is a mean over the rows, J a sum over the steps."""
    loss, _ = objective.loss(rows, policy)
    assert isinstance(policy.current, NetworkDenoiser)
    (gradient,) = torch.autograd.grad(loss, list(policy.current.network.parameters()))
    return -policy.sampler.steps * float(gradient)


def extrapolated(eta: float, estimator: str, kernel: Kernel | None = None) -> float:
    """The gradient at 50, 100 and 200 steps, carried on to infinitely many by a parabola."""
    found = []
    for steps in (50, 100, 200):
        sampler = p1.geometric(kernel or DDIM(generalised(eta)), steps)
        rows, policy = quadrature(sampler, 0.9, eta)
        objective = replace(BARE, estimator=estimator, kl=BETA if eta else 0.0)  # pyright: ignore
        if estimator != "pathwise":
            rows = replace(rows, slope=None, advantage=in_time(rows, eta, 0.9, objective))
        if not eta:
            rows = replace(rows, reference=None)
        found.append(slope_of(objective, rows, policy))
    return (found[0] - 6 * found[1] + 8 * found[2]) / 3


@pytest.mark.parametrize(("eta", "value", "slope"), PRINTED)
def test_the_pathwise_gradient_is_that_of_the_objective(
    eta: float, value: float, slope: float
) -> None:
    """[score-as-action] (Thm. 4.1), for any η, and for the ODE with ½ g² (∇μ)ᵀ ∇V."""
    assert extrapolated(eta, "pathwise") == pytest.approx(slope, abs=5e-4)


@pytest.mark.parametrize(("eta", "value", "slope"), PRINTED[1:])
def test_the_score_function_with_ctd_advantages_is_that_gradient(
    eta: float, value: float, slope: float
) -> None:
    """[score-as-action] (CTD advantage), [score-as-action] (score function): V must be right."""
    assert extrapolated(eta, "plain") == pytest.approx(slope, abs=5e-4)
    assert extrapolated(eta, "ratio") == pytest.approx(slope, abs=5e-4)


def test_it_holds_for_another_kernel() -> None:
    """Euler–Maruyama at η = 1 instead of the generalised DDIM."""
    kernel = EulerMaruyama(reverse_sde(1.0))
    assert extrapolated(1.0, "plain", kernel) == pytest.approx(PRINTED[2][2], abs=2e-3)


def test_printed_optimal_scores() -> None:
    """s* and V* of the oracle, four printed points."""
    t, x = real(3, 1.5, 0.7, 0.05) / 3, real(0, -0.5, 0.9, 1.2)
    law = Law(1.0)
    values = real(-0.68144665, -0.79576607, -0.54463207, -0.17189539)
    scores = real(0.23329327, 1.20826732, -0.34538657, -1.34003929)
    torch.testing.assert_close(law.best_value(t, x), values, atol=1e-8, rtol=0)
    torch.testing.assert_close(law.best_score(x[:, None], t)[:, 0], scores, atol=1e-7, rtol=0)


# Learning


def trained(
    module: torch.nn.Module, eta: float, estimator: str, rounds: int, lr: float
) -> DiffusionPolicy:
    """Rounds of 512 paths of 20 steps; V is learned beside.  The last step, which has no noise and
    so no KL, is trained only where nothing else has them either."""
    value = DenoisedValue(hidden=32, passes=2, batches=2, first_passes=20, rate=3e-3)
    kl = BETA if eta else 0.0
    settings = {"estimator": estimator, "kl": kl, "last": not eta, "value": value}
    objective = replace(BARE, **settings)  # pyright: ignore
    policy = acting(module, p1.geometric(DDIM(generalised(eta)), 19, 0.05, clean=True))
    optimizer = torch.optim.Adam(module.parameters(), lr=lr, betas=(0.9, 0.99))
    for i in range(rounds):
        optimizer.param_groups[0]["lr"] = lr * (1 - i / rounds)
        samples, paths = p1.drawn(policy, 512, p1.KEY / i, every=estimator == "pathwise")
        paths = paths[torch.isin(paths.step, torch.tensor(objective.needs.trained(range(20), 20)))]
        with torch.no_grad():
            walked = replace(policy.rollout, paths=paths)
            rows = objective.ready(samples, replace(policy, rollout=walked), p1.KEY / i)
        optimizer.zero_grad()
        objective.loss(rows, policy)[0].backward()
        optimizer.step()
    return policy


def solved(policy: DiffusionPolicy, kernel: Kernel, steps: int) -> tuple[float, float]:
    """Mean and variance of x0 by a deterministic solver, from 4000 quantiles of N(0, 1)."""
    level = (torch.arange(4000, dtype=F64) + 0.5) / 4000
    start = torch.distributions.Normal(0.0, 1.0).icdf(level)[:, None]
    sampler = p1.geometric(kernel, steps, 0.01, clean=True)
    x0 = draw(sampler, policy.current, start, [], None)
    return float(x0.mean()), float(x0.var())


def ending(policy: DiffusionPolicy, sampler: Sampler) -> tuple[float, float]:
    """Mean and variance of x0 from N(0, 1), by the affine steps of a chain."""
    mean, variance, probe = 0.0, 1.0, real(0.0, 1.0)[:, None]
    for i, step in enumerate(sampler.kernels):
        t, s = (torch.full((2,), time, dtype=F64) for time in sampler.times[i : i + 2])
        with torch.no_grad():
            law = step(policy.current(probe, t, None), s)
        shift, gain = float(law.mean[0]), float(law.mean[1] - law.mean[0])
        mean, variance = shift + gain * mean, gain**2 * variance + float(law.std[0]) ** 2
    return mean, variance


def loss_of(policy: DiffusionPolicy, eta: float) -> float:
    """How far J(θ) is below its maximum, as a share of what there is to gain from θ = 0."""
    (theta,) = (float(p.detach()) for p in policy.current.network.parameters())  # pyright: ignore
    low, here, high = (float(Law(eta, x).objective()) for x in (0.0, theta, 1.0))
    bend = low - 2 * high + float(Law(eta, 2.0).objective())  # J is a parabola
    top = (high - low - bend / 2) / -bend
    best = low - bend / 2 * top**2
    return (best - here) / (best - low)


@pytest.mark.parametrize(
    ("eta", "estimator"),
    [
        (1.0, "plain"),
        pytest.param(0.5, "pathwise", marks=LONG),
        pytest.param(2.0, "pathwise", marks=LONG),
    ],
)
def test_the_best_shift_of_the_score_is_learned(eta: float, estimator: str) -> None:
    """The family s + θ h(t); at η = 1 the best θ is 2.02602738. V is learned, not given."""
    policy = trained(Shifted(), eta, estimator, 50, 0.2)
    assert loss_of(policy, eta) < 0.05


def test_the_oracle_of_the_family_is_the_printed_one() -> None:
    best = acting(Shifted(2.02602738), chain(1.0, 4))
    assert abs(loss_of(best, 1.0)) < 1e-9
    assert float(Law(1.0, 2.02602738).objective()) == pytest.approx(-0.75990668, abs=1e-8)


@pytest.mark.parametrize(
    ("eta", "mean", "variance"),
    [long(0.5, 0.878747, 0.131323), (1.0, 0.993493, 0.125037), long(2.0, 0.999995, 0.125)],
)
def test_the_best_law_of_a_chain_goes_to_the_printed_one(
    eta: float, mean: float, variance: float
) -> None:
    """By backward recursion: 200 and 400 steps, carried on to infinitely many."""
    chains = [p1.geometric(DDIM(generalised(eta)), n, clean=True) for n in (200, 400)]
    few, many = (p1.best_law(c) for c in chains)
    assert 2 * many[0] - few[0] == pytest.approx(mean, abs=2e-3)
    assert 2 * many[1] - few[1] == pytest.approx(variance, abs=2e-3)


def reaches(eta: float) -> DiffusionPolicy:
    """An affine score is trained on a chain; how far its samples may end from the best law of it.

    Twenty steps have a larger KL than continuous time, so their best mean is 0.92 for η = 1.
    """
    policy = trained(p1.Affine(), eta, "pathwise", 60, 0.3)
    mean, variance = ending(policy, policy.sampler)
    best = p1.best_law(policy.sampler)
    assert mean == pytest.approx(best[0], abs=0.03)
    assert variance == pytest.approx(best[1], abs=0.02)
    return policy


@pytest.mark.long
def test_the_best_affine_score_is_learned_and_sampled_by_other_solvers() -> None:
    """Heun and DPM-Solver++ were not there in training and take another number of steps.

    They give the law of the ODE, and most of the reward that the SDE has gained.
    """
    policy = reaches(1.0)
    sde, ode = ending(policy, policy.sampler), solved(policy, DDIM(generalised(0.0)), 400)
    before, after = (-((m - p1.GOAL) ** 2) - v for m, v in ((0.4935, 0.25), sde))
    for kernel in (Heun(), DPMSolverPP()):
        mean, variance = solved(policy, kernel, 60)
        assert mean == pytest.approx(ode[0], abs=0.003)
        assert variance == pytest.approx(ode[1], abs=0.003)
        gained = -((mean - p1.GOAL) ** 2) - variance - before
        assert gained > 0.8 * (after - before) > 0.5


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("eta", [0.5, 2.0])
def test_the_best_affine_score_of_another_noise_is_learned(eta: float) -> None:
    reaches(eta)


@pytest.mark.long
def test_the_ode_is_trained_by_the_gradient_of_the_value() -> None:
    """No noise and no KL: the mean goes to the goal, 1.5, from 0.4977."""
    policy = trained(Shifted(), 0.0, "pathwise", 50, 0.25)
    assert ending(policy, chain(0.0, 400))[0] == pytest.approx(1.5, abs=0.08)
