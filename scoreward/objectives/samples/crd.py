"""CRD: match the centred implicit reward of the policy to the centred external reward.

[crd] arXiv:2603.14128, after an independent implementation. The implicit reward is how much better
than a slow old policy the current one denoises the sample at a time; the anchor's reference carries
guidance, and better samples are held more. A second, faster average draws the samples.
"""

from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from scoreward.core.advantage import group_mean
from scoreward.core.likelihood import self_normalised_error
from scoreward.objectives.base import Needs
from scoreward.objectives.samples.answers import Answers, PairRows
from scoreward.objectives.samples.pairs import PairObjective, climb

Each = Float[Tensor, "batch count"]
"""One number per (sample, time)."""


@dataclass(frozen=True)
class CRD(PairObjective):
    """The settings of that implementation, where it differs "theirs"."""

    anchor: float = 0.1  # λ, theirs
    anchor_guidance: float = 4.5  # of the reference in the anchor, theirs
    anchor_floor: float | None = 1e-4  # weight of the anchor where r = 0, theirs; None: constant λ
    beta: float = 1.0  # β, theirs
    bound: float = 5.0  # A_max of the external reward, theirs, as in DiffusionNFT
    gap: Literal["time", "sample"] = "time"  # theirs: a gap per (sample, time)
    centre: Literal["group", "batch"] = "group"  # ours; theirs: a micro-batch of mixed prompts
    policies: Literal["port", "original", "copy"] = "port"  # how old and sampling policy follow

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta <= 0 or self.bound <= 0 or (self.anchor_floor or 0.0) < 0:
            raise ValueError(
                "expected `beta` > 0, `bound` > 0 and `anchor_floor` >= 0 or None, got "
                f"{self.beta}, {self.bound} and {self.anchor_floor}"
            )

    @property
    def needs(self) -> Needs:
        return replace(super().needs, together="updated")

    @property
    def compares(self) -> bool:
        return self.policies == "copy"

    @property
    def averages(self) -> bool:
        return super().averages or self.policies != "copy"

    def slow_decay(self, updates: int) -> float | None:
        """Of the policy inside the implicit reward.  [crd] (old policy)"""
        match self.policies:
            case "port":
                return min(0.25 + 0.005 * updates, 0.999)
            case "original":
                return min(0.25 + 0.001 * updates, 0.5)
            case "copy":
                return None

    def old_decay(self, updates: int) -> float:
        """Of the policy that samples.  [crd] (sampling policy)"""
        rows = {"copy": (0.0, 0.0), "original": (0.001, 0.5), "port": (0.0075, 0.999, 75)}
        return climb(updates, *rows[self.policies])

    def held(self, rows: PairRows) -> Tensor | None:
        """m + (1 − m) r with m = anchor_floor/λ.  [crd] (KL)"""
        if self.anchor_floor is None or not self.anchor:
            return None
        least = min(self.anchor_floor / self.anchor, 1.0)
        return least + (1 - least) * self.external(rows.advantage)

    def external(self, advantage: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """r = A/(2 A_max) + ½ in [0, 1].  [crd] (external reward)"""
        return (advantage / (2 * self.bound) + 0.5).clamp(0, 1)

    def matching(self, answers: Answers) -> tuple[Tensor, dict[str, Tensor]]:
        rows, target = answers.rows, answers.target
        old = answers.old if rows.slow is None else rows.slow
        new, old = (self_normalised_error(v, target) for v in (answers.new, old))
        implicit = old - new  # [crd] (implicit reward)
        loss = self.distance(implicit, self.external(rows.advantage), rows.group)
        return loss, {"implicit/mean": implicit.detach().mean(), "error/mean": new.detach().mean()}

    def distance(
        self, implicit: Each, external: Float[Tensor, " batch"], group: Int[Tensor, " batch"]
    ) -> Tensor:
        """mean (β (r_θ − sg mean r_θ) − (r − mean r))² · A_max/β.  [crd] (loss)"""
        if self.gap == "sample":
            implicit = implicit.mean(1, keepdim=True)
        group = group if self.centre == "group" else group.new_zeros(len(group))
        ours = self.beta * (implicit - group_mean(implicit.detach(), group))
        gap = ours - (external - group_mean(external, group))[:, None]
        return gap.square().mean() * self.bound / self.beta
