"""Few-step fine-tuning: the losses, where their gradients flow, and that both of them learn."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from scoreward.core.chain import Sampler, uniform, walk, windowed
from scoreward.core.denoiser import NetworkDenoiser
from scoreward.core.kernel import DDIM, EulerMaruyama, Heun, ddim, euler, generalised, reverse_sde
from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.prediction import Prediction
from scoreward.core.process import LinearVP, RectifiedFlow, time_grid
from scoreward.models.analytic import GaussianPolicy
from scoreward.objectives.base import Samples
from scoreward.objectives.samples.energy import WEIGHTS, EnergyInput, energy
from scoreward.objectives.samples.few_step import FewStep, FewStepRows, check, fit, work
from scoreward.tasks.toy import CORNERS, toy_model
from scoreward.training import checkpoint
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.sources.stored import Offline
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer
from tests.core.laws import F64, real
from tests.objectives.slopes import differences
from tests.support.matrix import long

KEY, FLOW = Key(("few step",)), RectifiedFlow()
NOISY = uniform(DDIM(generalised(1.0)), 4)
SHORT = uniform(DDIM(generalised(1.0)), 3)
FREE = FewStep(clip=None, limit=None, clamp=None)
Descent = Literal["ctrl", "dxmi"]


# The losses


def test_what_the_energy_minimises_on_numbers() -> None:
    """[dxmi] (energy), [dxmi] (value): two pictures, two chains of two steps, by hand."""
    data = real(0.5, -0.1).requires_grad_()
    states = real(1.0, 0.8, 0.4, 0.2, 0.3, -0.3).reshape(3, 2).requires_grad_()
    value = fit(data, states, regulariser=2.0, time_cost=0.5)
    early, late = 0.5 / (1 + np.exp(-1)), 0.5 / 2
    gaps = np.array([[1.0 - 0.4, 0.8 - 0.2], [0.4 - 0.3, 0.2 + 0.3]]) - [[early], [late]]
    apart, size = 0.2 - 0.0, 2.0 * ((0.25 + 0.01) / 2 + (0.09 + 0.09) / 2)
    assert value.item() == pytest.approx(apart + size + (gaps**2).mean(), rel=1e-12)
    on_data, on_states = torch.autograd.grad(value, [data, states])
    torch.testing.assert_close(on_data, 0.5 + 2.0 * data.detach())
    ends = -0.5 + 2.0 * states.detach()[-1]  # of the contrast alone: the next value is frozen
    torch.testing.assert_close(on_states[-1], ends)
    torch.testing.assert_close(on_states[:-1], torch.from_numpy(gaps) / 2)


def test_the_contrast_is_least_at_the_known_energy() -> None:
    """[dxmi] (energy): for data p and samples q the minimum is (q − p)/2γ(p + q)."""
    p, q, gamma = real(0.5, 0.3, 0.2), real(0.1, 0.3, 0.6), 1.5
    best = (q - p) / (2 * gamma * (p + q))

    def value(v: Tensor) -> Tensor:
        return p @ v - q @ v + gamma * ((p + q) @ v.square())

    def drawn(law: Tensor) -> Tensor:
        return torch.repeat_interleave(torch.arange(3), (10 * law).round().long())

    ends = best[drawn(q)].expand(2, -1)  # a chain that stays where it is: no gap of values
    torch.testing.assert_close(fit(best[drawn(p)], ends, gamma, 0.0), value(best))
    for k in range(3):
        for step in (-0.05, 0.05):
            assert value(best + step * torch.eye(3, dtype=F64)[k]) > value(best)


def test_the_work_of_a_step_on_numbers() -> None:
    """[score-as-action] (few-step loss): clamp, clip, sum, clip."""
    before, after = real(0.2, 0.9, -0.5, 0.0)[None], real(0.25, 1.4, -0.9, 0.3)[None]
    slope = real(2.0, -1.0, 4.0, 0.5)[None]
    total = 2.0 * 0.05 - 1.0 * 0.1 + 4.0 * -0.1 + 0.5 * 0.1  # 1.4 is clamped to 1 first
    settings = FewStep()
    torch.testing.assert_close(work(before, after, slope, settings), real(total))
    torch.testing.assert_close(work(before, after, 10 * slope, settings), real(-1.0))
    raw = 2.0 * 0.05 - 1.0 * 0.5 + 4.0 * -0.4 + 0.5 * 0.3
    torch.testing.assert_close(work(before, after, slope, FREE), real(raw))


def test_a_clipped_pixel_has_no_gradient() -> None:
    """[score-as-action] (few-step loss): only pixels that moved by less than the clip learn."""
    before, slope = real(0.0, 0.0, 0.95)[None], real(1.0, 1.0, 1.0)[None]
    after = real(0.05, 0.2, 1.01)[None].requires_grad_()
    (gradient,) = torch.autograd.grad(work(before, after, slope, FewStep()).sum(), after)
    assert gradient.tolist() == [[1.0, 0.0, 0.0]]


# The limit of small steps

KAPPA, Z, THETA = 2.0, 1.5, 0.9
VP = LinearVP(3.0, 3.0)  # α² = exp(−3t): VP with β = 1 and T = 3


def tilted(x: Tensor, t: Tensor, theta: Tensor | float) -> Prediction:
    """Exact score of N(0.5, 0.25) plus θ h, h = s² α/(α² s² + σ²)."""
    time = t[:, None]
    alpha, sigma = VP.coefficients(time)
    spread = 0.25 * alpha**2 + sigma**2
    score = -(x - 0.5 * alpha) / spread + theta * 0.25 * alpha / spread
    return Prediction.of("score", score, x, t, VP)


def affine(steps: int, eta: float, theta: float) -> tuple[Sampler, list[tuple[float, float]], list]:
    """The maps x ↦ slope x + shift of a chain's steps, and their noise."""
    grid = time_grid(steps, 1.0, 1.0, 1e-4)
    sampler = Sampler(grid, (EulerMaruyama(reverse_sde(eta)),) * steps)
    maps, noise = [], []
    for kernel, t, s in zip(sampler.kernels, grid, grid[1:], strict=False):
        x, time = real(0.0, 1.0)[:, None], real(t, t)
        law = kernel(tilted(x, time, theta), real(s, s))
        low, high = law.mean[:, 0].tolist()
        maps.append((high - low, low))
        noise.append(law.std[0].item())
    return sampler, maps, noise


