"""What an objective sees of the network: its readings, and what crosses rounds and processes.

A reading is the network asked with one set of weights, see `denoiser.NetworkReading`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scoreward.core.chain import Sampler, Transitions
from scoreward.core.denoiser import Cond, Denoiser, Guided
from scoreward.core.prediction import Kind
from scoreward.core.process import Process

Reading_co = TypeVar("Reading_co", covariant=True)

Score = Callable[[Tensor, Tensor], Tensor]
"""(x0, numbers of the samples) → rewards [batch], differentiable in x0 where that was asked for."""

EXACT = 2.0**-24
"""Unit roundoff of float32."""


def alone(value: Tensor) -> Tensor:
    """The sum over all processes, where there is one."""
    return value


@dataclass(frozen=True)
class Policy(Generic[Reading_co]):
    """Readings of one network: the one we train, the one that sampled, the one we stay near.

    `old` and `reference` carry no gradients. `memory` lives from round to round and in checkpoints;
    `total` adds a tensor up over processes.

    >>> import torch
    >>> import scoreward as sw
    >>> double = sw.Policy(lambda x: 2 * x, lambda x: x, lambda x: x)
    >>> double.current(3), double.total(torch.ones(2))
    (6, tensor([1., 1.]))
    """

    current: Reading_co
    old: Reading_co
    reference: Reading_co
    memory: dict[str, Tensor] = field(default_factory=dict, kw_only=True)
    total: Callable[[Tensor], Tensor] = field(default=alone, kw_only=True)


@dataclass(frozen=True)
class Rollout:
    """What a round's rollout left besides its samples, for objectives that asked for it."""

    paths: Transitions | None = None
    graphs: tuple[Tensor, ...] = ()  # the network's answers on the paths, with gradients
    leaf: Float[Tensor, "rows *shape"] | None = None  # the same in one, which collects gradients
    score: Score | None = None  # the reward
    flat: Bool[Tensor, " round"] | None = None  # of each of the round: no advantage in its group

    @staticmethod
    def of(
        paths: Transitions | None,
        graphs: Sequence[Tensor],
        score: Score | None = None,
        flat: Tensor | None = None,
    ) -> "Rollout":
        """With a leaf in the place of the answers, where there are any."""
        leaf = None
        if graphs:
            leaf = torch.cat([answer.detach() for answer in graphs]).requires_grad_()
        return Rollout(paths, tuple(graphs), leaf, score, flat)


@dataclass(frozen=True)
class DiffusionPolicy(Policy[Denoiser]):
    """A policy whose readings are denoisers, with what else is known of the round.

    `sampler` drew the samples. `on_policy` says that exactly one update follows and that `old`
    equals `current` in it, so that an objective may skip the second forward pass over the samples.

    >>> import scoreward as sw
    >>> toy, sampler = sw.recipe("vgrpo", on="toy").run().model, sw.Sampling(steps=2).sampler()
    >>> asked = toy.denoiser  # a trainer gives old and reference their own weights
    >>> policy = sw.DiffusionPolicy(asked, asked, asked, toy.process, sampler)
    >>> policy.times
    (1.0, 0.5, 0.0)
    """

    process: Process
    sampler: Sampler
    on_policy: bool = False
    kind: Kind = "velocity"  # of the network, in which answers are stored
    slow: Denoiser | None = None  # the average of `Objective.slow_decay`
    rounding: float = EXACT  # unit roundoff of what the network computes in
    null: Callable[[Cond], Cond] | None = None  # the condition of guidance, where there is one
    rollout: Rollout = Rollout()

    @property
    def times(self) -> tuple[float, ...]:
        """The grid the samples were drawn on."""
        return self.sampler.times

    def anchor(self, guidance: float) -> Denoiser:
        """What an anchor holds on to: the first model, or the same with guidance.  [crd] (KL)"""
        if guidance == 1.0:
            return self.reference
        if self.null is None:
            raise ValueError("`anchor_guidance` needs a model with a condition for guidance")
        return Guided(self.reference, guidance, self.null)
