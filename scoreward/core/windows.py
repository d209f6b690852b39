"""Which steps of a rollout draw noise, and how that window moves.  [mix-grpo] (Sec. 3)

A schedule is a pure function of the round, so that a resumed run needs no state. Unlike the public
class ours never returns an empty window: the start is clipped to the last place where the whole
window fits.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import ceil, exp
from typing import Literal

from scoreward.core.chain import Sampler, windowed
from scoreward.core.kernel import DPMSolverPP, Kernel, euler
from scoreward.core.keys import Key
from scoreward.core.process import time_grid

Strategy = Literal["progressive", "random", "linear", "exponential", "frozen"]


@dataclass(frozen=True)
class Window:
    """A window of `width` stochastic steps and how it moves.

    `end` is l_max of the public code, the number of steps the window may cover from the first;
    None takes all steps but the last two, as its training script.
    """

    strategy: Strategy = "progressive"  # code default
    width: int = 4  # w, code
    every: int = 25  # τ, rounds before a move; code: 25 (FLUX), 20 (Flash)
    stride: int = 1  # s, steps of a move, code
    overlap: bool = True  # False: the next window begins where this one ends
    roll_back: bool = False  # start anew at the end instead of staying there; scripts: True
    end: int | None = None  # l_max
    shortest: int = 1  # τ_min of the linear decay
    sharpness: float = 0.1  # k of the exponential decay, code
    threshold: int = 13  # l_thr of the exponential decay, code
    seed: int = 0  # of the random strategy

    def __post_init__(self) -> None:
        for name in ("width", "every", "stride", "shortest"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")

    def first(self, round: int, steps: int) -> int:
        """l, the first stochastic step in a round (from 0) of a rollout of `steps`."""
        last = self._last(steps)
        match self.strategy:
            case "frozen":
                return 0
            case "random":
                return int((Key(("window", self.seed)) / round).integers(last + 1, 1))
            case _:
                return _moved(self, round, last)

    def starts(self, steps: int) -> tuple[int, int]:
        """The first and the last place it takes in a rollout of `steps`."""
        return 0, 0 if self.strategy == "frozen" else self._last(steps)

    def patience(self, first: int, last: int) -> int:
        """τ(l), the rounds a window at `first` stays.  [mix-grpo] (schedules)"""
        match self.strategy:
            case "linear":
                end = last + self.width
                rest = 1 - first / end
                return max(self.shortest, int(self.every * rest + self.shortest * first / end))
            case "exponential":
                late = max(0, first - self.threshold)
                return ceil(self.every * exp(-self.sharpness * late))
            case _:
                return self.every

    def _last(self, steps: int) -> int:
        """The last place where the whole window fits."""
        end = max(self.width, steps - 2) if self.end is None else self.end
        if not self.width <= end <= steps:
            raise ValueError(
                f"a window of {self.width} steps does not fit before step {end} of {steps}; use "
                "fewer `width`, or an `end` between `width` and the number of steps"
            )
        return end - self.width


@lru_cache(maxsize=4096)
def _moved(window: Window, round: int, last: int) -> int:
    """The state machine of the moving strategies, run from round 0."""
    first, stayed = 0, 0
    for _ in range(round):
        stayed += 1
        if stayed >= window.patience(first, last):
            stayed = 0
            first += window.stride if window.overlap else window.width
            if first > last:
                first = 0 if window.roll_back else last
    return first


def flash(
    sde: Kernel, steps: int, first: int, width: int, ratio: float, shift: float = 1.0
) -> Sampler:
    """The steps after the window replaced by fewer of DPM-Solver++ 2M.  [mix-grpo] (Flash)

    With e the last stochastic step, n = max(int((T − e)·r̃), 1) times from the end of the window
    down to 0, so n − 1 steps; n = 1 takes the predicted x0, one step onto clean data.
    """
    if not 0 < ratio <= 1:
        raise ValueError(f"`ratio` must be in (0, 1], got {ratio}")
    grid, last = time_grid(steps, shift), first + width - 1
    head, n = grid[: last + 2], max(int((steps - last) * ratio), 1)
    start = 1 - (last + 1) / steps
    rest = [start * (1 - k / max(n - 1, 1)) for k in range(1, max(n, 2))]
    tail = tuple(shift * u / (1 + (shift - 1) * u) for u in rest)
    if head[-1] == 0:
        tail = ()
    window = windowed(euler(), sde, first, width, head)
    return Sampler(head + tail, window.kernels + (DPMSolverPP(),) * len(tail))
