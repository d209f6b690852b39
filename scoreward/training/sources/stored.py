"""Data that are read: every row once an epoch, in a new order each time."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from scoreward.core.chain import Sampler
from scoreward.core.denoiser import Cond
from scoreward.core.device import widest
from scoreward.core.keys import Key, shuffled
from scoreward.core.rows import Rows, join
from scoreward.models.base import Model
from scoreward.objectives.base import Samples
from scoreward.training.geometry import Geometry
from scoreward.training.sources.online import Collected, Source, Work, to_device


def places(round: int, key: Key, geometry: Geometry, total: int) -> list[int]:
    """The rows of a round, each epoch in a new random order."""
    count = geometry.samples
    return shuffled(key / "data", range(round * count, (round + 1) * count), total)


@dataclass(frozen=True)
class Offline(Source):
    """Data with captions, in a new random order each epoch; a share of captions is dropped.

    >>> import torch
    >>> import scoreward as sw
    >>> sizes = sw.Geometry(prompts=32, group=1)  # a group of 1, for nothing is compared
    >>> source = sw.Offline(torch.zeros(100, 2), ["a point"] * 100, sizes)
    >>> source.geometry.samples
    32
    """

    data: Tensor
    prompts: Sequence[str]
    geometry: Geometry = Geometry(prompts=64, group=1)
    dropout: float = 0.1  # share of captions replaced by the null condition, as in [cfg] Sec. 5
    rollout: Sampler = Sampler((1.0,), ())  # of an objective that samples beside the data

    def __post_init__(self) -> None:
        if len(self.data) != len(self.prompts) or not self.prompts:
            raise ValueError(
                f"got {len(self.data)} samples and {len(self.prompts)} prompts; expected one each"
            )

    def sampler(self, round: int) -> Sampler:
        return self.rollout

    def collect(self, round: int, key: Key, work: Work) -> Collected:
        count, total = self.geometry.samples, len(self.prompts)
        unit = self.geometry.unit(work.objective.whole_groups)
        here = self.geometry.share(work.team.rank, work.team.size, unit)
        rows = shuffled(key / "data", [round * count + i for i in here], total)
        cond = work.model.encode([self.prompts[i] for i in rows])
        drop = (key / "dropout" / round).uniform(count)[list(here)] < self.dropout
        cond = to_device(dropped(cond, drop, work.model), work.team)
        x0 = self.data[rows].to(work.team.device)
        index = torch.tensor(list(here), dtype=torch.long, device=x0.device)
        zero = torch.zeros(len(x0), dtype=widest(x0.device), device=x0.device)
        return Collected(Samples(x0, cond, zero, index * 0, index, zero), None, {})


def dropped(cond: Cond, drop: Tensor, model: Model) -> Cond:
    """The null condition where `drop` is true."""
    if cond is None:
        return None
    both: Tensor | Rows = join([cond, model.null(cond)])  # pyright: ignore
    return both[torch.arange(len(drop)) + len(drop) * drop.long()]
