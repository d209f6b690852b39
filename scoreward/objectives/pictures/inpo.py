"""InPO: Diffusion-DPO in the noise that the network itself reads out of each picture.

[inpo] arXiv:2503.18454. x_t is the DDIM inversion of the picture by the current network, once per
round; the noise is what it then contains. Each pair has its own time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from scoreward.core.denoiser import Cond
from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.losses.diffusion import diffusion_dpo
from scoreward.objectives.base import Samples
from scoreward.objectives.pictures.errors import Compared
from scoreward.objectives.pictures.inversion import (
    Past,
    Released,
    fresh_each,
    inverted,
    noise_inside,
)
from scoreward.objectives.pictures.preference import PreferenceObjective


@dataclass(frozen=True)
class InPO(PreferenceObjective):
    """Settings of the release, the better estimator: to the picture's own time, and √(1 − η²) of
    the noise inside with η of fresh noise. `as_released` stops at a label below it, and adds noise
    at every label."""

    inversion: int = 10  # steps of the inversion, code
    mix: float = 0.1  # η, of fresh noise, code
    past_table: Past = "refuse"  # as_released above label 901; "last": the table's last ᾱ

    can_release = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inversion < 1 or not 0 <= self.mix <= 1:
            raise ValueError(
                "expected at least 1 step of inversion and a `mix` in [0, 1], got "
                f"{self.inversion} and {self.mix}"
            )

    def noise(
        self,
        samples: Samples,
        at: Tensor,
        t: Tensor,
        cond: Cond,
        keys: Sequence[Key],
        policy: DiffusionPolicy,
    ) -> Float[Tensor, "pairs *shape"]:
        x0, process = samples.x0[at], policy.process
        if self.as_released:
            walk = Released(self.inversion, self.mix, past=self.past_table)
            fresh = fresh_each(samples, at, keys)
            return noise_inside(walk(x0, t, cond, policy.old, process, fresh), x0, t, process)
        x_t = inverted(x0, t, cond, policy.old, process, self.inversion)
        inside = noise_inside(x_t, x0, t, process)
        if not self.mix:
            return inside
        fresh = super().noise(samples, at, t, cond, keys, policy)
        return (1 - self.mix**2) ** 0.5 * inside + self.mix * fresh

    def pairwise(self, seen: Compared) -> Float[Tensor, " pairs"]:
        return diffusion_dpo(seen.errors, seen.rows.beta)
