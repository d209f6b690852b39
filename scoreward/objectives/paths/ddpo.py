"""DDPO: denoising as a decision process, policy gradients on DDIM's Gaussian steps.

[ddpo] arXiv:2305.13301. The score-function estimator needs fresh samples for every update; the
importance-sampling estimator is the clipped ratio of each transition. Rewards are normalised by the
history of their prompt: Advantages(scale="prompt").
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from scoreward.core.policy import DiffusionPolicy
from scoreward.core.ratio import ratio_metrics
from scoreward.objectives.paths.base import PathObjective
from scoreward.objectives.paths.replay import Replay


@dataclass(frozen=True)
class DDPO(PathObjective):
    """The settings of the public PyTorch code."""

    clip: float | None = 1e-4  # code
    estimator: Literal["is", "sf"] = "is"  # the clipped ratio, or the score function

    def surrogate(self, seen: Replay, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        if self.estimator == "is":
            return super().surrogate(seen, policy)
        log_ratio = seen.log_ratio(self.log_prob, self.per_dimension)
        advantage = seen.rows.advantage
        loss = -(advantage * log_ratio).mean()  # [ddpo] (score function): ∇ log p is its gradient
        return loss, ratio_metrics(log_ratio, advantage, None)
