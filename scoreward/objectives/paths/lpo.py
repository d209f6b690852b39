"""LPO: SPO with a threshold that grows with the noise of the step.

[lpo] arXiv:2502.01051. Its preference model is the diffusion network itself, trained to judge
latents, which we do not have: here the reward reads the predicted clean picture, as in `spo`.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.losses.stepwise import lpo_threshold
from scoreward.objectives.paths.step_pairs import CandidateObjective


@dataclass(frozen=True)
class LPO(CandidateObjective):
    """Settings of SD 1.5; SDXL has bounds of 0.45 and 0.6."""

    beta: float = 500.0
    first: int = 0
    bounds: tuple[float, float] = (0.35, 0.5)  # at the smallest and the largest std of the steps

    def threshold(
        self, std: Float[Tensor, " rows"], stds: tuple[float, float]
    ) -> Float[Tensor, " rows"]:
        if not stds[0] < stds[1]:
            return torch.full_like(std, self.bounds[0])
        return lpo_threshold(std, stds, self.bounds)  # [lpo] (threshold)
