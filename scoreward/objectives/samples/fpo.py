"""FPO: one clipped ratio per sample from flow-matching losses on stored pairs.

[fpo] arXiv:2507.21053. The ancestor of V-GRPO, made for control; here its advantages are those of
the group instead of a critic's.
"""

from dataclasses import dataclass

from torch import Tensor

from scoreward.core.likelihood import squared_error
from scoreward.core.ratio import clipped_surrogate, ratio_metrics
from scoreward.objectives.samples.answers import Answers
from scoreward.objectives.samples.pairs import PairObjective


@dataclass(frozen=True)
class FPO(PairObjective):
    """The settings of the public code, for MuJoCo where they differ; `share` is ours."""

    pairs: int = 8  # code: 8 MuJoCo, 50 grid world
    clip: float | None = 0.05  # code: 0.05 MuJoCo, 0.2 grid world, 0.01 humanoid
    bound: float | None = 3.0  # of the exponent; code of the grid world, after the mean over pairs

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value in (("clip", self.clip), ("bound", self.bound)):
            if value is not None and value <= 0:
                raise ValueError(f"`{name}` must be positive or None, got {value}")

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
