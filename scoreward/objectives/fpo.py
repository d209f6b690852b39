"""FPO: one clipped ratio per sample from flow-matching losses on stored pairs.

[fpo] arXiv:2507.21053. The ancestor of V-GRPO, made for control; here its advantages are those of
the group instead of a critic's.
"""

from dataclasses import dataclass

from torch import Tensor

from scoreward.likelihood import squared_error
from scoreward.objectives.pairs import Answers, PairObjective
from scoreward.ratio import clipped_surrogate, ratio_metrics


@dataclass(frozen=True)
class FPO(PairObjective):
    """The settings of the public code for MuJoCo."""

    pairs: int = 8  # code: 8; 50 in the grid world
    clip: float | None = 0.05  # code: 0.05; 0.2 grid world, 0.01 humanoid
    bound: float | None = 3.0  # of the exponent, code

    def matching(self, answers: Answers) -> tuple[Tensor, dict[str, Tensor]]:
        target = answers.target
        error, old = (squared_error(v, target) for v in (answers.new, answers.old))
        log_ratio = (old - error).mean(1)  # [fpo] (ratio)
        if self.bound is not None:
            log_ratio = log_ratio.clamp(-self.bound, self.bound)
        advantage = answers.rows.advantage
        metrics = ratio_metrics(log_ratio, advantage, self.clip)
        metrics["error/mean"] = error.detach().mean()
        return clipped_surrogate(log_ratio, advantage, self.clip), metrics
