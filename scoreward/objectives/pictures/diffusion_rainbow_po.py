"""RainbowPO's components on denoising errors: an extension of ours, a hypothesis to test.

[diffusion-dpo] (rainbow). Part of the reference, a target margin, a weight of each pair by the gap
of its scores, the winner's error beside it. With the defaults it is Diffusion-DPO.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.device import wide
from scoreward.core.policy import DiffusionPolicy
from scoreward.losses.diffusion import smpo_scale, smpo_share
from scoreward.losses.diffusion_free import DiffusionRainbow
from scoreward.objectives.pictures.preference import PreferenceObjective
from scoreward.objectives.pictures.rows import Compared, PreferenceRows, gap_of


@dataclass(frozen=True)
class DiffusionRainbowPO(PreferenceObjective):
    """See losses.diffusion_free.DiffusionRainbow."""

    alpha: float = 1.0  # share of the reference
    gamma: float = 0.0  # target of the margin, in squared error; works where α < 1
    phi: Literal["one", "gap"] = "one"  # gap: 10(2p − 1), p from the gap of the scores
    span: float = 1.0  # range of the scores, for φ
    centred: bool = True  # the mean ℓ_ref,w − ℓ_ref,l of the round is taken away; works where α < 1
    sft: float = 0.0  # λ, weight of the winner's error

    def __post_init__(self) -> None:
        super().__post_init__()
        self.rule  # noqa: B018 (refuses what is out of range)
        if not self.span > 0:
            raise ValueError(f"`span` is the range of the scores, above 0, got {self.span}")

    @property
    def rule(self) -> DiffusionRainbow:
        """The loss."""
        return DiffusionRainbow(self.beta, self.alpha, self.gamma, self.sft)

    @property
    def weighs_errors(self) -> bool:
        return self.centred and self.alpha < 1

    def weighed(self, rows: PreferenceRows, policy: DiffusionPolicy) -> PreferenceRows:
        first, second = rows.winner.error, rows.loser.error
        if self.centred and self.alpha < 1:
            gap = rows.t[:0] if first is None or second is None else first - second
            own = torch.stack([wide(gap.sum()), wide(gap.new_tensor(len(gap)))])
            total, count = policy.total(own).tolist()
            rows = replace(rows, centre=torch.full_like(rows.t, total / max(count, 1.0)))
        if self.phi == "one":
            return rows
        gap = gap_of(rows)
        share = smpo_share(gap, torch.zeros_like(gap), 0.0, self.span)
        return replace(rows, beta=self.beta * smpo_scale(share))

    def pairwise(self, seen: Compared) -> Float[Tensor, " pairs"]:
        rows = seen.rows
        phi = None if self.phi == "one" else rows.beta / self.beta
        return self.rule(seen.errors, phi, float(rows.centre[0]))  # [diffusion-dpo] (rainbow)
