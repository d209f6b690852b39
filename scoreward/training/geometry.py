"""How a round is divided: what is algorithm and what is only memory.

Prompts per round, group size, minibatches and epochs define the algorithm. The rollout batch, the
micro-batch and the number of processes define memory and speed and never change the result.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from scoreward.core.keys import Key


@dataclass(frozen=True)
class Geometry:
    """Sizes of a round; nothing has to divide anything.

    Example:
        >>> import scoreward as sw
        >>> sizes = sw.Geometry(prompts=4, group=8, minibatches=2)
        >>> sizes.samples, sizes.updates
        (32, 2)
    """

    prompts: int = 8  # prompts per round, over all processes
    group: int = 8  # samples per prompt
    minibatches: int = 1  # optimiser steps per pass over the round
    epochs: int = 1  # passes over the round
    rollout_batch: int = 64  # samples generated at once per process; memory only
    micro_batch: int = 64  # rows (samples or transitions) per backward pass; memory only
    remember: int = 0  # network answers kept with their graphs from rollout to update; memory only

    def __post_init__(self) -> None:
        if self.remember < 0:
            raise ValueError(f"`remember` must not be negative, got {self.remember}")
        for name in ("prompts", "group", "minibatches", "epochs", "rollout_batch", "micro_batch"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        if self.minibatches > self.samples:
            raise ValueError(
                f"{self.minibatches} minibatches cannot be made of {self.samples} samples "
                f"({self.prompts} prompts x {self.group}); lower `minibatches` or raise `prompts`"
            )

    @property
    def samples(self) -> int:
        """Samples per round, over all processes."""
        return self.prompts * self.group

    @property
    def updates(self) -> int:
        """Optimiser steps per round."""
        return self.minibatches * self.epochs

    def unit(self, whole_groups: bool) -> int:
        """The number of samples that always stay together."""
        if whole_groups and self.minibatches > self.prompts:
            raise ValueError(
                f"this objective needs whole groups, so {self.minibatches} minibatches cannot be "
                f"made of {self.prompts} prompts; lower `minibatches` or raise `prompts`"
            )
        return self.group if whole_groups else 1

    def share(self, rank: int, processes: int, unit: int = 1) -> range:
        """The samples of a round that one process generates and trains on."""
        units = self.samples // unit
        return range(rank * units // processes * unit, (rank + 1) * units // processes * unit)

    def parts(self, key: Key, unit: int = 1) -> list[Tensor]:
        """The samples of each minibatch of one epoch, the same on every process."""
        inside = torch.arange(unit)
        pieces = torch.tensor_split(key.permutation(self.samples // unit), self.minibatches)
        return [(piece[:, None] * unit + inside).flatten() for piece in pieces]

    def explain(self, processes: int = 1) -> list[str]:
        """The plan in sentences, for the log and for `scoreward train --plan`."""
        shares = [len(self.share(r, processes)) for r in range(processes)]
        largest, per_update = max(shares), -(-self.samples // self.minibatches)
        local = min(largest, per_update)
        lines = [
            f"A round is {self.prompts} prompts x {self.group} samples = {self.samples} samples.",
            f"It is used for {self.updates} optimiser step(s) of {per_update} samples: "
            f"{self.epochs} epoch(s) x {self.minibatches} minibatch(es).",
            f"{processes} process(es) hold {' + '.join(map(str, shares))} samples, generated "
            f"{min(self.rollout_batch, largest)} at a time and trained "
            f"{min(self.micro_batch, local)} at a time; these only set memory, not the result.",
        ]
        if min(shares) == 0:
            lines.append(
                f"{shares.count(0)} process(es) have nothing to do: use fewer, or more samples."
            )
        elif largest > min(shares) + 1:
            lines.append("Shares are uneven; the slowest process sets the pace.")
        return lines
