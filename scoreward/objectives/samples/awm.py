"""AWM: advantage-weighted matching, policy gradients with the flow-matching loss as log p.

[awm] arXiv:2509.25050. One ratio per (sample, time), or per sample; anchors to the first model and
to a slow average of the policy.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from scoreward.core.likelihood import Times, squared_error
from scoreward.core.ratio import clipped_surrogate, ratio_metrics
from scoreward.objectives.samples.answers import Answers, Share
from scoreward.objectives.samples.pairs import PairObjective

Weighting = Literal["uniform", "t", "t2", "huber", "ghuber"]


@dataclass(frozen=True)
class AWM(PairObjective):
    """The settings of the public code."""

    pairs: int = 6  # code
    share: Share = "times"  # code: the batch shares its times, nobody the noise
    times: Times = "discrete_wo_init"  # code: GenEval and OCR; PickScore: discrete
    fraction: float = 0.9  # code: the cleanest tenth of the grid is never trained
    anchor: float = 1e-3  # β_ref, code: 1e-3 GenEval, 3e-3 OCR, 1e-4 PickScore
    slow_anchor: float = 1.0  # ema_beta, code
    clip: float | None = 1.0  # code: inactive
    weighting: Weighting = "ghuber"  # code
    power: float = 0.25  # p of ghuber, code
    ratio: Literal["exp_first", "sum_first"] = "exp_first"  # code: one ratio per (sample, time)
    bound: float = 5.0  # the advantage is divided by it, code

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bound <= 0 or self.power <= 0:
            raise ValueError(
                f"`bound` and `power` must be positive, got {self.bound} and {self.power}"
            )

    def slow_decay(self, updates: int) -> float:
        """min(0.3, 0.001 k), k updates having been made.  [awm] (EMA decay)"""
        return min(0.3, 0.001 * updates)

    def matching(self, answers: Answers) -> tuple[Tensor, dict[str, Tensor]]:
        t, target = answers.rows.pairs.t, answers.target
        new, old = (self.weighted(squared_error(v, target), t) for v in (answers.new, answers.old))
        log_ratio, advantage = old - new, answers.rows.advantage / self.bound
        if self.ratio == "exp_first":
            advantage = advantage[:, None].expand_as(log_ratio).flatten()
            log_ratio = log_ratio.flatten()
        else:
            log_ratio = log_ratio.mean(1)
        metrics = ratio_metrics(log_ratio, advantage, self.clip)
        metrics["error/mean"] = new.detach().mean()
        return clipped_surrogate(log_ratio, advantage, self.clip), metrics

    def weighted(
        self, error: Float[Tensor, "batch count"], t: Float[Tensor, "batch count"]
    ) -> Float[Tensor, "batch count"]:
        """W(ℓ, t): minus the stand-in for log p.  [awm] (weighting)"""
        match self.weighting:
            case "uniform":
                return error
            case "t":
                return t * error
            case "t2":
                return t**2 * error
            case "huber":
                return t * ((error + 1e-10).sqrt() - 1e-5)
            case "ghuber":
                p = self.power
                return t / p * ((error + 1e-10) ** p - 1e-10**p)
