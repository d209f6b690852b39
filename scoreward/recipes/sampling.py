"""How a recipe's settings name a sampler on the command line."""

from dataclasses import dataclass
from typing import Literal

from scoreward.chain import Sampler, uniform
from scoreward.kernel import DDIM, DPMSolverPP, Heun, Kernel, euler, generalised


@dataclass(frozen=True)
class Sampling:
    """Solver, number of steps, stochasticity."""

    solver: Literal["ddim", "euler", "heun", "dpmpp"] = "ddim"  # ddim is the one that takes eta
    steps: int = 10
    eta: float = 0.0  # 0 is the ODE, 1 the reverse SDE, above 1 more noise than that
    shift: float = 1.0  # of the time grid

    def __post_init__(self) -> None:
        if self.eta and self.solver != "ddim":
            raise ValueError(
                f"{self.solver} is deterministic, so eta must be 0, got {self.eta}; use ddim"
            )
        self.sampler()

    def sampler(self) -> Sampler:
        """The sampler these settings mean."""
        kernels: dict[str, Kernel] = {
            "ddim": DDIM(generalised(self.eta)),
            "euler": euler(),
            "heun": Heun(),
            "dpmpp": DPMSolverPP(),
        }
        return uniform(kernels[self.solver], self.steps, self.shift)
