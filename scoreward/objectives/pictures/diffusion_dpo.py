"""Diffusion-DPO: the winner's denoising error is to fall, the loser's to rise, by a logistic loss.

[diffusion-dpo] arXiv:2311.12908. On data of pairs, or on the best and the worst of a group that
the model drew itself. The loss is in losses.diffusion, from a description and released code.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from scoreward.core.policy import DiffusionPolicy
from scoreward.losses.diffusion import (
    AutomaticBeta,
    Units,
    diffusion_dpo,
    diffusion_hinge,
    diffusion_ipo,
    diffusion_ipo_scaled,
)
from scoreward.objectives.pictures.beta import weighed
from scoreward.objectives.pictures.preference import PreferenceObjective
from scoreward.objectives.pictures.rows import Compared, PreferenceRows


@dataclass(frozen=True)
class DiffusionDPO(PreferenceObjective):
    """β is in the `units` of an implementation; all links share one β, that of the logit −½βm."""

    link: Literal["logistic", "hinge", "ipo", "ipo_scaled"] = "logistic"
    units: Units = "official"
    automatic: AutomaticBeta | None = None  # instead of β: it follows the size of the margin

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.automatic is not None and self.link != "logistic":
            raise ValueError(f"an automatic β is made for the logistic link, got {self.link!r}")

    @property
    def weighs_errors(self) -> bool:
        return self.automatic is not None

    def weighed(self, rows: PreferenceRows, policy: DiffusionPolicy) -> PreferenceRows:
        return weighed(rows, self.beta, self.units, self.automatic, policy)

    def pairwise(self, seen: Compared) -> Float[Tensor, " pairs"]:
        if self.link == "logistic":
            return diffusion_dpo(seen.errors, seen.rows.beta)  # [diffusion-dpo] (loss)
        links = {"hinge": diffusion_hinge, "ipo": diffusion_ipo, "ipo_scaled": diffusion_ipo_scaled}
        # the other links are written with the β of diffusers' script, half of the official one
        return links[self.link](seen.errors, float(seen.rows.beta[0]) / 2)
