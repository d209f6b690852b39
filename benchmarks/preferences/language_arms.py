"""What is compared: methods with their authors' settings, RainbowPO without each of its parts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from scoreward.losses.methods import DPO, LNDPO, RainbowPO, SimPO
from scoreward.losses.pairs import Pairs
from scoreward.methods.texts import TextMethod, measured
from scoreward.objectives.texts.language import LanguagePreferences

LENGTH = 20.0  # mean tokens of the winners; turns settings per token into settings per sum


@dataclass(frozen=True)
class Imitation:
    """Mean negative log-probability per token of the winner: SFT, the control."""

    beta: float = 1.0

    def __call__(self, pairs: Pairs) -> Float[Tensor, " batch"]:
        return -pairs.logp_w / pairs.len_w


@dataclass(frozen=True)
class Arm:
    """An objective and its data: best against worst, or after rejection sampling."""

    method: TextMethod
    data: Literal["best", "rso"] = "best"
    imitation: bool = False

    @property
    def objective(self) -> LanguagePreferences:
        return LanguagePreferences(Imitation()) if self.imitation else measured(self.method)


RAINBOW = RainbowPO()
ARMS: Mapping[str, Arm] = {
    "sft": Arm(DPO(), imitation=True),
    "dpo": Arm(DPO()),
    "ln_dpo": Arm(LNDPO()),
    "simpo": Arm(SimPO()),
    "rainbow": Arm(RAINBOW),
    "rainbow, sums": Arm(RainbowPO(length_exponent=0.0, beta=10 / LENGTH, gamma=0.1 * LENGTH)),
    "rainbow, no mixing": Arm(RainbowPO(alpha=1.0)),
    "rainbow, no scaling": Arm(RainbowPO(norm="off")),
    "rainbow, rso": Arm(RAINBOW, data="rso"),
    "dpo, rso": Arm(DPO(), data="rso"),
}
