"""MaPO: a bounded margin of the two denoising errors beside the winner's error; no reference.

[mapo] arXiv:2406.06424, as in the released code. The paper's second version is a setting whose
reading is unverified.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from scoreward.losses.diffusion_free import mapo, mapo_paper
from scoreward.objectives.pictures.preference import PreferenceObjective
from scoreward.objectives.pictures.rows import Compared


@dataclass(frozen=True)
class MaPO(PreferenceObjective):
    """Defaults of the released code."""

    beta: float = 0.1  # weight of the margin; with form="paper" an exponent, 128
    scale: float = 0.5  # s, code
    steps: float = 1000.0  # T, code
    form: Literal["code", "paper"] = "code"

    refers = False

    def pairwise(self, seen: Compared) -> Float[Tensor, " pairs"]:
        if self.form == "paper":
            return mapo_paper(*seen.each, self.beta)  # [mapo] (paper)
        return mapo(*seen.each, self.beta, self.scale, self.steps)  # [mapo] (code)
