"""DGPO: a group-level preference between the better and the worse half of a group.

[dgpo] arXiv:2510.08425, as its public code has it. The group's weight at a time is a sigmoid of its
advantage-weighted gain over the reference; the ratio serves the clip alone, and no sampler needs
noise. Only the noisiest times are trained. A slow average of the policy is what the clip compares
with, and it draws the samples once enough updates are done.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scoreward.core.advantage import group_mean
from scoreward.core.likelihood import Times, squared_error
from scoreward.objectives.base import Needs
from scoreward.objectives.samples.answers import Answers, Share
from scoreward.objectives.samples.pairs import PairObjective

Each = Float[Tensor, "batch count"]
"""One number per (sample, time)."""


@dataclass(frozen=True)
class DGPO(PairObjective):
    """The settings of the public code."""

    pairs: int = 4  # code
    share: Share = "group_noise"  # code: times once a round, noise once a group and time
    times: Times = "distinct"  # code
    fraction: float = 0.7  # the noisiest of the grid; code: 7 of 10 times, GenEval 5 of 10
    anchor: float = 0.02  # λ, code: 0.02 OCR and GenEval, 1e-3 PickScore and slow reference
    beta: float = 100.0  # β_dpo, code: 100, PickScore 10, slow reference 2000
    clip: float | None = 1e-2  # of the ratio, code: 1e-5 to 5e-2, on in every configuration
    weight: Literal["time", "sample"] = "time"  # code: a weight per (group, time)
    reference: Literal["first", "slow"] = "first"  # whom the weight compares with; code: both
    samples_after: int = 200  # updates until the slow average draws; code: 200, GenEval 500

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta <= 0 or self.samples_after < 0:
            raise ValueError(
                "expected `beta` > 0 and `samples_after` >= 0, got "
                f"{self.beta} and {self.samples_after}"
            )
        if self.clip is not None and not 0 < self.clip < 1:
            raise ValueError(f"`clip` must be in (0, 1) or None, got {self.clip}")

    @property
    def needs(self) -> Needs:
        return replace(super().needs, together="updated")

    @property
    def compares(self) -> bool:
        return False

    @property
    def refers(self) -> bool:
        return super().refers or self.reference == "first"

    @property
    def averages(self) -> bool:
        return super().averages or self.clip is not None or self.reference == "slow"

    def slow_decay(self, updates: int) -> float:
        """min(0.3, 0.001 k).  [dgpo] (slow policy)"""
        return min(0.3, 0.001 * updates)

    def old_decay(self, updates: int) -> float:
        """A copy at first, then the slow policy's own decay.  [dgpo] (slow policy)"""
        return self.slow_decay(updates) if updates > self.samples_after else 0.0

    def matching(self, answers: Answers) -> tuple[Tensor, dict[str, Tensor]]:
        rows = answers.rows
        slow = answers.old if rows.slow is None else rows.slow  # on its own it is the old policy
        base = slow if self.reference == "slow" else rows.reference
        if base is None:
            raise ValueError("DGPO needs the reference's answers on the pairs")
        error, old, first = (squared_error(v, answers.target) for v in (answers.new, slow, base))
        weight = self.weights(rows.advantage, error.detach(), first, rows.group)
        kept = self.clipped(rows.advantage, error, old)
        loss = (weight * rows.advantage[:, None] * kept).mean()  # [dgpo] (loss)
        metrics = {"error/mean": error.detach().mean(), "weight/mean": weight.mean()}
        return loss, metrics

    def weights(
        self,
        advantage: Float[Tensor, " batch"],
        error: Each,
        first: Each,
        group: Int[Tensor, " batch"],
    ) -> Each:
        """sigmoid(mean of the group A β (ℓ − ℓ_ref)).  [dgpo] (weight)"""
        gain = advantage[:, None] * self.beta * (error - first)
        if self.weight == "sample":
            gain = gain.mean(1, keepdim=True).expand_as(gain)
        return group_mean(gain, group).sigmoid()

    def clipped(self, advantage: Float[Tensor, " batch"], error: Each, old: Each) -> Each:
        """The errors, without gradient where the ratio has already gone past the clip in the wanted
        direction; their values stay.  [dgpo] (clip)
        """
        if self.clip is None:
            return error
        ratio, wanted = (old - error.detach()).exp(), advantage[:, None] > 0
        done = torch.where(wanted, ratio > 1 + self.clip, ratio < 1 - self.clip)
        return torch.where(done, error.detach(), error)
