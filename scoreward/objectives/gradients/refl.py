"""ReFL: one step with a gradient, from a random point of the chain straight to the predicted x0.

[refl] arXiv:2304.05977. Needs a differentiable reward.
"""

from dataclasses import dataclass

from torch import Tensor

from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.objectives.gradients.starts import StartObjective, StartRows, rewarded


@dataclass(frozen=True)
class ReFL(StartObjective):
    """The settings of the public code, for ImageReward; the range is a share of the steps."""

    earliest: float = 0.75  # code: step 30 of 40
    latest: float = 0.975  # code: step 39 of 40
    weight: float = 1e-3  # code
    threshold: float = 2.0  # code; above the largest reward it never cuts

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.earliest <= self.latest < 1:
            raise ValueError(
                f"expected 0 <= earliest <= latest < 1, got {self.earliest} and {self.latest}"
            )

    def first(self, steps: int, key: Key) -> int:
        low, high = int(self.earliest * steps), int(self.latest * steps)
        return low + int(key.integers(high - low + 1, 1))

    def loss(self, rows: StartRows, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        """w relu(c − r(x̂0)).  [refl] (loss)"""
        seen: dict[int, Tensor] = {}
        step = next(self.graded(rows, policy, seen))
        reward = rewarded(step.prediction.x0, rows, policy)
        loss = self.weight * (self.threshold - reward).relu().mean()
        held = self.held([step], rows, policy, seen)
        metrics = self.metrics(reward, held)
        return loss if held is None else loss + self.anchor * held, metrics
