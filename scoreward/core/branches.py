"""Branches: a deterministic path with a few noisy successors at every step, finished without noise.

[temp-flow] arXiv:2508.04324. A start's trunk is an ODE and never follows a branch. At a step the
branches of a start leave from one state and differ by the noise of that step alone, so that a
difference of their rewards belongs to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scoreward.core.chain import Sampler, Transitions, repeated
from scoreward.core.denoiser import Cond, Denoiser
from scoreward.core.gaussian import Gaussian
from scoreward.core.kernel import euler
from scoreward.core.keys import Key, normal_each
from scoreward.core.prediction import Kind, Prediction
from scoreward.core.rows import join, repeat_rows


@dataclass(frozen=True)
class BranchLayout:
    """How the samples of a prompt are numbered: start by start, branch by branch, step by step."""

    branches: int
    steps: int

    @property
    def block(self) -> int:
        """The samples of one start."""
        return self.branches * self.steps

    def column(self, sample: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """One number for the branches of one start at one step."""
        return sample // self.block * self.steps + sample % self.steps

    def series(self, sample: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """One number for the branches of one start that have the same place at each step."""
        return sample // self.steps

    def calls(self, steps: Sequence[int], total: int) -> int:
        """Σ_k (1 + B (T − 1 − k)): network evaluations of a start; the trunk ends with its last
        branches.  [temp-flow] (branches)
        """
        return max(steps) + 1 + sum(self.branches * (total - 1 - k) for k in steps)


@dataclass(frozen=True)
class Grown:
    """Finished branches and the step at which each left its trunk, in the order of the layout."""

    x0: Float[Tensor, "samples *shape"]
    paths: Transitions


@torch.no_grad()
def grow(
    sampler: Sampler,
    steps: Sequence[int],
    branches: int,
    denoiser: Denoiser,
    x: Float[Tensor, "starts *shape"],
    keys: Sequence[Key],
    cond: Cond,
    kind: Kind,
) -> Grown:
    """Branches of every start `x` at each of `steps`, by the sampler's kernel there; Euler besides.

    `keys` has an address per branch, in the order of the layout; `cond` a row per start.
    [temp-flow] (branches)
    """
    layout = BranchLayout(branches, len(steps))
    given = None if cond is None else repeat_rows(cond, branches)
    grown, left = x[:0], []
    for i in range(sampler.steps):
        if len(grown):
            many = cast(Cond, join([given] * len(left)))
            said = denoiser(grown, grown.new_full((len(grown),), sampler.times[i]), many)
            grown = _onward(said, sampler.times[i + 1])
        if i <= max(steps):
            said = denoiser(x, x.new_full((len(x),), sampler.times[i]), cond)
            if i in steps:
                mine = keys[len(left) :: layout.steps]
                left.append(_leave(sampler, i, said, branches, mine, kind))
                grown = torch.cat([grown, left[-1].next])
            x = _onward(said, sampler.times[i + 1])
    order = torch.arange(len(grown), device=x.device).reshape(layout.steps, -1).T.flatten()
    return Grown(grown[order], join(left)[order])


def _onward(said: Prediction, time: float) -> Tensor:
    """One step of Euler."""
    return euler()(said, torch.full_like(said.t, time)).mean


def _leave(
    sampler: Sampler, step: int, said: Prediction, branches: int, keys: Sequence[Key], kind: Kind
) -> Transitions:
    """The noisy successors of each state of the trunk."""
    s = torch.full_like(said.t, sampler.times[step + 1])
    law: Gaussian = repeated(sampler.kernels[step](said, s), branches)
    noise = normal_each((key / "step" / step for key in keys), tuple(law.mean.shape[1:]))
    state = law.sample(noise.to(law.mean))
    number = torch.arange(len(state), device=state.device)
    return Transitions(
        x=repeat_rows(said.x_t, branches),
        next=state,
        t=repeat_rows(said.t, branches),
        s=repeat_rows(s, branches),
        log_prob=law.log_prob(state),
        answer=repeat_rows(said.as_(kind), branches),
        step=torch.full_like(number, step),
        sample=number,
        row=number,
    )
