"""TempFlow-GRPO: branches at every step, and steps weighted by how much noise they have.

[temp-flow] arXiv:2508.04324. A trunk without noise sends out branches at every step
(`sources.branching.Branching`), or one random step of a rollout has noise (a `windows.Window` of
width 1): then a difference of rewards belongs to that step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.chain import Sampler
from scoreward.core.kernel import Kernel
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.process import Process
from scoreward.core.ratio import clipped_gain, ratio_metrics
from scoreward.objectives.paths.base import PathObjective
from scoreward.objectives.paths.replay import Replay, kernel_of


@dataclass(frozen=True)
class TempFlowGRPO(PathObjective):
    """The settings of the public code for GenEval on SD3.5-M."""

    clip: float | None = 1e-4  # code
    kl: float = 0.004  # code, in the paper's form; 0.001 PickScore, 0 Qwen-Image
    last: bool = False  # code: the last step has no branches
    skip_uniform: bool = True  # code; False on FLUX
    weighted: bool = True  # by the noise of the step
    constant: float | None = None  # c of c·std; code: 2.25, FLUX 1.73; None: 1/mean std

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.constant is not None and not (self.weighted and self.constant > 0):
            raise ValueError(
                f"`constant` multiplies the weights and must be positive, got {self.constant} with "
                f"weighted={self.weighted}; leave it out, or set weighted=True"
            )

    def surrogate(self, seen: Replay, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        path = seen.rows.path
        log_ratio = seen.log_ratio(self.log_prob, self.per_dimension)
        advantage = seen.rows.advantage
        gain = clipped_gain(log_ratio, advantage, self.clip)
        if self.weighted:
            weight = self.weights(kernel_of(path, policy.sampler), policy)
            gain = gain * weight.to(gain)[path.step]
        return -gain.mean(), ratio_metrics(log_ratio, advantage, self.clip)

    def weights(self, kernel: Kernel, policy: DiffusionPolicy) -> Float[Tensor, " steps"]:
        """The weight of every step of the policy's grid."""
        sampler = policy.sampler
        trained = self.needs.trained(range(sampler.steps), sampler.steps)
        return noise_weights(kernel, sampler, policy.process, trained, self.constant)


def noise_weights(
    kernel: Kernel,
    sampler: Sampler,
    process: Process,
    trained: Sequence[int] | None = None,
    constant: float | None = None,
) -> Float[Tensor, " steps"]:
    """std of each step over the mean of the trained ones.  [temp-flow] (noise-aware weights)

    The release multiplies by a constant instead, which is one over that mean: 2.25 on the shifted
    grid of ten steps with a = 0.7, where 1/mean is 2.2413.  [temp-flow] (weights of the code)
    """
    grid = torch.tensor(sampler.times, dtype=torch.float64)
    std = kernel.std(process, grid[:-1], grid[1:])
    if constant is not None:
        return constant * std
    return std / std[list(range(sampler.steps) if trained is None else trained)].mean()
