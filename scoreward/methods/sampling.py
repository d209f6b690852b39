"""How a recipe's settings name a sampler on the command line."""

from dataclasses import dataclass
from typing import Literal

from scoreward.core.chain import Sampler, windowed
from scoreward.core.kernel import (
    DDIM,
    Churn,
    DPMSolverPP,
    EulerMaruyama,
    Heun,
    Kernel,
    coefficients_preserving,
    dance_sde,
    euler,
    flow_sde,
    generalised,
    linear_sde,
)
from scoreward.core.process import time_grid
from scoreward.core.windows import Window, flash
from scoreward.objectives.base import Objective
from scoreward.training.sources.branching import Branching, Compared, branching
from scoreward.training.sources.online import Online, Source


@dataclass(frozen=True)
class Sampling:
    """A sampler in settings: solver, number of steps, stochasticity.

    Example:
        >>> import scoreward as sw
        >>> sw.Sampling(steps=4).sampler().times
        (1.0, 0.75, 0.5, 0.25, 0.0)
        >>> sw.Sampling("heun", steps=4).sampler().calls  # two a step, one onto clean data
        7
    """

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

    def sampler(self, times: tuple[float, ...] | None = None) -> Sampler:
        """The sampler these settings mean, on a model's own grid if one is given."""
        kernels: dict[str, Kernel] = {
            "ddim": DDIM(generalised(self.eta)),
            "euler": euler(),
            "heun": Heun(),
            "dpmpp": DPMSolverPP(),
        }
        kernel = kernels[self.solver]
        return on_grid(kernel, times or time_grid(self.steps, self.shift))


@dataclass(frozen=True)
class Noisy:
    """A rollout with noise: its kernel, how much of it, number of steps.

    Example:
        >>> import scoreward as sw
        >>> sw.Noisy("cps", level=0.8, steps=4).sampler().stochastic(sw.RectifiedFlow())
        (0, 1, 2)
    """

    noise: Literal["flow_sde", "linear_sde", "cps", "dance_sde", "ddim", "churn"] = "flow_sde"
    level: float = 0.7  # a of flow_sde, level of cps, η of dance_sde and ddim, γ of churn; of
    # linear_sde in units of the second time of the grid
    steps: int = 10
    shift: float = 1.0  # of the time grid

    def __post_init__(self) -> None:
        if not self.level > 0:
            raise ValueError(f"a rollout with noise needs a positive `level`, got {self.level}")
        self.sampler()

    @property
    def times(self) -> tuple[float, ...]:
        """The grid, where the model has none of its own."""
        return time_grid(self.steps, self.shift)

    def kernel(self, times: tuple[float, ...] | None = None) -> Kernel:
        """The stochastic step; at t = 1 Flow-SDE takes the second time of the grid, as its code."""
        match self.noise:
            case "flow_sde":
                return EulerMaruyama(flow_sde(self.level, at_one=(times or self.times)[1]))
            case "linear_sde":
                return EulerMaruyama(linear_sde(self.level * (times or self.times)[1]))
            case "cps":
                return DDIM(coefficients_preserving(self.level))
            case "dance_sde":
                return EulerMaruyama(dance_sde(self.level))
            case "ddim":
                return DDIM(generalised(self.level))
            case "churn":
                return Churn(self.level)

    def sampler(self, times: tuple[float, ...] | None = None) -> Sampler:
        """Noise at every step, on a model's own grid if one is given."""
        return on_grid(self.kernel(times), times or self.times)


@dataclass(frozen=True)
class Forked(Noisy):
    """Noise on leaving a path that has none: branches at each trained step of it."""

    branches: int = 6  # of one start at a step; a group of fewer is one start
    among: Compared = "start"  # whose rewards at a step are compared

    def source(self, straight: Source, objective: Objective) -> Branching:
        """The source of a run with branches instead of noise at every step."""
        if not isinstance(straight, Online):
            raise TypeError("only a source that draws its own samples can branch")
        trained = objective.needs.trained(range(self.steps), self.steps)
        return branching(straight, trained, self.branches, self.among)


@dataclass(frozen=True)
class Windowed:
    """A rollout with noise inside a moving window only; a function of the round."""

    noise: Noisy
    window: Window
    flash: float | None = None  # r̃: the steps after the window are this share of DPM-Solver++ steps
    times: tuple[float, ...] | None = None  # a model's own grid

    def __post_init__(self) -> None:
        self(0)

    @property
    def starts(self) -> tuple[int, int]:
        """The first and the last step at which the window may begin."""
        return self.window.starts(len(self.times or self.noise.times) - 1)

    def __call__(self, round: int) -> Sampler:
        noise, width = self.noise, self.window.width
        times = self.times or noise.times
        first = self.window.first(round, len(times) - 1)
        if self.flash is not None:
            return flash(noise.kernel(), noise.steps, first, width, self.flash, noise.shift)
        return windowed(euler(), noise.kernel(times), first, width, times)


def on_grid(kernel: Kernel, times: tuple[float, ...]) -> Sampler:
    """The same step everywhere."""
    return Sampler(times, (kernel,) * (len(times) - 1))
