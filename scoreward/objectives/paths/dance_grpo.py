"""DanceGRPO: GRPO on a random share of the steps of a rollout with constant noise.

[dance-grpo] arXiv:2505.07818. All samples of a prompt start from one noise (Online.own_start = 0)
and steps are `kernel.dance_sde`.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.objectives.base import Needs, Samples
from scoreward.objectives.paths.base import PathObjective
from scoreward.objectives.paths.replay import PathRows, path_rows, stored


@dataclass(frozen=True)
class DanceGRPO(PathObjective):
    """The settings of the public code."""

    clip: float | None = 1e-4  # code
    last: bool = False  # code: never the last step
    fraction: float = 0.6  # code: share of the steps, drawn for each sample
    best_of: int | None = None  # keep the k best and the k worst of a group; HunyuanVideo: 4 and 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.fraction <= 1:
            raise ValueError(f"`fraction` is a share in (0, 1], got {self.fraction}")
        if self.best_of is not None and self.best_of < 1:
            raise ValueError(f"`best_of` must be at least 1, got {self.best_of}")

    @property
    def needs(self) -> Needs:
        """The best and the worst are those of a whole group."""
        together = "never" if self.best_of is None else "prepared"
        return replace(super().needs, together=together, graphs=self.fraction == 1)

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> PathRows:
        rows = path_rows(samples, stored(policy.rollout.paths))
        kept = self._steps(rows, key) & self.teaching(rows, samples, policy)
        if self.best_of is not None:
            kept &= torch.isin(rows.sample, self._extremes(samples))
        return rows[kept]

    def _steps(self, rows: PathRows, key: Key) -> Tensor:
        """Whether a row is among the random steps of its sample.  [dance-grpo] (timesteps)"""
        kept = torch.zeros_like(rows.sample, dtype=torch.bool)
        for sample in rows.sample.unique().tolist():
            mine = (rows.sample == sample).nonzero()[:, 0]
            order = (key / "steps" / sample).permutation(len(mine)).to(mine.device)
            kept[mine[order[: max(1, int(self.fraction * len(mine)))]]] = True
        return kept

    def _extremes(self, samples: Samples) -> Tensor:
        """The samples with the largest and the smallest advantages of each group."""
        chosen = []
        for group in samples.group.unique():
            mine = samples.sample[samples.group == group]
            order = samples.advantage[samples.group == group].argsort()
            k = min(self.best_of or 0, len(mine) // 2)
            chosen += [mine[order[:k]], mine[order[len(order) - k :]]]
        return torch.cat(chosen)
