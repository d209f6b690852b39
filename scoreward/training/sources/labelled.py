"""Rounds of single pictures from data, each wanted or not."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scoreward.core.chain import Sampler
from scoreward.core.keys import Key
from scoreward.core.rows import Looked
from scoreward.objectives.base import Samples
from scoreward.training.geometry import Geometry
from scoreward.training.sources.online import Collected, Source, Work, to_device
from scoreward.training.sources.stored import dropped, places


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures in the model's x0 space with their labels.  Raises ValueError for uneven data."""

    x0: Float[Tensor, "pictures *shape"]
    desirable: Bool[Tensor, " pictures"]
    prompts: Sequence[str]

    def __post_init__(self) -> None:
        if not len(self.x0) == len(self.desirable) == len(self.prompts):
            raise ValueError(
                f"got {len(self.x0)} pictures, {len(self.desirable)} labels and "
                f"{len(self.prompts)} prompts; expected one of each for every picture"
            )
        if not 0 < self.share < 1:
            raise ValueError(
                "the pictures to learn from are all wanted or all unwanted; both are needed"
            )

    @property
    def share(self) -> float:
        """Of the desirable ones."""
        return float(self.desirable.double().mean()) if len(self.desirable) else 0.0


@dataclass(frozen=True)
class Labelled(Source):
    """Pictures one by one, with an advantage of +1 where wanted and −1 where not."""

    data: LabelledPictures
    geometry: Geometry = Geometry(prompts=128, group=1)
    dropout: float = 0.2  # share of pictures whose caption is dropped

    def __post_init__(self) -> None:
        if self.geometry.group != 1:
            raise ValueError(
                f"pictures come one by one, so `geometry.group` must be 1, got "
                f"{self.geometry.group}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` is a share in [0, 1), got {self.dropout}")

    def sampler(self, round: int) -> Sampler:
        return Sampler((1.0,), ())

    def collect(self, round: int, key: Key, work: Work) -> Collected:
        team, geometry = work.team, self.geometry
        here = geometry.share(team.rank, team.size)
        numbers = places(round, key, geometry, len(self.data.prompts))
        chosen = [numbers[i] for i in here]
        cond = work.model.encode([self.data.prompts[i] for i in chosen])
        lost = (key / "dropout" / round).uniform(geometry.samples)[list(here)] < self.dropout
        table = to_device(dropped(cond, lost, work.model), team)
        at, index = (torch.tensor(list(v), dtype=torch.long) for v in (chosen, here))
        sign = torch.where(self.data.desirable[at], 1.0, -1.0).double()
        row = torch.arange(len(index), device=team.device)
        samples = Samples(
            self.data.x0[at].to(team.device),
            None if table is None else Looked(table, row),
            sign.to(team.device),
            index.to(team.device),
            index.to(team.device),
            sign.to(team.device),
        )
        return Collected(samples, None, {})
