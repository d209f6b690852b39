"""CRD: match the centred implicit reward of the policy to the centred external reward.

[crd] arXiv:2603.14128, after an independent implementation. The implicit reward is how much better
than the old policy the current one denoises the sample; the anchor's reference carries guidance.
"""

from dataclasses import dataclass

from torch import Tensor

from scoreward.advantage import group_mean
from scoreward.likelihood import self_normalised_error
from scoreward.objectives.answers import Answers
from scoreward.objectives.pairs import PairObjective


@dataclass(frozen=True)
class CRD(PairObjective):
    """The settings of that implementation."""

    anchor: float = 0.1  # λ
    anchor_guidance: float = 4.5  # of the reference in the anchor
    beta: float = 1.0  # β, ours
    bound: float = 5.0  # A_max of the external reward, as in DiffusionNFT
    decay: float = 0.0  # of the old policy, which here also samples; theirs are two, see the page

    whole_groups = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta <= 0 or self.bound <= 0 or not 0 <= self.decay < 1:
            raise ValueError(
                "expected `beta` > 0, `bound` > 0 and `decay` in [0, 1), got "
                f"{self.beta}, {self.bound} and {self.decay}"
            )

    def old_decay(self, updates: int) -> float:
        return self.decay

    def matching(self, answers: Answers) -> tuple[Tensor, dict[str, Tensor]]:
        rows, target = answers.rows, answers.target
        new, old = (
            self_normalised_error(v, target, floor=1e-5).mean(1) for v in (answers.new, answers.old)
        )
        implicit = old - new  # [crd] (implicit reward)
        external = (rows.advantage / (2 * self.bound) + 0.5).clamp(0, 1)
        ours = self.beta * (implicit - group_mean(implicit.detach(), rows.group))
        gap = ours - (external - group_mean(external, rows.group))
        loss = gap.square().mean() * self.bound / self.beta  # [crd] (loss)
        return loss, {"implicit/mean": implicit.detach().mean(), "error/mean": new.detach().mean()}
