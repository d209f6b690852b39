"""SmPO: Diffusion-DPO with β by how sure the scores are, in noise from ReNoise inversion.

[smpo] arXiv:2506.02698. Each pair has its own weight, where the released code gives a micro-batch
that of its first pair (its launchers have one pair in it). The inversion is by the current network,
once per round.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.policy import DiffusionPolicy
from scoreward.losses.diffusion import PICK_HIGH, PICK_LOW, diffusion_dpo, smpo_scale, smpo_share
from scoreward.objectives.pictures.inversion import Released, own_noise
from scoreward.objectives.pictures.preference import PreferenceObjective
from scoreward.objectives.pictures.rows import Chosen, Compared, PreferenceRows, gap_of


@dataclass(frozen=True)
class SmPO(PreferenceObjective):
    """`low` and `high` are the range of the scores; the defaults are those of PickScore.

    `as_released` walks over fixed labels, with the mean of two answers at each.
    """

    low: float = PICK_LOW
    high: float = PICK_HIGH
    inversion: int = 5  # steps of ReNoise; 0: fresh noise, shared by the pair
    passes: int = 2  # answers that are averaged at each step

    can_release = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.low < self.high or self.inversion < 0 or self.passes < 0:
            raise ValueError(
                "expected low < high and no negative `inversion` or `passes`, got "
                f"{self.low}, {self.high}, {self.inversion}, {self.passes}"
            )
        if self.as_released and (self.passes, self.inversion > 0) != (2, True):
            raise ValueError(
                "the release averages two answers at each label, so `as_released` needs passes=2 "
                f"and an `inversion` of at least 1, got {self.passes} and {self.inversion}"
            )

    def noise(self, one: Chosen, policy: DiffusionPolicy) -> Float[Tensor, "pairs *shape"]:
        if not self.inversion:
            return super().noise(one, policy)
        if self.as_released:
            return Released(self.inversion, averaged=True).noise(one, policy)
        return own_noise(one, policy, self.inversion, self.passes)

    def weighed(self, rows: PreferenceRows, policy: DiffusionPolicy) -> PreferenceRows:
        gap = gap_of(rows)
        share = smpo_share(gap, torch.zeros_like(gap), self.low, self.high)
        return replace(rows, beta=self.beta * smpo_scale(share))  # [smpo] (scale)

    def pairwise(self, seen: Compared) -> Float[Tensor, " pairs"]:
        return diffusion_dpo(seen.errors, seen.rows.beta)
