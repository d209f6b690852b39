"""What score as action keeps of a transition, and how its advantages and slopes are made."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scoreward.core.device import wide
from scoreward.core.gaussian import Gaussian
from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.objectives.base import Samples
from scoreward.objectives.paths.critic import PathCritic
from scoreward.objectives.paths.replay import PathRows, kernel_of, place, read, reduced
from scoreward.objectives.paths.visited import States, inputs_of, scaled


@dataclass(frozen=True)
class ActionRows(PathRows):
    """A transition with V before it, the return that followed, and ∇V after it if wanted.

    `asked` is how many rewards of unfinished samples V cost, for each sample.
    """

    value: Float[Tensor, " rows"]
    returns: Float[Tensor, " rows"]
    asked: Float[Tensor, " rows"]
    slope: Float[Tensor, "rows *shape"] | None


def normalised(
    advantage: Float[Tensor, " rows"],
    place: Int[Tensor, " rows"],
    places: int,
    total: Callable[[Tensor], Tensor],
) -> Float[Tensor, " rows"]:
    """Mean 0 and spread 1 at every place, over all processes.  [score-as-action] (normalisation)

    Where there is no spread it is 0.
    """
    values = wide(advantage)
    sums = values.new_zeros(3, places)
    for row, value in zip(sums, (torch.ones_like(values), values, values.square()), strict=True):
        row.index_add_(0, place, value)
    count, first, second = total(sums)
    mean = first / count.clamp(min=1)
    spread = (second / count.clamp(min=1) - mean**2).clamp(min=0).sqrt()
    spread = torch.where(spread > 1e-9 * (1 + mean.abs()), spread, torch.inf)
    return ((values - mean[place]) / spread[place]).to(advantage)


def chosen(rows: PathRows, fraction: float, key: Key) -> Bool[Tensor, " rows"]:
    """Whether a row is among the random steps of its sample, at least one of them."""
    kept = torch.ones_like(rows.sample, dtype=torch.bool)
    if fraction == 1:
        return kept
    for sample in rows.sample.unique().tolist():
        mine = (rows.sample == sample).nonzero()[:, 0]
        order = (key / "steps" / sample).permutation(len(mine)).to(mine.device)
        kept[mine[order[max(1, round(fraction * len(mine))) :]]] = False
    return kept


def step_kl(one: Gaussian, other: Gaussian, per_dimension: bool) -> Float[Tensor, " rows"]:
    """KL of two laws of one step, exact for any η and kernel.  [score-as-action] (step KL)

    (μ − μ')²/(2 std²), in nats or per dimension; a step without noise counts 0.
    """
    std = torch.where(one.std > 0, one.std, torch.full_like(one.std, torch.inf))
    return reduced(((one.mean - other.mean) / std).square() / 2, per_dimension)


def costs(
    rows: PathRows, states: States, policy: DiffusionPolicy, weight: float
) -> Float[Tensor, " states"]:
    """`weight` times the KL of each step to the first model's, in nats; 0 at the ends of paths."""
    cost = torch.zeros_like(states.t)
    if rows.reference is None or weight == 0:
        return cost
    kernel, path = kernel_of(rows.path, policy.sampler), rows.path
    old, first = (
        kernel(read(path, answer, policy), path.s) for answer in (path.answer, rows.reference)
    )
    cost[: len(rows)] = weight * step_kl(old, first, False)
    return cost


@torch.enable_grad()
def slopes(
    critic: PathCritic, states: States, rows: PathRows, samples: Samples, policy: DiffusionPolicy
) -> Float[Tensor, "rows *shape"]:
    """∇V at the state that each row leads to, through the denoiser and the reward."""
    path, branches, slope = rows.path, critic.settings.branches, torch.zeros_like(rows.path.x)
    for step in path.step.unique().tolist():
        at = (path.step == step).nonzero()[:, 0]
        x, t = path.next[at].detach().requires_grad_(), path.s[at]
        x0 = x
        if float(t.min()) > 0 and branches != "noisy":
            cond = None if rows.cond is None else rows.cond[at]
            x0 = policy.current(x, t, cond).x0
        if policy.rollout.score is None:
            raise ValueError("∇V needs a source whose rewards can be differentiated")
        looked = x if branches == "noisy" else x0
        given = states[states.after[at]]
        first = policy.rollout.score(looked, given.sample).to(x)
        looked_at = x0 if branches == "denoised" else scaled(x, t, policy)
        inputs = inputs_of(looked_at, place(samples, given.sample), samples.cond)
        value = critic(States(**vars(given) | {"first": first, "inputs": inputs}))
        (slope[at],) = torch.autograd.grad(value.sum(), x)
    return slope
