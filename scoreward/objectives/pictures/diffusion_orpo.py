"""ORPO on denoising errors: the winner's error and a logistic penalty of the pair; no reference.

After a research project beside diffusers; [diffusion-dpo] (ORPO) has the sign that its aim needs,
"as_coded" the sign of that code, which rewards a worse winner and is there to compare.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from scoreward.losses.diffusion_free import diffusion_orpo, diffusion_orpo_as_coded
from scoreward.objectives.pictures.preference import PreferenceObjective
from scoreward.objectives.pictures.rows import Compared


@dataclass(frozen=True)
class DiffusionORPO(PreferenceObjective):
    """`sharpness` is ours: with 1 the penalty hardly bends over usual gaps of errors."""

    beta: float = 0.1  # weight of the penalty
    sharpness: float = 1.0  # k of σ(k(ℓ_l − ℓ_w)), ours
    as_coded: bool = False  # the sign of the public script

    refers = False

    def pairwise(self, seen: Compared) -> Float[Tensor, " pairs"]:
        if self.as_coded:
            return diffusion_orpo_as_coded(*seen.each, self.beta)
        return diffusion_orpo(*seen.each, self.beta, self.sharpness)
