"""InPO: Diffusion-DPO in the noise that the network itself reads out of each picture.

[inpo] arXiv:2503.18454. x_t is the DDIM inversion of the picture by the current network, once per
round; the noise is what it then contains. Each pair has its own time.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from scoreward.core.policy import DiffusionPolicy
from scoreward.losses.diffusion import diffusion_dpo
from scoreward.objectives.pictures.inversion import Past, Released, own_noise
from scoreward.objectives.pictures.preference import PreferenceObjective
from scoreward.objectives.pictures.rows import Chosen, Compared


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

    def noise(self, one: Chosen, policy: DiffusionPolicy) -> Float[Tensor, "pairs *shape"]:
        if self.as_released:
            return Released(self.inversion, self.mix, past=self.past_table).noise(one, policy)
        inside = own_noise(one, policy, self.inversion)
        if not self.mix:
            return inside
        return (1 - self.mix**2) ** 0.5 * inside + self.mix * super().noise(one, policy)

    def pairwise(self, seen: Compared) -> Float[Tensor, " pairs"]:
        return diffusion_dpo(seen.errors, seen.rows.beta)
