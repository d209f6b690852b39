"""Finished samples, their (t, ε) pairs, and the velocities that policies answer on them.

Nothing of the trajectory is used, so any sampler may draw the samples. Answers are kept as
velocities; every other reading of them is a linear form.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from scoreward.core.denoiser import Cond
from scoreward.core.likelihood import NoisySamples, targets
from scoreward.core.prediction import Kind, Prediction
from scoreward.core.process import Process
from scoreward.core.rows import Rows

Share = Literal["none", "times", "group_noise", "group", "batch"]
"""Who sees the same pairs: nobody, a group or the whole batch. With "times" the batch shares its
times and nobody the noise, with "group_noise" the batch shares its times and a group the noise."""


@dataclass(frozen=True)
class PairRows(Rows):
    """Samples, their pairs, and the velocities that other policies answered on them."""

    x0: Float[Tensor, "batch *shape"]
    cond: Cond
    advantage: Float[Tensor, " batch"]
    reward: Float[Tensor, " batch"]
    group: Int[Tensor, " batch"]
    pairs: NoisySamples
    old: Float[Tensor, "batch count *shape"] | None
    reference: Float[Tensor, "batch count *shape"] | None
    slow: Float[Tensor, "batch count *shape"] | None
    sample: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Answers:
    """Rows with the velocities of the current and the old policy; `old` carries no gradient."""

    rows: PairRows
    process: Process
    new: Float[Tensor, "batch count *shape"]
    old: Float[Tensor, "batch count *shape"]

    @property
    def target(self) -> Float[Tensor, "batch count *shape"]:
        """The velocity that leads to x0: ε − x0 on rectified flow."""
        return targets(self.process, self.rows.x0, self.rows.pairs, "velocity")

    def read(self, velocity: Tensor, kind: Kind) -> Float[Tensor, "batch count *shape"]:
        """Velocities on the pairs in another parameterisation."""
        return read(velocity, self.rows.pairs, kind, self.process)


def read(
    velocity: Float[Tensor, "batch count *shape"], pairs: NoisySamples, kind: Kind, process: Process
) -> Float[Tensor, "batch count *shape"]:
    """Velocities on pairs, read as `kind`."""
    if kind == "velocity":
        return velocity
    flat = Prediction.of(
        "velocity", velocity.flatten(0, 1), pairs.x_t.flatten(0, 1), pairs.t.flatten(), process
    )
    return flat.as_(kind).reshape(velocity.shape)
