"""EPG: policy gradients whose likelihood is an ELBO of the finished sample.

[epg] arXiv:2602.04663. Reconstructed from an independent implementation; the paper's own weighting
is not known to us. Advantages are rewards minus the group's mean, without a deviation:
Advantages(scale="none").
"""

from dataclasses import dataclass

from torch import Tensor

from scoreward.likelihood import squared_error
from scoreward.objectives.answers import Answers
from scoreward.objectives.pairs import PairObjective


@dataclass(frozen=True)
class EPG(PairObjective):
    """The settings of that implementation."""

    elbo_kl: float = 0.0  # β, weight of ρ (log π − log π_reference)
    ratio_bound: float = 10.0  # ρ is cut here, independent implementation

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.elbo_kl < 0 or self.ratio_bound < 1:
            raise ValueError(
                "expected `elbo_kl` >= 0 and `ratio_bound` >= 1, got "
                f"{self.elbo_kl} and {self.ratio_bound}"
            )

    @property
    def refers(self) -> bool:
        return super().refers or bool(self.elbo_kl)

    def matching(self, answers: Answers) -> tuple[Tensor, dict[str, Tensor]]:
        target, rows = answers.target, answers.rows
        log_p, old = (-squared_error(v, target).mean(1) for v in (answers.new, answers.old))
        ratio = (log_p - old).detach().exp().clamp(max=self.ratio_bound)
        loss = -(ratio * rows.advantage * log_p).mean()  # [epg] (objective)
        metrics = {
            "ratio/mean": ratio.mean(),
            "ratio/min": ratio.min(),
            "ratio/max": ratio.max(),
            "error/mean": -log_p.detach().mean(),
        }
        if self.elbo_kl and rows.reference is not None:
            reference = -squared_error(rows.reference, target).mean(1)
            distance = (ratio * (log_p - reference)).mean()
            loss, metrics["kl/elbo"] = loss + self.elbo_kl * distance, distance.detach()
        return loss, metrics