def gained(steps: int, eta: float, theta: float) -> float:
    """E r of the chain from N(0, 1), r = −κ/2 (x − z)², by the recursion of its moments."""
    _, maps, noise = affine(steps, eta, theta)
    mean, variance = 0.0, 1.0
    for (slope, shift), std in zip(maps, noise, strict=True):
        mean, variance = slope * mean + shift, slope**2 * variance + std**2
    return -KAPPA / 2 * ((mean - Z) ** 2 + variance)


def descended(steps: int, eta: float, clip: float | None) -> float:
    """d/dθ of the summed work of all steps, E over exact nodes, V = −E[r(x_0) | x_t]."""
    sampler, maps, noise = affine(steps, eta, THETA)
    nodes, weights = np.polynomial.hermite_e.hermegauss(8)
    node, weight = torch.tensor(nodes), torch.tensor(weights / weights.sum())
    rest = [(1.0, 0.0)]  # x_0 given x_k in the mean, from the back
    for slope, shift in reversed(maps):
        gain, ahead = rest[0]
        rest.insert(0, (gain * slope, gain * shift + ahead))
    theta, mean, variance = real(THETA)[0].requires_grad_(), 0.0, 1.0
    settings, total = replace(FREE, clip=clip), torch.zeros((), dtype=F64)
    for k, kernel in enumerate(sampler.kernels):
        x = (mean + variance**0.5 * node)[:, None]
        t, s = (torch.full((len(x),), u, dtype=F64) for u in sampler.times[k : k + 2])
        law = kernel(tilted(x, t, theta), s)
        gain, ahead = rest[k]
        slope = KAPPA * gain * (gain * x + ahead - Z)
        total = total + weight @ work(x, law.mean, slope, settings)
        (a, b), std = maps[k], noise[k]
        mean, variance = a * mean + b, a**2 * variance + std**2
    return torch.autograd.grad(total, theta)[0].item()


@pytest.mark.parametrize("eta", [long(0.0), 1.0])
def test_for_small_steps_it_is_the_continuous_policy_gradient(eta: float) -> None:
    """[score-as-action] (few-step loss): −dJ/dθ of that chain, the error falls like the step."""
    errors = []
    for steps in (50, 200):
        exact = (gained(steps, eta, THETA + 1e-4) - gained(steps, eta, THETA - 1e-4)) / 2e-4
        errors.append(abs(descended(steps, eta, None) + exact))
    assert errors[1] < 0.3 * errors[0] < 0.02


def test_the_work_finds_the_known_gradient_of_the_ode() -> None:
    """[score-as-action] (few-step loss): J = −0.99489789 and dJ/dθ = 0.37997033 at θ = 0.9.

    Both by Richardson's extrapolation, for the error is of first order in the step.
    """
    gains = [gained(n, 0.0, THETA) for n in (150, 300)]
    assert 2 * gains[1] - gains[0] == pytest.approx(-0.99489789, abs=5e-4)
    slopes = [descended(n, 0.0, None) for n in (150, 300)]
    assert 2 * slopes[1] - slopes[0] == pytest.approx(-0.37997033, abs=2e-4)


