"""A stochastic rollout of an analytic policy in float64, for the tests of path methods."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scoreward.core.advantage import Advantages
from scoreward.core.chain import Sampler, Transitions, Tree, rollout, uniform
from scoreward.core.denoiser import NetworkDenoiser
from scoreward.core.kernel import EulerMaruyama, flow_sde
from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.process import RectifiedFlow, time_grid
from scoreward.models.analytic import GaussianPolicy
from scoreward.objectives.base import Objective, Samples
from scoreward.objectives.paths.replay import PathRows, kernel_of
from tests.core.laws import F64

KEY, FLOW, DIM = Key(("rollouts",)), RectifiedFlow(), 3
GRID = time_grid(6)
SDE = uniform(EulerMaruyama(flow_sde(0.7, at_one=GRID[1])), 6)


def reading(shift: float = 0.0) -> NetworkDenoiser:
    module = GaussianPolicy(prompts=3, dim=DIM).double()
    with torch.no_grad():
        module.mean.copy_((KEY / "means").normal(3, DIM, dtype=F64) + shift)
    return NetworkDenoiser(module, FLOW)


def policy(shift: float = 0.0, sampler: Sampler = SDE, on_policy: bool = False) -> DiffusionPolicy:
    """`shift` is how far the current policy has gone since the samples were drawn."""
    return DiffusionPolicy(reading(shift), reading(0.0), reading(-0.5), FLOW, sampler, on_policy)


@dataclass(frozen=True)
class Round:
    """Samples, their transitions and what was earned."""

    samples: Samples
    paths: Transitions


def drawn(sampler: Sampler = SDE, group: int = 4, tree: Tree | None = None) -> Round:
    """Three prompts; the reward is the first coordinate."""
    count = 3 * group
    which = torch.arange(3).repeat_interleave(group)
    keys = [KEY / "sample" / i for i in range(count)]
    starts = torch.stack([(k / "start").normal(DIM, dtype=F64) for k in keys])
    if tree is not None:
        starts = starts[which * group]
    path = rollout(sampler, reading(), starts, keys, which, tree)
    reward = path.last[:, 0]
    advantage = Advantages(floor=0.0)(reward[None], torch.ones(1, dtype=F64), which)
    samples = Samples(path.last, which, advantage, which, torch.arange(count), reward)
    return Round(samples, path.transitions())


def prepared(objective: Objective, made: Round, using: DiffusionPolicy) -> PathRows:
    steps = list(
        objective.needs.trained(sorted(set(made.paths.step.tolist())), using.sampler.steps)
    )
    paths = made.paths[torch.isin(made.paths.step, torch.tensor(steps))]
    with torch.no_grad():
        rows = objective.ready(
            made.samples,
            replace(using, rollout=replace(using.rollout, paths=paths)),
            KEY / "prepare",
        )
    assert isinstance(rows, PathRows)
    return rows


def slope(objective: Objective, rows: PathRows, using: DiffusionPolicy) -> Tensor:
    """Gradient of the loss in the means of the current policy."""
    loss, _ = objective.loss(rows, using)
    assert isinstance(using.current, NetworkDenoiser)
    (gradient,) = torch.autograd.grad(loss, list(using.current.network.parameters()))
    return gradient


def score_function(rows: PathRows, using: DiffusionPolicy, weight: Tensor | None = None) -> Tensor:
    """−∇ E[w A log p / d], written without any objective."""
    kernel = kernel_of(rows.path, using.sampler)
    law = kernel(using.current(rows.path.x, rows.path.t, rows.cond), rows.path.s)
    log_p = law.log_prob(rows.path.next) / DIM
    value = -(rows.advantage * log_p * (1 if weight is None else weight)).mean()
    assert isinstance(using.current, NetworkDenoiser)
    (gradient,) = torch.autograd.grad(value, list(using.current.network.parameters()))
    return gradient


def turned(rows: PathRows) -> PathRows:
    """The same rows with their advantages turned around."""
    return replace(rows, advantage=-rows.advantage)
