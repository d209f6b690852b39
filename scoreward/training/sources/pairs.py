"""Rounds of pairs from data: a winner and a loser for one prompt, side by side.

A round is `geometry.prompts` pairs. A curriculum opens easy pairs first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.denoiser import Denoiser
from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.rows import Looked
from scoreward.data.disk_rows import DiskRows
from scoreward.losses.curriculum import curriculum
from scoreward.models.base import Model
from scoreward.objectives.pictures.diffusion_dpo import DiffusionDPO
from scoreward.objectives.pictures.rows import Preferred, TimeLaw, compared
from scoreward.training.geometry import Geometry
from scoreward.training.sources.combining import in_pieces
from scoreward.training.sources.online import to_device
from scoreward.training.sources.stored import NOTHING, Stored, captioned
from scoreward.training.team import Team
from scoreward.training.work import PictureWork
from scoreward.training.work import pictured as model_of

NAMES = ("winner", "loser", "gap", "winner_noise", "loser_noise")  # of tensors, a row each a pair


@dataclass(frozen=True)
class PairData:
    """Pairs in the model's x0 space.  `gap` is the winner's score minus the loser's.

    Raises ValueError for data that is empty, uneven, or not finite.
    """

    winner: Float[Tensor, "pairs *shape"] | DiskRows
    loser: Float[Tensor, "..."] | DiskRows  # of the winners' shape
    prompts: Sequence[str]
    gap: Float[Tensor, " pairs"] | None = None
    winner_noise: Float[Tensor, "pairs *shape"] | None = None  # what it was generated from
    loser_noise: Float[Tensor, "pairs *shape"] | None = None

    def __post_init__(self) -> None:
        if not len(self.prompts):
            raise ValueError("there are no pairs to learn from; ties do not count")
        if not len(self.winner) == len(self.loser) == len(self.prompts):
            raise ValueError(
                f"got {len(self.winner)} winners, {len(self.loser)} losers and "
                f"{len(self.prompts)} prompts; expected one of each for every pair"
            )
        if self.winner.shape != self.loser.shape:
            raise ValueError(
                f"winners have the shape {tuple(self.winner.shape[1:])} and losers "
                f"{tuple(self.loser.shape[1:])}; expected the same"
            )
        if (self.winner_noise is None) != (self.loser_noise is None):
            raise ValueError("the noise of only one side of the pairs is known; give both or none")
        for name, value in self.tensors().items():
            if isinstance(value, Tensor) and not torch.isfinite(value).all():
                raise ValueError(f"`{name}` of the pairs holds numbers that are not finite")

    def __len__(self) -> int:
        return len(self.prompts)

    def some(self, rows: Sequence[int]) -> "PairData":
        """Some of the pairs; what is on disk stays there."""

        def of(side: Tensor | DiskRows) -> Tensor | DiskRows:
            return side.some(rows) if isinstance(side, DiskRows) else side[list(rows)]

        return self._with(of(self.winner), of(self.loser), rows)

    def __getitem__(self, rows: Sequence[int]) -> "PairData":
        """Some of the pairs, in memory."""
        return self._with(self.winner[list(rows)], self.loser[list(rows)], rows)

    def _with(
        self, winner: Tensor | DiskRows, loser: Tensor | DiskRows, rows: Sequence[int]
    ) -> "PairData":
        """These pictures, and what else is known of some pairs."""
        others = (self.gap, self.winner_noise, self.loser_noise)
        gap, *noise = (None if one is None else one[list(rows)] for one in others)
        return PairData(winner, loser, [self.prompts[i] for i in rows], gap, *noise)

    def tensors(self) -> dict[str, Tensor | DiskRows]:
        """All that is there but prompts, by name."""
        found = {name: getattr(self, name) for name in NAMES}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Curriculum:
    """Which pairs are open at an update, largest gap first.  [curriculum-dpo] (schedule)"""

    chunks: int = 6  # paper
    every: int = 500  # updates until one more chunk opens; paper
    least: float = 0.02  # smaller gaps are never used; paper, for rewards of text and of people

    def __post_init__(self) -> None:
        if self.chunks < 1 or self.every < 1:
            raise ValueError(
                f"`chunks` and `every` must be at least 1, got {self.chunks} and {self.every}"
            )


@dataclass(frozen=True)
class Preferences(Stored[DiffusionPolicy, Preferred]):
    """Pairs as groups of two: the winner, then the loser, with advantages of +1 and −1."""

    samples_of_row: ClassVar[int] = 2

    data: PairData
    geometry: Geometry = Geometry(prompts=64, group=2)
    dropout: float = 0.2  # share of pairs whose caption is dropped, Diffusion-DPO code
    curriculum: Curriculum | None = None

    def __post_init__(self) -> None:
        self.check("a pair is a group of 2")
        if self.geometry.prompts > len(self.data):
            raise ValueError(
                f"a round of {self.geometry.prompts} pairs is more than the {len(self.data)} that "
                "there are; lower `geometry.prompts` or give more pairs"
            )
        if self.curriculum is not None:
            self.open(0)

    @property
    def total(self) -> int:
        return len(self.data)

    def address(self, key: Key, total: int) -> Key:
        return key / "pairs" / total

    def metrics(self, round: int) -> dict[str, float]:
        return {"pairs/open": float(len(self.open(round)))}

    def open(self, round: int) -> Sequence[int]:
        plan = self.curriculum
        if plan is None:
            return super().open(round)
        if self.data.gap is None:
            raise ValueError("a curriculum goes by the gap of scores, and these pairs have none")
        update = round * self.geometry.updates
        chosen = curriculum(self.data.gap, update, plan.chunks, plan.every, plan.least).tolist()
        if not chosen:
            raise ValueError(
                f"no pair has a gap of at least {plan.least}; lower `least` of the curriculum "
                f"(the largest gap is {float(self.data.gap.max()):.3g})"
            )
        return chosen

    def read(
        self, chosen: Sequence[int], here: range, lost: Tensor, work: PictureWork
    ) -> Preferred:
        index, groups = torch.tensor(list(here), dtype=torch.long), sorted({i // 2 for i in here})
        words = [self.data.prompts[chosen[g]] for g in groups]
        table = captioned(words, lost[groups], model_of(work))
        pair = torch.tensor([chosen[i // 2] for i in here], dtype=torch.long)
        return replace(
            pictured(self.data, pair, index % 2 == 0),
            cond=None if table is None else Looked(table, index // 2 - (groups or [0])[0]),
            group=index // 2,
            sample=index,
        )


def pictured(data: PairData, pair: Tensor, wins: Tensor) -> Preferred:
    """Pictures of pairs, the winner's where `wins`; condition and numbers are the caller's."""

    def of(winner: Tensor | DiskRows, loser: Tensor | DiskRows) -> Tensor:
        at = wins.reshape(-1, *[1] * (winner.ndim - 1))
        return torch.where(at, winner[pair], loser[pair])

    noise = None
    if data.winner_noise is not None and data.loser_noise is not None:
        noise = of(data.winner_noise, data.loser_noise)
    sign = torch.where(wins, 1.0, -1.0).double()
    gap = None if data.gap is None else data.gap[pair].double()
    score = torch.zeros_like(sign) if gap is None else sign * gap / 2
    return Preferred(of(data.winner, data.loser), None, sign, pair, pair, score, gap, noise)


@dataclass(frozen=True)
class HeldOutPairs:
    """How often the implicit reward of the network agrees with pairs it was not trained on.

    The reward of a picture is how much lower its denoising error is than the reference's, averaged
    over `draws` times and noises that are always the same ones; a tie counts one half.
    """

    data: PairData
    draws: int = 4  # (t, ε) per pair
    times: TimeLaw = TimeLaw()
    batch: int = 64  # pairs at once; memory only
    seed: int = 0

    def __post_init__(self) -> None:
        if self.draws < 1 or self.batch < 1:
            raise ValueError(
                f"`draws` and `batch` must be at least 1, got {self.draws} and {self.batch}"
            )

    @torch.no_grad()
    def __call__(
        self, current: Denoiser, reference: Denoiser, model: Model, team: Team
    ) -> dict[str, float]:
        """Accuracy, and the errors of winners and losers as ratios to the reference's."""
        policy = DiffusionPolicy(
            current, current, reference, model.process, NOTHING, kind=model.kind
        )

        def errors(some: Sequence[int]) -> list[list[float]]:
            """The four errors of some pairs, summed over the draws."""
            data = self.data[some]
            table = to_device(model.encode(data.prompts), team)
            index = torch.arange(2 * len(some), device=team.device)
            bare = pictured(data, index.cpu() // 2, index.cpu() % 2 == 0).to(team.device)
            cond = None if table is None else Looked(table, index // 2)
            group = torch.tensor(some).repeat_interleave(2).to(index)
            samples = replace(bare, cond=cond, group=group)
            total = torch.zeros(len(some), 4, dtype=torch.float64)
            for draw in range(self.draws):
                key = Key(("held-out pairs", self.seed, draw))
                rows = DiffusionDPO(times=self.times).ready(samples, policy, key)
                said = compared(rows, current, policy).errors
                four = (said.winner, said.loser, said.ref_winner, said.ref_loser)
                total += torch.stack([e.cpu().double() for e in four], 1)
            return total.tolist()

        mine = range(team.rank, len(self.data), team.size)
        every = in_pieces(mine, self.batch, errors, team)
        margin = [won - lost - (rw - rl) for won, lost, rw, rl in every]
        right = sum(1.0 if m < 0 else 0.5 if m == 0 else 0.0 for m in margin)
        winner, loser, ref_winner, ref_loser = (sum(c) for c in zip(*every, strict=True))
        return {
            "accuracy": right / len(every),
            "winner_ratio": winner / ref_winner,
            "loser_ratio": loser / ref_loser,
        }
