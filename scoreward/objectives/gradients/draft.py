"""DRaFT: the reward's gradient through the last K steps of the chain.

[draft] arXiv:2309.17400; constants from memory. DRaFT-LV averages the gradient over several noisy
copies of the last step, which lowers its variance.
"""

from dataclasses import dataclass

from torch import Tensor

from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.prediction import per_sample
from scoreward.objectives.gradients.starts import (
    Graded,
    StartObjective,
    StartRows,
    rewarded,
)


@dataclass(frozen=True)
class DRaFT(StartObjective):
    """K = 1 is usual; `copies` > 1 is DRaFT-LV."""

    last: int = 1  # K
    copies: int = 1  # n of DRaFT-LV, there 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.last < 1 or self.copies < 1 or (self.copies > 1 and self.last > 1):
            raise ValueError(
                f"expected last >= 1 and copies >= 1, and copies with last=1 only; got "
                f"last={self.last}, copies={self.copies}"
            )

    def first(self, steps: int, key: Key) -> int:
        return max(0, steps - self.last)

    @property
    def extra(self) -> int:
        return self.copies - 1

    def loss(self, rows: StartRows, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        """−r(x0).  [draft] (K steps)"""
        seen: dict[int, Tensor] = {}
        steps = list(self.graded(rows, policy, seen))
        reward = rewarded(steps[-1].state, rows, policy)
        total = reward
        for copy in range(1, self.copies):
            again = self._again(steps[-1].state.detach(), rows, policy, copy)
            steps, total = [*steps, again], total + rewarded(again.state, rows, policy)
        loss = -(total / self.copies).mean()
        held = self.held(steps, rows, policy, seen)
        metrics = self.metrics(reward, held)
        return loss if held is None else loss + self.anchor * held, metrics

    def _again(self, x0: Tensor, rows: StartRows, policy: DiffusionPolicy, copy: int) -> Graded:
        """The last step from a newly noised x0.  [draft] (LV)"""
        t, s = (x0.new_full((len(x0),), time) for time in policy.times[-2:])
        time, process = per_sample(t, x0), policy.process
        eps = rows.noise[:, policy.sampler.steps + copy - 1]
        x_t = process.alpha(time) * x0 + process.sigma(time) * eps
        prediction = policy.current(x_t, t, rows.cond)
        return Graded(prediction, policy.sampler.kernels[-1](prediction, s).mean)
