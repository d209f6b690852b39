"""Flow-DPPO: no ratio clip; a transition is dropped once its exact KL is too large.

[flow-dppo] arXiv:2606.11025.
"""

from dataclasses import dataclass

from torch import Tensor

from scoreward.core.policy import DiffusionPolicy
from scoreward.core.ratio import ratio_metrics
from scoreward.objectives.paths.base import PathObjective
from scoreward.objectives.paths.replay import Replay


@dataclass(frozen=True)
class FlowDPPO(PathObjective):
    """The settings of the public code."""

    clip: float | None = None  # there is none
    limit: float = 1e-5  # δ, code: KL from which a step that goes further is dropped
    last: bool = False  # as Flow-GRPO

    def surrogate(self, seen: Replay, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        """−Aρ, without the rows beyond δ that push further.  [flow-dppo] (mask)"""
        log_ratio = seen.log_ratio(self.log_prob, self.per_dimension)
        ratio, advantage = log_ratio.exp(), seen.rows.advantage
        far = seen.distance(seen.old, True).detach() >= self.limit
        further = ((ratio > 1) & (advantage > 0)) | ((ratio < 1) & (advantage < 0))
        kept = ~(far & further)
        metrics = ratio_metrics(log_ratio, advantage, None)
        metrics["dropped"] = 1 - kept.to(ratio).mean()
        return -(advantage * ratio * kept).mean(), metrics
