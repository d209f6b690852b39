"""SPO: at each step, candidates drawn from one state are judged and the best and worst compared.

[spo] arXiv:2406.04314. Its step-aware preference model reads noisy pictures; here the reward reads
the clean picture that the network predicts from each candidate (ours).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.objectives.paths.step_pairs import CandidateObjective


@dataclass(frozen=True)
class SPO(CandidateObjective):
    """Settings of SD 1.5; SDXL has 2 candidates and a threshold of 0.4."""

    beta: float = 10.0
    least: float = 0.3  # difference of the softmax of the two scores, [spo] (pairs)

    def threshold(
        self, std: Float[Tensor, " rows"], stds: tuple[float, float]
    ) -> Float[Tensor, " rows"]:
        return torch.full_like(std, self.least)
