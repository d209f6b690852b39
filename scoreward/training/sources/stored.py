"""Rounds of data that are read: every row once an epoch, in a new order each time.

Which rows a round has, in which order, and which captions are dropped depends on the seed and the
round alone. What a kind of data writes is how its rows become the samples of this process.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scoreward.core.chain import Sampler
from scoreward.core.denoiser import Cond
from scoreward.core.keys import Key, shuffled
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.rows import join, some
from scoreward.data.disk_rows import DiskRows
from scoreward.models.base import Model
from scoreward.objectives.base import Given_co, PolicyT, Samples
from scoreward.training.geometry import Geometry
from scoreward.training.sources.online import Source
from scoreward.training.work import Collected, PictureWork, Work, pictured

NOTHING = Sampler((1.0,), ())  # nothing is sampled


class Stored(Source[PolicyT, Given_co]):
    """Rows of data, by number; subclass it as a frozen dataclass."""

    samples_of_row: ClassVar[int] = 1
    dropout: float = 0.0  # share of captions replaced by the null condition

    @property
    @abstractmethod
    def total(self) -> int:
        """How many rows there are."""

    @abstractmethod
    def read(
        self, chosen: Sequence[int], here: range, lost: Bool[Tensor, " rows"], work: Work[PolicyT]
    ) -> Given_co:
        """The samples `here` of a round of the rows `chosen`, whose captions are `lost` or not."""

    def open(self, round: int) -> Sequence[int]:
        """The rows that a round may take."""
        return range(self.total)

    def address(self, key: Key, total: int) -> Key:
        """Where the orders of `total` open rows are drawn."""
        return key / "data"

    def metrics(self, round: int) -> dict[str, float]:
        """What is logged of the data."""
        return {}

    def numbers(self, round: int, key: Key) -> list[int]:
        """The rows of a round: without replacement until all that are open have been used."""
        ready, count = self.open(round), self.geometry.samples // self.samples_of_row
        places = range(round * count, (round + 1) * count)
        order = self.address(key, len(ready))
        return [ready[i] for i in shuffled(order, places, len(ready))]

    def collect(self, round: int, key: Key, work: Work[PolicyT]) -> Collected[Given_co]:
        sizes, team = self.geometry, work.team
        here = sizes.share(team.rank, team.size, sizes.unit(work.needs.whole_groups))
        chosen = self.numbers(round, key)
        lost = (key / "dropout" / round).uniform(len(chosen)) < self.dropout
        samples = self.read(chosen, here, lost, work)
        return Collected(samples.to(team.device), self.metrics(round))

    def check(self, why: str) -> None:
        """Raises ValueError for sizes of groups, said `why`, and shares that make no sense."""
        group, wanted = self.geometry.group, self.samples_of_row
        if group != wanted:
            raise ValueError(f"{why}, so `geometry.group` must be {wanted}, got {group}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` is a share in [0, 1), got {self.dropout}")


@dataclass(frozen=True)
class Offline(Stored[DiffusionPolicy, Samples]):
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
    rollout: Sampler = NOTHING  # of an objective that samples beside the data

    def __post_init__(self) -> None:
        if len(self.data) != len(self.prompts) or not self.prompts:
            raise ValueError(
                f"got {len(self.data)} samples and {len(self.prompts)} prompts; expected one each"
            )

    @property
    def total(self) -> int:
        return len(self.prompts)

    def sampler(self, round: int) -> Sampler:
        return self.rollout

    def read(self, chosen: Sequence[int], here: range, lost: Tensor, work: PictureWork) -> Samples:
        rows, index = [chosen[i] for i in here], torch.tensor(list(here), dtype=torch.long)
        cond = captioned([self.prompts[i] for i in rows], lost[index], pictured(work))
        zero = torch.zeros(len(here), dtype=torch.float64)
        return Samples(self.data[rows], cond, zero, index * 0, index, zero)


@dataclass(frozen=True)
class LabelledPictures:
    """Pictures in the model's x0 space with their labels.  Raises ValueError for uneven data."""

    x0: Float[Tensor, "pictures *shape"] | DiskRows
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
class Labelled(Stored[DiffusionPolicy, Samples]):
    """Pictures one by one, with an advantage of +1 where wanted and −1 where not."""

    data: LabelledPictures
    geometry: Geometry = Geometry(prompts=128, group=1)
    dropout: float = 0.2  # share of pictures whose caption is dropped

    def __post_init__(self) -> None:
        self.check("pictures come one by one")

    @property
    def total(self) -> int:
        return len(self.data.prompts)

    def read(self, chosen: Sequence[int], here: range, lost: Tensor, work: PictureWork) -> Samples:
        rows, index = [chosen[i] for i in here], torch.tensor(list(here), dtype=torch.long)
        cond = captioned([self.data.prompts[i] for i in rows], lost[index], pictured(work))
        sign = torch.where(self.data.desirable[rows], 1.0, -1.0).double()
        return Samples(self.data.x0[rows], cond, sign, index, index, sign)


def captioned(words: Sequence[str], lost: Bool[Tensor, " words"], model: Model) -> Cond:
    """The conditions of captions, the null one where it is lost."""
    cond = model.encode(words)
    if cond is None:
        return None
    both = join([cond, model.null(cond)])
    return some(both, torch.arange(len(lost)) + len(lost) * lost.long())
