"""What a round of data hands to an objective, and what an objective hands to the trainer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor

from scoreward.core.chain import Sampler, Transitions
from scoreward.core.denoiser import Cond, Denoiser, Guided
from scoreward.core.keys import Key
from scoreward.core.prediction import Kind
from scoreward.core.process import Process
from scoreward.core.rows import Rows

Score = Callable[[Tensor, Tensor], Tensor]
"""(x0, numbers of the samples) → rewards [batch], differentiable in x0 where that was asked for."""


EXACT = 2.0**-24
"""Unit roundoff of float32."""


def alone(value: Tensor) -> Tensor:
    """The sum over all processes, where there is one."""
    return value


@dataclass(frozen=True)
class Policy:
    """Readings of one network: the one we train, the one that sampled, the one we stay near.

    `old`, `reference` and `slow` carry no gradients. `sampler` drew the samples. `on_policy` says
    that exactly one update follows and that `old` equals `current` in it, so that an objective may
    skip the second forward pass over the samples.

    >>> import scoreward as sw
    >>> toy, sampler = sw.recipe("vgrpo", on="toy").run().model, sw.Sampling(steps=2).sampler()
    >>> asked = toy.denoiser  # a trainer gives old and reference their own weights
    >>> policy = sw.Policy(asked, asked, asked, toy.process, sampler)
    >>> policy.times
    (1.0, 0.5, 0.0)
    """

    current: Denoiser
    old: Denoiser
    reference: Denoiser
    process: Process
    sampler: Sampler
    on_policy: bool = False
    kind: Kind = "velocity"  # of the network, in which answers are stored
    slow: Denoiser | None = None  # the average of `Objective.slow_decay`
    kept: Float[Tensor, "rows *shape"] | None = None  # answers of the rollout, with gradients
    score: Score | None = None  # the reward, where the objective asks for it
    memory: dict[str, Tensor] = field(default_factory=dict)  # what lives from round to round
    answers_later: bool = False  # `prepare` leaves other policies' answers to `Objective.answered`
    rounding: float = EXACT  # unit roundoff of what the network computes in
    null: Callable[[Cond], Cond] | None = None  # the condition of guidance, where there is one
    total: Callable[[Tensor], Tensor] = alone  # the sum of a tensor over processes
    flat: Bool[Tensor, " round"] | None = None  # of each of the round: no advantage in its group

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


@dataclass(frozen=True)
class Samples(Rows):
    """This process's share of a round; `sample` is the index within the whole round.

    Data without rewards (pretraining) has `advantage`, `group` and `reward` of zeros. An objective
    that stores "starts" gets noise at the first time of the grid instead of x0.

    >>> import torch
    >>> import scoreward as sw
    >>> one, number, group = torch.ones(4), torch.arange(4), torch.tensor([0, 0, 1, 1])
    >>> samples = sw.Samples(torch.zeros(4, 2), None, one, group, number, one)
    >>> len(samples), samples[group == 1].sample
    (4, tensor([2, 3]))
    """

    x0: Float[Tensor, "batch *shape"]
    cond: Cond
    advantage: Float[Tensor, " batch"]
    group: Int[Tensor, " batch"]
    sample: Int[Tensor, " batch"]
    reward: Float[Tensor, " batch"]

    @property
    def series(self) -> Int[Tensor, " batch"]:
        """One number for the samples that are left out together where none has an advantage."""
        return self.group


@dataclass(frozen=True)
class Branched(Samples):
    """Branches of a trunk; those with the same place at each of its steps are a series."""

    place: Int[Tensor, " batch"]

    @property
    def series(self) -> Int[Tensor, " batch"]:
        return self.place


class Objective(ABC):
    """What to learn from samples.  Knows nothing of optimisers, devices, processes or files.

    >>> from dataclasses import replace
    >>> import torch
    >>> import scoreward as sw
    >>> class Weighted(sw.Objective):  # flow matching, weighted by advantages
    ...     def prepare(self, samples, paths, policy, key):
    ...         return samples
    ...     def loss(self, rows, policy):
    ...         t, eps = torch.rand(len(rows)), torch.randn_like(rows.x0)
    ...         x_t = torch.lerp(rows.x0, eps, t[:, None])
    ...         velocity = policy.current(x_t, t, rows.cond).as_("velocity")
    ...         missed = (velocity - (eps - rows.x0)).square().mean(1)
    ...         return (rows.advantage * missed).mean(), {"missed": missed.detach().mean()}
    >>> run = sw.recipe("vgrpo", on="toy").run(budget=sw.Budget(rounds=1), device="cpu")
    >>> start, trained = replace(run, objective=Weighted()).start()
    >>> trained.metrics["missed"] > 0
    True
    """

    stores: ClassVar[Literal["samples", "paths", "starts"]] = "samples"
    """What the rollout must keep: finished samples, also their stochastic transitions, or nothing
    but the starting noise, because the objective samples itself."""

    whole_groups: ClassVar[bool] = False
    """Whether the samples of a prompt must stay together on a process and in a micro-batch."""

    separable: ClassVar[bool] = False
    """Whether the rows of `prepare` need no other row, though samples had to stay together until
    there; micro-batches may then part them."""

    collective: ClassVar[bool] = False
    """Whether `prepare` adds up over processes, each of which must then hold a sample."""

    @property
    def asks(self) -> Literal["nothing", "rewards", "slopes"]:
        """What `prepare` wants of `Policy.score`: rewards of other x0 than the finished ones, or
        also their gradients."""
        return "nothing"

    @property
    def every_step(self) -> bool:
        """Whether paths also hold the steps that drew no noise."""
        return False

    @property
    def summed(self) -> bool:
        """Whether log-ratios are sums over the elements of a sample, in nats, instead of means."""
        return False

    @property
    def reuses_rollout(self) -> bool:
        """Whether `loss` can start from the rollout's own answers, `Policy.kept`."""
        return False

    def trained(self, stochastic: Sequence[int], steps: int) -> Sequence[int]:
        """Which stochastic steps of a path are stored; by default all."""
        return stochastic

    def old_decay(self, updates: int) -> float:
        """d of old ← d·old + (1 − d)·current before a round, after `updates`; 0 copies."""
        return 0.0

    def slow_decay(self, updates: int) -> float | None:
        """The same of the average `Policy.slow`; None keeps no such average."""
        return None

    @abstractmethod
    def prepare(
        self, samples: Samples, paths: Transitions | None, policy: Policy, key: Key
    ) -> Rows:
        """Freeze whatever the updates compare against; called once per round, without gradients.

        The rows returned carry a field `sample`, by which the trainer forms minibatches.
        """

    def answered(self, rows: Rows, policy: Policy) -> Rows:
        """The rows with what the other policies answer on them; by default as they are.

        Called once per round, without gradients, with just the rows that the first pass will train
        together: kernels may round differently in batches of other shapes, and networks that are
        equal must give equal numbers. `prepare` calls it itself unless `Policy.answers_later`.
        """
        return rows

    @abstractmethod
    def loss(self, rows: Rows, policy: Policy) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss over the rows, and metrics that are means over the rows."""
