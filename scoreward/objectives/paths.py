"""What path methods share: the stored transitions of a stochastic rollout, replayed.

Generation is a chain of Gaussian steps; a step's log-ratio compares the same stored transition
under the old and the current policy. Methods differ in which steps are random, in how a log-ratio
becomes a loss, and in their constants.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scoreward.chain import Sampler, Transitions
from scoreward.denoiser import Cond
from scoreward.gaussian import Gaussian
from scoreward.kernel import Kernel
from scoreward.keys import Key
from scoreward.objectives.base import Objective, Policy, Samples
from scoreward.prediction import Prediction, per_sample
from scoreward.ratio import clipped_surrogate, ratio_metrics
from scoreward.rows import Rows

Form = Literal["gaussian", "unit"]


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


def replay(rows: PathRows, policy: Policy) -> Replay:
    """The transitions under the current policy, from the rollout's own graph where it was kept."""
    path, kernel = rows.path, kernel_of(rows.path, policy.sampler)
    if policy.kept is None:
        prediction = policy.current(path.x, path.t, rows.cond)
    else:
        prediction = read(path, policy.kept[path.row], policy)
    old = kernel(read(path, path.answer, policy), path.s)
    return Replay(rows, prediction, kernel(prediction, path.s), old)


def read(path: Transitions, answer: Float[Tensor, "rows *shape"], policy: Policy) -> Prediction:
    """A stored answer as a prediction."""
    return Prediction.of(policy.kind, answer, path.x, path.t, policy.process)


@dataclass(frozen=True)
class PathObjective(Objective):
    """The switches that path methods share; a method changes defaults and `surrogate`."""

    clip: float | None = 1e-4  # ε of the ratio, per transition
    kl: float = 0.0  # β, weight of the distance to the first model
    kl_form: Literal["paper", "code"] = "paper"  # the code leaves out Δ: smaller by that factor
    log_prob: Form = "gaussian"  # "unit" for Flow-CPS
    per_dimension: bool = True  # means over dimensions, as in all public code; False: nats
    last: bool = True  # train the last stochastic step if it ends on clean data
    skip_uniform: bool = False  # leave out groups whose advantages are all zero

    stores = "paths"

    def __post_init__(self) -> None:
        if self.kl < 0:
            raise ValueError(f"`kl` is a weight and must not be negative, got {self.kl}")
        if self.clip is not None and self.clip <= 0:
            raise ValueError(f"`clip` must be positive or None, got {self.clip}")

    @property
    def reuses_rollout(self) -> bool:
        return True

    def trained(self, stochastic: Sequence[int], steps: int) -> Sequence[int]:
        return stochastic if self.last else [i for i in stochastic if i < steps - 1]

    def prepare(
        self, samples: Samples, paths: Transitions | None, policy: Policy, key: Key
    ) -> PathRows:
        rows = path_rows(samples, stored(paths))
        if self.skip_uniform:
            rows = rows[uneven(samples)[place(samples, rows.sample)]]
        return self.referred(rows, policy) if self.kl else rows

    def referred(self, rows: PathRows, policy: Policy) -> PathRows:
        """The rows with what the first model answers."""
        answer = policy.reference(rows.path.x, rows.path.t, rows.cond).as_(policy.kind)
        return PathRows(rows.path, rows.cond, rows.advantage, answer, rows.sample)

    def loss(self, rows: Rows, policy: Policy) -> tuple[Tensor, dict[str, Tensor]]:
        rows = cast(PathRows, rows)
        seen = replay(rows, policy)
        loss, metrics = self.surrogate(seen, policy)
        if rows.reference is not None:
            first = read(rows.path, rows.reference, policy)
            distance = self.distance(seen, first, policy).mean()
            gap = (seen.prediction.as_("velocity").detach() - first.as_("velocity")).square()
            loss = loss + self.kl * distance
            metrics |= {"kl/reference": distance.detach(), "drift/velocity": gap.mean()}
        return loss, metrics

    def distance(self, seen: Replay, first: Prediction, policy: Policy) -> Float[Tensor, " rows"]:
        """To the first model: ‖μ − μ_first‖²/(2 std²).  [flow-grpo] (KL)

        The code's form is that times Δ.  [flow-grpo] (KL of the code)
        """
        kernel = kernel_of(seen.rows.path, policy.sampler)
        value = seen.distance(kernel(first, seen.rows.path.s), self.per_dimension)
        return value * seen.step_size if self.kl_form == "code" else value

    def surrogate(self, seen: Replay, policy: Policy) -> tuple[Tensor, dict[str, Tensor]]:
        """−E min(ρA, clip(ρ)A), one ratio per transition.  [flow-grpo] (5)"""
        log_ratio = seen.log_ratio(self.log_prob, self.per_dimension)
        advantage = seen.rows.advantage
        metrics = ratio_metrics(log_ratio, advantage, self.clip)
        return clipped_surrogate(log_ratio, advantage, self.clip), metrics


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


def uneven(samples: Samples) -> Tensor:
    """Whether a sample's group has any advantage that is not 0."""
    low = samples.group - samples.group.min()
    total = torch.zeros(int(low.max()) + 1, dtype=samples.advantage.dtype, device=low.device)
    return (total.index_add_(0, low, samples.advantage.abs()) > 0)[low]


def over_steps(weight: Float[Tensor, " rows"], like: Tensor) -> Tensor:
    """A number per row, shaped to multiply states."""
    return per_sample(weight, like)
