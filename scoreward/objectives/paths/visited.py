"""The states of a round as a value function sees them, in the order of their paths.

Every stored transition gives its state x_t; where a path ends, or its next step was not stored, the
state that it leads to is there too. On clean data r(x) is the reward that the sample earned.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scoreward.core.chain import Transitions
from scoreward.core.denoiser import Cond
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.rows import Rows, whole
from scoreward.objectives.base import Samples
from scoreward.objectives.paths.replay import PathRows, place, read

Branches = Literal["mixed", "denoised", "noisy"]


@dataclass(frozen=True)
class States(Rows):
    """`inputs` are what F reads beside the time; `first` is what r says.

    `after` is the number of the state that follows, -1 where the path is done; `length` is the
    time to it, in units of the mean step.
    """

    t: Float[Tensor, " states"]
    inputs: Float[Tensor, "states width"]
    first: Float[Tensor, " states"]
    reward: Float[Tensor, " states"]
    length: Float[Tensor, " states"]
    sample: Int[Tensor, " states"]
    step: Int[Tensor, " states"]
    after: Int[Tensor, " states"]


def visited(
    rows: PathRows, samples: Samples, policy: DiffusionPolicy, branches: Branches
) -> States:
    """The states of all rows, in their order, then those at the ends of what was stored."""
    path = rows.path
    after = following(path)
    ends = (after < 0).nonzero()[:, 0]
    after[ends] = len(path) + torch.arange(len(ends), device=after.device)
    x, t = torch.cat([path.x, path.next[ends]]), torch.cat([path.t, path.s[ends]])
    sample = torch.cat([path.sample, path.sample[ends]])
    step = torch.cat([path.step, path.step[ends] + 1])
    at = place(samples, sample)
    seen, late = read(path, path.answer, policy).x0, path.next[ends].clone()
    noisy = (t[len(path) :] > 0).nonzero()[:, 0]
    if len(noisy) and branches != "noisy":
        given = rows.cond if rows.cond is None else rows.cond[ends[noisy]]
        late[noisy] = policy.old(late[noisy], path.s[ends[noisy]], given).x0
    x0, reward = torch.cat([seen, late]), samples.reward[at].to(x)
    looked = x if branches == "noisy" else x0
    return States(
        t=t,
        inputs=inputs_of(x0 if branches == "denoised" else scaled(x, t, policy), at, samples.cond),
        first=torch.where(t > 0, rated(policy, looked, sample, step, t), reward),
        reward=reward,
        length=torch.cat([path.t - path.s, path.s[ends]]) * (step.max() + 1) / path.t.max(),
        sample=sample,
        step=step,
        after=torch.cat([after, torch.full_like(ends, -1)]),
    )


def following(path: Transitions) -> Int[Tensor, " rows"]:
    """The row that starts where a row ends, -1 where there is none."""
    if len(path) == 0:
        return path.row.clone()
    first, steps = path.sample.min(), int(path.step.max()) + 2
    place = (path.sample - first) * steps + path.step
    table = torch.full((int(place.max()) + 2,), -1, device=place.device)
    table[place] = torch.arange(len(path), device=place.device)
    return table[place + 1]


def scaled(x: Tensor, t: Tensor, policy: DiffusionPolicy) -> Tensor:
    """A state over √(α² + σ²), so that its size does not depend on the time."""
    alpha, sigma = policy.process.coefficients(t)
    return x / (alpha**2 + sigma**2).sqrt().reshape(-1, *[1] * (x.ndim - 1))


def inputs_of(x: Tensor, at: Tensor, cond: Cond) -> Float[Tensor, "states width"]:
    """State and condition as flat numbers; the condition of state i is that of sample at[i]."""
    said = described(cond)
    flat = x.flatten(1)
    return flat if said is None else torch.cat([flat, said[at].to(flat)], 1)


def described(cond: Cond) -> Tensor | None:
    """Class numbers, vectors, and means over phrases or tokens; nested rows field by field."""
    cond = whole(cond)
    if isinstance(cond, Rows):
        fields = [getattr(cond, name) for name in cond.__dataclass_fields__]
        parts = [described(f) for f in fields if isinstance(f, Tensor) and f.is_floating_point()]
        return torch.cat([p for p in parts if p is not None], 1) if parts else None
    if cond is None or cond.ndim == 2:
        return cond
    if cond.ndim == 1:
        return cond[:, None].float()
    return cond.mean(1).flatten(1)


def rated(policy: DiffusionPolicy, x: Tensor, sample: Tensor, step: Tensor, t: Tensor) -> Tensor:
    """r of noisy states, asked for one step of the path at a time; 0 for clean ones."""
    if policy.rollout.score is None:
        raise ValueError("a value of denoised predictions needs a source that can score them")
    said = torch.zeros_like(t)
    for number in step.unique().tolist():
        at = ((step == number) & (t > 0)).nonzero()[:, 0]
        if len(at):
            with torch.enable_grad():
                value = policy.rollout.score(x[at].detach().requires_grad_(), sample[at])
            said[at] = value.detach().to(said)
    return said


def gathered(states: States, value: Tensor, kept: Tensor) -> Float[Tensor, " states"]:
    """g_i = value_i + kept_i g_after(i), from the end of every path to its beginning."""
    total = value.clone()
    for number in sorted(states.step.unique().tolist(), reverse=True):
        at = ((states.step == number) & (states.after >= 0)).nonzero()[:, 0]
        total[at] = value[at] + kept[at] * total[states.after[at]]
    return total