def test_a_clip_that_is_longer_than_the_steps_does_nothing() -> None:
    """[score-as-action] (few-step loss): the increments of 150 steps are below 0.5 here."""
    free = descended(150, 0.0, None)
    assert descended(150, 0.0, 0.5) == pytest.approx(free, abs=1e-12)
    assert abs(descended(150, 0.0, 0.01) - free) > 0.01


# The objective


def policy(sampler: Sampler = NOISY, shift: float = 0.0) -> DiffusionPolicy:
    def reading(off: float) -> NetworkDenoiser:
        module = GaussianPolicy(prompts=2, dim=2).double()
        with torch.no_grad():
            module.mean.copy_((KEY / "means").normal(2, 2, dtype=F64) + off)
        return NetworkDenoiser(module, FLOW)

    return DiffusionPolicy(reading(shift), reading(0.0), reading(-0.5), FLOW, sampler)


def samples(count: int = 8) -> Samples:
    zero, which = torch.zeros(count, dtype=F64), torch.arange(count) % 2
    data = (KEY / "data").normal(count, 2, dtype=F64)
    return Samples(data, which, zero, which * 0, torch.arange(count), zero)


def prepared(objective: FewStep, using: DiffusionPolicy) -> FewStepRows:
    with torch.no_grad():
        return objective.ready(samples(), using, KEY / "round")


def learning(descent: Descent, timed: bool = False) -> FewStep:
    return replace(FREE, descent=descent, timed=timed, critic_steps=3, critic_rate=0.05)


def slope(objective: FewStep, rows: FewStepRows, using: DiffusionPolicy) -> Tensor:
    loss, metrics = objective.loss(rows, using)
    assert not any(value.requires_grad for value in metrics.values())
    assert isinstance(using.current, NetworkDenoiser)
    (gradient,) = torch.autograd.grad(loss, list(using.current.network.parameters()))
    return gradient


