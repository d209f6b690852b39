"""TempFlow-GRPO: noise at one step only, and steps weighted by how much noise they have.

[temp-flow] arXiv:2508.04324, from descriptions; no training code is public. With noise at a single
step (a `windows.Window` of width 1) a difference of rewards belongs to that step.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.chain import Sampler
from scoreward.kernel import Kernel
from scoreward.objectives.base import Policy
from scoreward.objectives.paths import PathObjective
from scoreward.objectives.replay import Replay, kernel_of
from scoreward.process import Process
from scoreward.ratio import clipped_gain, ratio_metrics


@dataclass(frozen=True)
class TempFlowGRPO(PathObjective):
    """Defaults are Flow-GRPO's; the descriptions name none."""

    clip: float | None = 1e-4  # Flow-GRPO
    weighted: bool = True  # by the noise of the step

    def surrogate(self, seen: Replay, policy: Policy) -> tuple[Tensor, dict[str, Tensor]]:
        path = seen.rows.path
        log_ratio = seen.log_ratio(self.log_prob, self.per_dimension)
        advantage = seen.rows.advantage
        gain = clipped_gain(log_ratio, advantage, self.clip)
        if self.weighted:
            weight = noise_weights(kernel_of(path, policy.sampler), policy.sampler, policy.process)
            gain = gain * weight.to(gain)[path.step]
        return -gain.mean(), ratio_metrics(log_ratio, advantage, self.clip)


def noise_weights(kernel: Kernel, sampler: Sampler, process: Process) -> Float[Tensor, " steps"]:
    """std of each step of the grid over their mean.  [temp-flow] (noise-aware weights)"""
    grid = torch.tensor(sampler.times, dtype=torch.float64)
    std = kernel.std(process, grid[:-1], grid[1:])
    return std / std.mean()
