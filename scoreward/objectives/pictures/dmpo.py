"""DMPO: the reverse KL of the network's preference to a smoothed label.

[dmpo] arXiv:2507.07510
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from scoreward.losses.diffusion import diffusion_dmpo
from scoreward.objectives.pictures.preference import PreferenceObjective
from scoreward.objectives.pictures.rows import Compared


@dataclass(frozen=True)
class DMPO(PreferenceObjective):
    """β is 2000 or 6000 in the paper, for ε errors of latents."""

    smooth: float = 0.01  # a: how often a label is thought wrong

    def pairwise(self, seen: Compared) -> Float[Tensor, " pairs"]:
        return diffusion_dmpo(seen.errors, float(seen.rows.beta[0]), self.smooth)  # [dmpo] (loss)
