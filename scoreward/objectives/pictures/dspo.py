"""DSPO: the winner's error with its target moved along the step away from the reference.

[dspo] ICLR 2025, in the form of its release for SD 1.5.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from scoreward.losses.diffusion_tensors import dspo
from scoreward.objectives.pictures.preference import PreferenceObjective
from scoreward.objectives.pictures.rows import Compared


@dataclass(frozen=True)
class DSPO(PreferenceObjective):
    """β is 0.001 in the release (0.001 to 0.05): the loss is nearly fine-tuning on winners."""

    beta: float = 0.001
    through: bool = True  # ρ passes gradients, as in the release

    @property
    def keeps(self) -> bool:
        return True

    def pairwise(self, seen: Compared) -> Float[Tensor, " pairs"]:
        return dspo(seen.predictions, self.beta, self.through)  # [dspo] (SD1.5)
