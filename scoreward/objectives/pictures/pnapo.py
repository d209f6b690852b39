"""PNAPO: Diffusion-DPO on the very noise that each picture of a rectified flow was made from.

[pnapo] arXiv:2605.09433, second-hand. The data must know the noise; x_t is then on the straight
line between the stored ends. β grows with the gap of the scores and falls over training.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.policy import DiffusionPolicy
from scoreward.losses.diffusion import diffusion_dpo, pnapo_scale
from scoreward.objectives.pictures.preference import PreferenceObjective
from scoreward.objectives.pictures.rows import Chosen, Compared, PreferenceRows, Preferred, gap_of

ROUNDS = "pnapo/rounds"  # in Policy.memory: rounds so far


@dataclass(frozen=True)
class PNAPO(PreferenceObjective):
    """β is 2000 for FLUX and 5000 for SD3-M in the paper, without the ½."""

    total: int = 1000  # rounds of training, over which β falls to one half

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.total < 1:
            raise ValueError(f"`total` must be at least 1 round, got {self.total}")

    def noise(self, one: Chosen, policy: DiffusionPolicy) -> Float[Tensor, "pairs *shape"]:
        samples = one.samples
        if not isinstance(samples, Preferred) or samples.noise is None:
            raise ValueError(
                "PNAPO needs pairs that know the noise they were generated from; let the recipe "
                "make them, for example with `pairs` left out"
            )
        return samples.noise[one.at]

    def weighed(self, rows: PreferenceRows, policy: DiffusionPolicy) -> PreferenceRows:
        done = policy.memory.get(ROUNDS, torch.zeros((), dtype=torch.float64))
        policy.memory[ROUNDS] = done + 1
        scale = pnapo_scale(gap_of(rows), min(1.0, float(done) / self.total))  # [pnapo] (scale)
        return replace(rows, beta=2 * self.beta * scale)

    def pairwise(self, seen: Compared) -> Float[Tensor, " pairs"]:
        return diffusion_dpo(seen.errors, seen.rows.beta)
