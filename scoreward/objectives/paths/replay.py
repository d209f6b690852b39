"""What path methods share: the stored transitions of a stochastic rollout, replayed.

Generation is a chain of Gaussian steps; a step's log-ratio compares the same stored transition
under the old and the current policy.
"""

from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scoreward.core.chain import Sampler, Transitions
from scoreward.core.denoiser import Cond
from scoreward.core.gaussian import Gaussian
from scoreward.core.kernel import Kernel
from scoreward.core.policy import EXACT, DiffusionPolicy
from scoreward.core.prediction import Prediction
from scoreward.core.rows import Rows
from scoreward.objectives.base import Samples

Form = Literal["gaussian", "unit"]
R = TypeVar("R", bound="PathRows")


@dataclass(frozen=True)
class PathRows(Rows):
    """Transitions with what their samples earned; `reference` are the first model's answers."""

    path: Transitions
    cond: Cond
    advantage: Float[Tensor, " rows"]
    reference: Float[Tensor, "rows *shape"] | None
    sample: Int[Tensor, " rows"]


@dataclass(frozen=True)
class Replay:
    """Stored transitions under the current and the old policy."""

    rows: PathRows
    prediction: Prediction
    new: Gaussian
    old: Gaussian

    @property
    def step_size(self) -> Float[Tensor, " rows"]:
        """Δ = t − s."""
        return self.rows.path.t - self.rows.path.s

    def log_ratio(self, form: Form, per_dimension: bool) -> Float[Tensor, " rows"]:
        """log p(x_s | x_t) minus the same under the old policy.  [flow-grpo] (5)

        `unit` is Flow-CPS's log p = −(x_s − μ)², without the variance.  [flow-cps] (log-prob)
        """
        seen = self.rows.path.next
        gain = (seen - self.old.mean).square() - (seen - self.new.mean).square()
        if form == "gaussian":
            gain = gain / (2 * self.new.std**2)
        return reduced(gain, per_dimension)

    def distance(self, other: Gaussian, per_dimension: bool) -> Float[Tensor, " rows"]:
        """KL between Gaussians of equal std: (μ − μ')²/(2 std²)."""
        gap = (self.new.mean - other.mean).square() / (2 * self.new.std**2)
        return reduced(gap, per_dimension)


def reduced(value: Float[Tensor, "rows *shape"], per_dimension: bool) -> Float[Tensor, " rows"]:
    """Sum over the event, or its mean, for which published clip ranges are made."""
    flat = value.flatten(1)
    return flat.mean(1) if per_dimension else flat.sum(1)


def kernel_of(path: Transitions, sampler: Sampler) -> Kernel:
    """The kernel that drew the transitions; they must all share one."""
    kernels = {sampler.kernels[i] for i in path.step.unique().tolist()}
    if len(kernels) != 1:
        raise ValueError(
            f"the stored steps were drawn by {len(kernels)} different kernels; a path method needs "
            "one stochastic kernel, for example chain.windowed(euler(), EulerMaruyama(...), ...)"
        )
    return kernels.pop()


def replay(rows: PathRows, policy: DiffusionPolicy) -> Replay:
    """The transitions under the current policy, from the rollout's own graph where it was kept.

    Before the only update of a round the old policy is the current one, so its answers are those.
    """
    path, kernel = rows.path, kernel_of(rows.path, policy.sampler)
    if policy.rollout.leaf is None:
        prediction = policy.current(path.x, path.t, rows.cond)
    else:
        prediction = read(path, policy.rollout.leaf[path.row], policy)
    old = prediction.detach() if policy.on_policy else read(path, path.answer, policy)
    return Replay(rows, prediction, kernel(prediction, path.s), kernel(old, path.s))


def again(rows: R, policy: DiffusionPolicy) -> R:
    """Rows whose old answers are asked for again where the rollout's would not do.

    A network that rounds more coarsely than float32 may answer differently in a batch of another
    shape; the ratio of an update's answers to the rollout's is then not 1 before the update.
    """
    if policy.on_policy or policy.rounding <= EXACT or not len(rows):
        return rows
    path = rows.path
    answer = policy.old(path.x, path.t, rows.cond).as_(policy.kind)
    return replace(rows, path=replace(path, answer=answer))


def read(
    path: Transitions, answer: Float[Tensor, "rows *shape"], policy: DiffusionPolicy
) -> Prediction:
    """A stored answer as a prediction."""
    return Prediction.of(policy.kind, answer, path.x, path.t, policy.process)


def stored(paths: Transitions | None) -> Transitions:
    """The transitions, or a sentence if the rollout had no noise."""
    if paths is None or not len(paths):
        raise ValueError(
            "a path method needs stochastic steps and the rollout had none; give it a sampler with "
            "noise (EulerMaruyama, or DDIM with eta > 0)"
        )
    return paths


def path_rows(samples: Samples, path: Transitions) -> PathRows:
    """Each transition with the condition and the advantage of its sample."""
    at = place(samples, path.sample)
    cond = None if samples.cond is None else samples.cond[at]
    advantage = samples.advantage[at].to(path.x.dtype)
    return PathRows(path, cond, advantage, None, path.sample)


def place(samples: Samples, sample: Int[Tensor, " rows"]) -> Int[Tensor, " rows"]:
    """Where in `samples` the samples of these numbers are; numbers rise without gaps."""
    return sample - samples.sample[0]


def uneven(samples: Samples, policy: DiffusionPolicy) -> Tensor:
    """Whether a sample's group has any advantage that is not 0, its part elsewhere included.

    Of branches it is the series that counts, which is never parted.
    """
    if policy.rollout.flat is not None:
        return ~policy.rollout.flat.to(samples.sample.device)[samples.sample]
    low = samples.series - samples.series.min()
    total = torch.zeros(int(low.max()) + 1, dtype=samples.advantage.dtype, device=low.device)
    return (total.index_add_(0, low, samples.advantage.abs()) > 0)[low]
