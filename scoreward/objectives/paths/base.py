"""The switches of path methods: methods differ in which steps are random, in how a log-ratio
becomes a loss, and in their constants; a method changes defaults and `surrogate`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.prediction import Prediction
from scoreward.core.ratio import clipped_surrogate, ratio_metrics
from scoreward.objectives.base import Needs, Objective, Samples, every
from scoreward.objectives.paths.replay import (
    Form,
    PathRows,
    Replay,
    again,
    kernel_of,
    path_rows,
    place,
    read,
    replay,
    stored,
    uneven,
)


def but_the_last(stochastic: Sequence[int], steps: int) -> Sequence[int]:
    """The stochastic steps but one that ends on clean data."""
    return [i for i in stochastic if i < steps - 1]


@dataclass(frozen=True)
class PathObjective(Objective[Samples, PathRows, DiffusionPolicy]):
    """The switches that path methods share; a method changes defaults and `surrogate`."""

    clip: float | None = 1e-4  # ε of the ratio, per transition
    kl: float = 0.0  # β, weight of the distance to the first model
    kl_form: Literal["paper", "code"] = "paper"  # "code" is smaller by the factor Δ
    log_prob: Form = "gaussian"  # "unit" for Flow-CPS
    per_dimension: bool = True  # means over dimensions, as clip ranges are meant; False: nats
    last: bool = True  # train the last stochastic step if it ends on clean data
    skip_uniform: bool = False  # leave out groups whose advantages are all zero

    def __post_init__(self) -> None:
        if self.kl < 0:
            raise ValueError(f"`kl` is a weight and must not be negative, got {self.kl}")
        if self.clip is not None and self.clip <= 0:
            raise ValueError(f"`clip` must be positive or None, got {self.clip}")
        if self.kl and self.log_prob == "unit" and self.kl_form == "code":
            raise ValueError(
                'no public code has a KL for the log-probability of Flow-CPS; use kl_form="paper", '
                "which is ours there, or kl=0"
            )

    @property
    def needs(self) -> Needs:
        return Needs(
            data="paths",
            answers=True,
            sums=not self.per_dimension,
            graphs=True,
            trained=every if self.last else but_the_last,
        )

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> PathRows:
        rows = path_rows(samples, stored(policy.rollout.paths))
        if self.skip_uniform:
            rows = rows[self.teaching(rows, samples, policy)]
        return rows

    def answered(self, rows: PathRows, policy: DiffusionPolicy) -> PathRows:
        rows = again(rows, policy)
        return self.referred(rows, policy) if self.kl and rows.reference is None else rows

    def teaching(
        self, rows: PathRows, samples: Samples, policy: DiffusionPolicy
    ) -> Bool[Tensor, " rows"]:
        """Which rows are kept: all, or those of groups with a spread of rewards."""
        if not self.skip_uniform:
            return torch.ones_like(rows.sample, dtype=torch.bool)
        return uneven(samples, policy)[place(samples, rows.sample)]

    def referred(self, rows: PathRows, policy: DiffusionPolicy) -> PathRows:
        """The rows with what the first model answers; nothing is asked about no rows."""
        if not len(rows):
            return replace(rows, reference=rows.path.answer)
        answer = policy.reference(rows.path.x, rows.path.t, rows.cond).as_(policy.kind)
        return replace(rows, reference=answer)

    def loss(self, rows: PathRows, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        seen = replay(rows, policy)
        loss, metrics = self.surrogate(seen, policy)
        if rows.reference is not None:
            first = read(rows.path, rows.reference, policy)
            distance = self.distance(seen, first, policy).mean()
            gap = (seen.prediction.as_("velocity").detach() - first.as_("velocity")).square()
            loss = loss + self.kl * distance
            metrics |= {"kl/reference": distance.detach(), "drift/velocity": gap.mean()}
        return loss, metrics

    def distance(
        self, seen: Replay, first: Prediction, policy: DiffusionPolicy
    ) -> Float[Tensor, " rows"]:
        """To the first model: ‖μ − μ_first‖²/(2 std²).  [flow-grpo] (KL)

        The code's form is that times Δ.  [flow-grpo] (KL of the code)
        """
        kernel = kernel_of(seen.rows.path, policy.sampler)
        value = seen.distance(kernel(first, seen.rows.path.s), self.per_dimension)
        return value * seen.step_size if self.kl_form == "code" else value

    def surrogate(self, seen: Replay, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        """−E min(ρA, clip(ρ)A), one ratio per transition.  [flow-grpo] (5)"""
        log_ratio = seen.log_ratio(self.log_prob, self.per_dimension)
        advantage = seen.rows.advantage
        metrics = ratio_metrics(log_ratio, advantage, self.clip)
        return clipped_surrogate(log_ratio, advantage, self.clip), metrics
