"""What a round of data hands to an objective, and what an objective hands to the trainer."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from scoreward.chain import Transitions
from scoreward.denoiser import Cond, Denoiser
from scoreward.keys import Key
from scoreward.process import Process
from scoreward.rows import Rows


@dataclass(frozen=True)
class Policy:
    """Three readings of one network: the one we train, the one that sampled, the one we stay near.

    `old` and `reference` carry no gradients. `times` is the grid the samples were drawn on.
    `on_policy` says that exactly one update follows, so that `old` equals `current` in it and an
    objective may skip the second forward pass over the samples.
    """

    current: Denoiser
    old: Denoiser
    reference: Denoiser
    process: Process
    times: tuple[float, ...]
    on_policy: bool = False


@dataclass(frozen=True)
class Samples(Rows):
    """This process's share of a round; `sample` is the index within the whole round.

    Data without rewards (pretraining) has `advantage` and `group` of zeros.
    """

    x0: Float[Tensor, "batch *shape"]
    cond: Cond
    advantage: Float[Tensor, " batch"]
    group: Int[Tensor, " batch"]
    sample: Int[Tensor, " batch"]


class Objective(ABC):
    """What to learn from samples.  Knows nothing of optimisers, devices, processes or files."""

    stores_paths: bool = False
    """Whether the rollout must keep its stochastic transitions."""

    @abstractmethod
    def prepare(
        self, samples: Samples, paths: Transitions | None, policy: Policy, key: Key
    ) -> Rows:
        """Freeze whatever the updates compare against; called once per round, without gradients.

        The rows returned carry a field `sample`, by which the trainer forms minibatches.
        """

    @abstractmethod
    def loss(self, rows: Rows, policy: Policy) -> tuple[Tensor, dict[str, Tensor]]:
        """Mean loss over the rows, and metrics that are means over the rows."""