def measured(
    rows: FewStepRows, using: DiffusionPolicy, timed: bool
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Each row's next state, and the energy's weights are in memory."""
    for i in range(len(rows)):
        k = int(rows.step[i])
        t, s = (rows.x.new_full((1,), u) for u in using.times[k : k + 2])
        law = using.sampler.kernels[k](using.current(rows.x[i : i + 1], t, rows.cond[i : i + 1]), s)  # pyright: ignore
        yield i, law.mean + law.std * rows.noise[i : i + 1], s if timed else torch.zeros_like(s)


@pytest.mark.parametrize("timed", [False, True])
def test_dxmi_is_the_energy_where_the_step_leads(timed: bool) -> None:
    """[dxmi] (step): against central differences in the policy's parameters."""
    objective, using = learning("dxmi", timed), policy(shift=0.2)
    rows = prepared(objective, using)
    layout = EnergyInput((2,), 1, timed)

    def value() -> Tensor:
        seen = [
            energy(layout, using.memory[WEIGHTS], after, s, rows.cond[i : i + 1])  # pyright: ignore
            for i, after, s in measured(rows, using, timed)
        ]
        return torch.cat(seen).mean()

    torch.testing.assert_close(objective.loss(rows, using)[0], value())
    torch.testing.assert_close(
        slope(objective, rows, using),
        differences(value, network_of(using)),
        rtol=1e-5,
        atol=1e-8,
    )


def test_ctrl_is_the_slope_where_the_step_starts_times_the_increment() -> None:
    """[score-as-action] (few-step loss): the slope by central differences of the energy."""
    objective, using = learning("ctrl", timed=True), policy(shift=0.2)
    rows, layout, tiny = prepared(objective, using), EnergyInput((2,), 1, True), 1e-5
    t = rows.x.new_tensor(using.times)[rows.step]
    steep = torch.zeros_like(rows.x)
    for axis in range(2):
        move = tiny * torch.eye(2, dtype=F64)[axis]
        high, low = (
            energy(layout, using.memory[WEIGHTS], rows.x + sign * move, t, rows.cond)
            for sign in (1, -1)
        )
        steep[:, axis] = (high - low) / (2 * tiny)

    def value() -> Tensor:
        nexts = torch.cat([after for _, after, _ in measured(rows, using, True)])
        return (steep * (nexts - rows.x)).sum(1).mean()

    torch.testing.assert_close(objective.loss(rows, using)[0], value(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(
        slope(objective, rows, using),
        differences(value, network_of(using)),
        rtol=1e-5,
        atol=1e-7,
    )


def network_of(using: DiffusionPolicy) -> torch.nn.Module:
    assert isinstance(using.current, NetworkDenoiser)
    return using.current.network


def test_gradients_flow_through_the_next_state_only() -> None:
    """The slope and the state that is subtracted carry none, as if they were numbers."""
    objective, using = learning("ctrl"), policy(shift=0.2)
    rows = prepared(objective, using)
    moved = replace(rows, x=rows.x.clone().requires_grad_())
    loss, _ = objective.loss(moved, using)
    layout = EnergyInput((2,), 1, False)
    t = rows.x.new_tensor(using.times)
    leaf = rows.x.clone().requires_grad_()
    here = energy(layout, using.memory[WEIGHTS], leaf, t[rows.step], rows.cond).sum()
    (steep,) = torch.autograd.grad(here, leaf)
    law = using.sampler.kernels[0](using.current(leaf, t[rows.step], rows.cond), t[rows.step + 1])
    expected = (steep * law.sample(rows.noise)).sum(1).mean()
    (through,) = torch.autograd.grad(expected, leaf)
    (seen,) = torch.autograd.grad(loss, moved.x)
    torch.testing.assert_close(seen, through)


def test_the_trained_step_is_one_of_the_chain() -> None:
    """Where the network has not moved, a step from x_t with its noise leads to the chain's next."""
    using = policy(SHORT)
    rows = prepared(learning("dxmi"), using)
    assert set(rows.step.tolist()) == {0, 1, 2}
    keys = [KEY / "round" / "sample" / i for i in range(len(rows))]
    x = torch.stack([(k / "start").normal(2) for k in keys]).double()
    chain = [x]
    for step in walk(using.sampler, using.old, x, keys, rows.cond):
        chain.append(step.state)
    for i, after, _ in measured(rows, using, False):
        k = int(rows.step[i])
        torch.testing.assert_close(rows.x[i], chain[k][i])
        torch.testing.assert_close(after[0], chain[k + 1][i])
    zero = torch.zeros(len(rows), dtype=F64)
    layout, weights = EnergyInput((2,), 1, False), using.memory[WEIGHTS]
    torch.testing.assert_close(rows.drawn, energy(layout, weights, chain[-1], zero, rows.cond))
    data = samples(len(rows)).x0
    torch.testing.assert_close(rows.real, energy(layout, weights, data, zero, rows.cond))


def toy(descent: Descent, seed: int = 0) -> Trainer:
    """Four prompts whose pictures are N(corner, 0.25): real data, no reward."""
    torch.set_num_threads(1)
    names, corners = list(CORNERS), torch.tensor(list(CORNERS.values()))
    which = torch.arange(2000) % len(names)
    data = corners[which] + 0.5 * (KEY / "pictures").normal(2000, 2)
    objective = replace(FREE, descent=descent, critic_steps=3, critic_rate=5e-3, time_cost=0.0)
    source = Offline(
        data, [names[i] for i in which.tolist()], Geometry(prompts=64, group=1), 0.0, SHORT
    )
    return Trainer(toy_model(), objective, source, Optimizer(lr=0.03), Team(), seed=seed)


def distance(trainer: Trainer) -> Tensor:
    (mean,) = trainer.weights.parameters.values()
    return (mean.detach() - torch.tensor(list(CORNERS.values()))).norm(dim=1)


@pytest.mark.parametrize("descent", ["ctrl", long("dxmi")])
def test_the_sampler_goes_where_the_data_is(descent: Descent) -> None:
    """Without a reward each prompt's mean comes near its corner, 1.41 away at the start."""
    trainer = toy(descent)
    for _ in range(100):
        metrics = trainer.step().metrics
    assert {"reward/mean", "reward/data", "step/inside"} <= metrics.keys()  # pyright: ignore
    assert distance(trainer).max() < 0.35
    assert trainer.evaluations.behaviour == 100 * 64 * 3
    assert trainer.evaluations.training_backward == 100 * 64


def test_a_resumed_run_goes_on_to_the_last_bit(tmp_path: Path) -> None:
    trainer, again = toy("ctrl"), toy("ctrl")
    for _ in range(2):
        trainer.step()
    checkpoint.load(checkpoint.save(tmp_path, trainer, 0.0), again)
    ours, theirs = ([t.step().metrics for _ in range(2)] for t in (again, trainer))
    assert ours == theirs
    assert torch.equal(again.memory[WEIGHTS], trainer.memory[WEIGHTS])
    assert torch.equal(distance(again), distance(trainer))


@pytest.mark.parametrize(
    "sampler",
    [
        Sampler((1.0,), ()),
        uniform(Heun(), 4),
        windowed(euler(), EulerMaruyama(reverse_sde(1.0, 0.75)), 0, 1, time_grid(4)),
    ],
)
def test_samplers_whose_steps_differ_are_refused(sampler: Sampler) -> None:
    with pytest.raises(ValueError, match="all of the same kernel"):
        check(sampler)
    assert check(uniform(ddim(), 3)).steps == 3


@pytest.mark.parametrize("wrong", [{"critic_rate": 0.0}, {"critic_steps": -1}, {"regulariser": 0}])
def test_settings_without_meaning_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="expected critic_rate > 0"):
        FewStep(**wrong)
