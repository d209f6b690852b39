"""AlignProp: the reward's gradient through a random number of last steps of the chain.

[align-prop] arXiv:2310.03739. The network's answers before step K are constants, the latent path is
kept; as K counts from the start, the gradient is that of DRaFT with T − K steps. What differs is
that K is drawn anew, so that early steps are trained now and then.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.objectives.gradients.starts import StartObjective, StartRows, rewarded


@dataclass(frozen=True)
class AlignProp(StartObjective):
    """The settings of the public code; K is a share of the steps, 50 there."""

    cut: Literal["normal", "uniform", "fixed"] = "normal"  # code
    mean: float = 0.84  # code: 42 of 50
    std: float = 0.1  # code: 5 of 50
    weight: float = 0.01  # code
    target: float = 1.0  # |target − r|; code: 10 for the aesthetic score, 1 for HPS

    def first(self, steps: int, key: Key) -> int:
        """K: normal and redrawn until inside, uniform, or the last step.  [align-prop] (K)"""
        match self.cut:
            case "fixed":
                return steps - 1
            case "uniform":
                return int(key.integers(steps, 1))
            case "normal":
                for attempt in range(1000):
                    cut = int((self.mean + self.std * float((key / attempt).normal(1))) * steps)
                    if 1 <= cut < steps:
                        return cut
                raise ValueError(
                    f"no K in 1 to {steps - 1} was drawn in 1,000 attempts; set `mean` and `std` "
                    "so that K = mean × steps can fall there"
                )

    def loss(self, rows: StartRows, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        """w |target − r(x0)|.  [align-prop] (loss)"""
        seen: dict[int, Tensor] = {}
        steps = list(self.graded(rows, policy, seen))
        reward = rewarded(steps[-1].state, rows, policy)
        held = self.held(steps, rows, policy, seen)
        loss = self.weight * (self.target - reward).abs().mean()
        metrics = self.metrics(reward, held)
        return loss if held is None else loss + self.anchor * held, metrics
