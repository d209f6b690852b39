"""MixGRPO: noise, and training, only inside a window of steps that moves over training.

[mix-grpo] arXiv:2507.21802. The rollout is an ODE outside the window (`windows.Window`), so the
reward's spread within a group comes from the window's noise alone, and only its transitions are
trained.
"""

from dataclasses import dataclass

from torch import Tensor

from scoreward.core.policy import DiffusionPolicy
from scoreward.objectives.paths.base import PathObjective
from scoreward.objectives.paths.replay import Replay


@dataclass(frozen=True)
class MixGRPO(PathObjective):
    """The settings of the public code; the window belongs to the rollout."""

    clip: float | None = 1e-4  # code
    kl: float = 0.0  # code: 0 on FLUX; 0.001 on SD3.5-M is second-hand
    squared_log_ratio: float = 0.0  # weight of ½ (log p − log p_old)², an option of the code

    def surrogate(self, seen: Replay, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        loss, metrics = super().surrogate(seen, policy)
        if self.squared_log_ratio:
            log_ratio = seen.log_ratio(self.log_prob, self.per_dimension)
            penalty = 0.5 * log_ratio.square().mean()  # [mix-grpo] (KL of the code)
            loss, metrics["penalty"] = loss + self.squared_log_ratio * penalty, penalty.detach()
        return loss, metrics
