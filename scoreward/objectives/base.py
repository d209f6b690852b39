"""What a round of data hands to an objective, and what an objective hands to the trainer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar, get_args, get_origin

from jaxtyping import Float, Int
from torch import Tensor

from scoreward.core.denoiser import Cond
from scoreward.core.keys import Key
from scoreward.core.policy import Policy
from scoreward.core.rows import NumberedRows, Rows


@dataclass(frozen=True)
class Samples(Rows):
    """This process's share of a round; `sample` is the index within the whole round.

    Data without rewards (pretraining) has `advantage`, `group` and `reward` of zeros. An objective
    that needs "starts" gets noise at the first time of the grid instead of x0.

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


def every(stochastic: Sequence[int], steps: int) -> Sequence[int]:
    """All stochastic steps of a path."""
    return stochastic


@dataclass(frozen=True)
class Needs:
    """What an objective needs of those who draw its samples and form its batches.

    `data` is what a rollout keeps: finished samples, also their stochastic transitions, or nothing
    but the starting noise, because the objective samples itself. `together` says how long the
    samples of a prompt must stay on one process and in one micro-batch: not at all, until `prepare`
    has made rows that need no other row, or in every update. `reward` says which x0
    `Rollout.score` is asked about: none, any, or any with the gradient of the reward.

    >>> import scoreward as sw
    >>> sw.methods["vgrpo"].objective.needs == sw.Needs(answers=True)
    True
    """

    data: Literal["samples", "paths", "starts"] = "samples"
    together: Literal["never", "prepared", "updated"] = "never"
    reward: Literal["nothing", "rewards", "slopes"] = "nothing"
    answers: bool = False  # `answered` asks other readings, in the batches of the first pass
    everyone: bool = False  # `prepare` adds up over processes, each of which must hold a sample
    every_step: bool = False  # paths also hold the steps that drew no noise
    sums: bool = False  # log-ratios are sums over a sample's elements, in nats, instead of means
    graphs: bool = False  # `loss` can start from the rollout's own answers, `Rollout.leaf`
    trained: Callable[[Sequence[int], int], Sequence[int]] = every
    """(stochastic steps of a path, all its steps) → the steps to store."""

    @property
    def whole_groups(self) -> bool:
        """Whether the samples of a prompt must reach `prepare` together."""
        return self.together != "never"


GivenT = TypeVar("GivenT", bound=Rows)
Given_co = TypeVar("Given_co", bound=Rows, covariant=True)
RowsT = TypeVar("RowsT", bound=NumberedRows)
PolicyT = TypeVar("PolicyT", bound=Policy[object])


EARLIER = frozenset(
    ["stores", "whole_groups", "separable", "collective", "asks", "every_step", "reuses_rollout"]
)
"""Switches of earlier versions, which are fields of `Needs` now."""


class Objective(ABC, Generic[GivenT, RowsT, PolicyT]):
    """What to learn from samples.  Knows nothing of optimisers, devices, processes or files.

    Of pictures it is an `Objective[Samples, rows of its own, DiffusionPolicy]`.

    >>> from dataclasses import replace
    >>> import torch
    >>> import scoreward as sw
    >>> class Weighted(sw.Objective):  # flow matching, weighted by advantages
    ...     def prepare(self, samples, policy, key):
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

    def __init_subclass__(cls) -> None:
        """Refuse what an earlier version read: a switch that nobody reads would change nothing."""
        super().__init_subclass__()
        if unread := sorted(EARLIER & vars(cls).keys()):
            raise TypeError(
                f"`{cls.__name__}.{unread[0]}` is not read; say what {cls.__name__} needs in its "
                "property `needs`, see scoreward.Needs"
            )

    @property
    def needs(self) -> Needs:
        """What the round must be like; by default finished samples, parted anywhere."""
        return Needs()

    @classmethod
    def given(cls) -> type[Rows] | None:
        """What samples it learns from, as its class says: `Objective[Samples, …]`; None for any."""
        for base in cls.__mro__:
            for said in getattr(base, "__orig_bases__", ()):
                if get_origin(said) is Objective and isinstance(get_args(said)[0], type):
                    return get_args(said)[0]
        return None

    def old_decay(self, updates: int) -> float:
        """d of old ← d·old + (1 − d)·current before a round, after `updates`; 0 copies."""
        return 0.0

    def slow_decay(self, updates: int) -> float | None:
        """The same of the average `DiffusionPolicy.slow`; None keeps no such average."""
        return None

    @abstractmethod
    def prepare(self, samples: GivenT, policy: PolicyT, key: Key) -> RowsT:
        """Freeze whatever the updates compare against; called once per round, without gradients.

        The rows returned carry a field `sample`, by which the trainer forms minibatches.
        """

    def answered(self, rows: RowsT, policy: PolicyT) -> RowsT:
        """The rows with what the other readings answer on them; by default as they are.

        Called once per round, without gradients, with just the rows that the first pass will train
        together: kernels may round differently in batches of other shapes, and networks that are
        equal must give equal numbers.
        """
        return rows

    def ready(self, samples: GivenT, policy: PolicyT, key: Key) -> RowsT:
        """Rows for `loss` in one step, for whoever trains all of them together."""
        return self.answered(self.prepare(samples, policy, key), policy)

    @abstractmethod
    def loss(self, rows: RowsT, policy: PolicyT) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss over the rows, and metrics that are means over the rows."""
