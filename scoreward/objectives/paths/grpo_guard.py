"""GRPO-Guard: ratios without their negative bias, and equal over the steps.

[grpo-guard] arXiv:2510.22319. The advantages of its code are divided by the group's deviation.
"""

from dataclasses import dataclass

from torch import Tensor

from scoreward.core.policy import DiffusionPolicy
from scoreward.core.ratio import clipped_gain, ratio_metrics
from scoreward.objectives.paths.base import PathObjective
from scoreward.objectives.paths.replay import Replay, reduced


@dataclass(frozen=True)
class GRPOGuard(PathObjective):
    """The settings of the public code."""

    clip: float | None = 2e-6  # code: 2e-6 OCR and GenEval, 4e-6 PickScore
    last: bool = False  # code: timestep fraction 0.99 drops the last of ten
    skip_uniform: bool = True  # code: groups without a spread of rewards are left out
    per_step: bool = True  # divide by Δ, code

    def surrogate(self, seen: Replay, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        """ρ = exp(κ (log p − log p_old + mean Δμ²/2κ²)), κ = std.  [grpo-guard] (ratio)"""
        spread = seen.new.std.flatten(1).mean(1)
        shift = reduced((seen.new.mean - seen.old.mean).square(), True) / (2 * spread**2)
        log_ratio = spread * (seen.log_ratio("gaussian", True) + shift)
        advantage = seen.rows.advantage
        gain = clipped_gain(log_ratio, advantage, self.clip)
        loss = -gain / seen.step_size if self.per_step else -gain
        return loss.mean(), ratio_metrics(log_ratio, advantage, self.clip)
