"""Rounds of pairs from data: a winner and a loser for one prompt, side by side.

A round is `geometry.prompts` pairs, in a new random order each epoch; which pairs, which captions
are dropped and in which order depends on the seed and the round alone. A curriculum opens easy
pairs first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.chain import Sampler
from scoreward.core.denoiser import Denoiser
from scoreward.core.keys import Key, shuffled
from scoreward.core.rows import Looked
from scoreward.losses.curriculum import curriculum
from scoreward.models.base import Model
from scoreward.objectives.base import Policy
from scoreward.objectives.pictures.diffusion_dpo import DiffusionDPO
from scoreward.objectives.pictures.errors import compared
from scoreward.objectives.pictures.rows import Preferred, TimeLaw
from scoreward.training.geometry import Geometry
from scoreward.training.sources.online import Collected, Source, Work, to_device
from scoreward.training.sources.stored import dropped
from scoreward.training.team import Team


@dataclass(frozen=True)
class PairData:
    """Pairs in the model's x0 space.  `gap` is the winner's score minus the loser's.

    Raises ValueError for data that is empty, uneven, or not finite.
    """

    winner: Float[Tensor, "pairs *shape"]
    loser: Float[Tensor, "..."]  # of the winners' shape
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
        for name in ("winner", "loser", "gap", "winner_noise", "loser_noise"):
            value = getattr(self, name)
            if value is not None and not torch.isfinite(value).all():
                raise ValueError(f"`{name}` of the pairs holds numbers that are not finite")

    def __len__(self) -> int:
        return len(self.prompts)

    def __getitem__(self, rows: Sequence[int]) -> "PairData":
        """Some of the pairs."""
        at = torch.tensor(list(rows), dtype=torch.long)
        pick = (None if v is None else v[at] for v in (self.gap, *self._noises))
        return PairData(self.winner[at], self.loser[at], [self.prompts[i] for i in rows], *pick)

    @property
    def _noises(self) -> tuple[Tensor | None, Tensor | None]:
        return self.winner_noise, self.loser_noise


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
class Preferences(Source):
    """Pairs as groups of two: the winner, then the loser, with advantages of +1 and −1."""

    data: PairData
    geometry: Geometry = Geometry(prompts=64, group=2)
    dropout: float = 0.2  # share of pairs whose caption is dropped, Diffusion-DPO code
    curriculum: Curriculum | None = None

    def __post_init__(self) -> None:
        if self.geometry.group != 2:
            raise ValueError(
                f"a pair is a group of 2, so `geometry.group` must be 2, got {self.geometry.group}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"`dropout` is a share in [0, 1), got {self.dropout}")
        if self.geometry.prompts > len(self.data):
            raise ValueError(
                f"a round of {self.geometry.prompts} pairs is more than the {len(self.data)} that "
                "there are; lower `geometry.prompts` or give more pairs"
            )
        if self.curriculum is not None:
            self.open(0)

    def sampler(self, round: int) -> Sampler:
        return Sampler((1.0,), ())

    def open(self, round: int) -> Sequence[int]:
        """The pairs that a round may take."""
        plan = self.curriculum
        if plan is None:
            return range(len(self.data))
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

    def numbers(self, round: int, key: Key) -> list[int]:
        """The pairs of a round: without replacement until all that are open have been used."""
        ready, count = self.open(round), self.geometry.prompts
        total, places = len(ready), range(round * count, (round + 1) * count)
        return [ready[i] for i in shuffled(key / "pairs" / total, places, total)]

    def collect(self, round: int, key: Key, work: Work) -> Collected:
        team, geometry = work.team, self.geometry
        here = geometry.share(team.rank, team.size, geometry.unit(work.objective.whole_groups))
        chosen = self.numbers(round, key)
        groups = sorted({i // 2 for i in here})
        cond = work.model.encode([self.data.prompts[chosen[g]] for g in groups])
        lost = (key / "dropout" / round).uniform(geometry.prompts)[groups] < self.dropout
        table = to_device(dropped(cond, lost, work.model), team)
        index = torch.tensor(list(here), dtype=torch.long, device=team.device)
        pair = torch.tensor([chosen[i // 2] for i in here], dtype=torch.long)
        wins = torch.tensor([i % 2 == 0 for i in here], dtype=torch.bool)
        samples = replace(
            pictured(self.data, pair, wins).to(team.device),
            cond=None if table is None else Looked(table, index // 2 - (groups or [0])[0]),
            group=index // 2,
            sample=index,
        )
        metrics = {"pairs/open": float(len(self.open(round)))}
        return Collected(samples, None, metrics)


def pictured(data: PairData, pair: Tensor, wins: Tensor) -> Preferred:
    """Pictures of pairs, the winner's where `wins`; condition and numbers are the caller's."""

    def of(winner: Tensor, loser: Tensor) -> Tensor:
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
        mine = range(team.rank, len(self.data), team.size)
        sums: list[tuple[int, list[float]]] = []
        for start in range(0, len(mine), self.batch):
            some = mine[start : start + self.batch]
            sums += zip(some, self._errors(some, current, reference, model, team), strict=True)
        every = [row for _, row in sorted(team.gather(sums))]
        margin = [won - lost - (rw - rl) for won, lost, rw, rl in every]
        right = sum(1.0 if m < 0 else 0.5 if m == 0 else 0.0 for m in margin)
        winner, loser, ref_winner, ref_loser = (sum(c) for c in zip(*every, strict=True))
        return {
            "accuracy": right / len(every),
            "winner_ratio": winner / ref_winner,
            "loser_ratio": loser / ref_loser,
        }

    def _errors(
        self, some: Sequence[int], current: Denoiser, reference: Denoiser, model: Model, team: Team
    ) -> list[list[float]]:
        """The four errors of some pairs, summed over the draws."""
        data = self.data[some]
        table = to_device(model.encode(data.prompts), team)
        policy = Policy(current, current, reference, model.process, Sampler((1.0,), ()),
                        kind=model.kind)  # fmt: skip
        index = torch.arange(2 * len(some), device=team.device)
        wins = index % 2 == 0
        bare = pictured(data, index.cpu() // 2, wins.cpu()).to(team.device)
        cond = None if table is None else Looked(table, index // 2)
        samples = replace(bare, cond=cond, group=torch.tensor(some).repeat_interleave(2).to(index))
        total = torch.zeros(len(some), 4, dtype=torch.float64)
        for draw in range(self.draws):
            key = Key(("held-out pairs", self.seed, draw))
            rows = DiffusionDPO(times=self.times).prepare(samples, None, policy, key)
            errors = compared(rows, current, policy).errors
            four = (errors.winner, errors.loser, errors.ref_winner, errors.ref_loser)
            total += torch.stack([e.cpu().double() for e in four], 1)
        return total.tolist()
