"""DGPO: a group-level preference between the better and the worse half of a group.

[dgpo] arXiv:2510.08425. The group's weight is a sigmoid of its advantage-weighted gain over the
reference; no ratio, no stochastic sampler.
"""

from dataclasses import dataclass

from torch import Tensor

from scoreward.advantage import group_mean
from scoreward.likelihood import squared_error
from scoreward.objectives.answers import Answers
from scoreward.objectives.pairs import PairObjective


@dataclass(frozen=True)
class DGPO(PairObjective):
    """The settings of the public code."""

    beta: float = 100.0  # β_dpo, code
    clip: float | None = None  # code: optional, 1e-3 to 1e-2

    whole_groups = True

    @property
    def compares(self) -> bool:
        return self.clip is not None

    @property
    def refers(self) -> bool:
        return True

    def matching(self, answers: Answers) -> tuple[Tensor, dict[str, Tensor]]:
        rows, target = answers.rows, answers.target
        if rows.reference is None:
            raise ValueError("DGPO needs the reference's answers on the pairs")
        error, old, first = (
            squared_error(v, target).mean(1) for v in (answers.new, answers.old, rows.reference)
        )
        gain = rows.advantage * self.beta * (error - first)
        weight = group_mean(gain.detach(), rows.group).sigmoid()  # [dgpo] (weight)
        kept = 1.0 if self.clip is None else self._inside(error, old, rows.advantage)
        loss = (weight * rows.advantage * error * kept).mean()
        metrics = {"error/mean": error.detach().mean(), "weight/mean": weight.mean()}
        return loss, metrics

    def _inside(self, error: Tensor, old: Tensor, advantage: Tensor) -> Tensor:
        """0 where the error has already moved past the clip in the wanted direction."""
        moved, bound = (old - error).detach(), self.clip or 0.0
        done = ((moved > bound) & (advantage > 0)) | ((moved < -bound) & (advantage < 0))
        return 1 - done.to(error)
