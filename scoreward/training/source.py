"""Where rounds of data come from: generated and scored, or read.

A source is asked for a round and answers with this process's share of it. What it generates depends
on (seed, round, prompt, sample) alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from scoreward.advantage import Advantages, group_std, zero_variance
from scoreward.chain import Sampler, Transitions, draw, rollout
from scoreward.denoiser import Cond
from scoreward.keys import Key, normal_each
from scoreward.models.base import Model
from scoreward.objectives.base import Policy, Samples
from scoreward.rewards.base import Reward, scored
from scoreward.rows import Rows, join
from scoreward.training.clock import Clock
from scoreward.training.geometry import Geometry
from scoreward.training.team import Team


@dataclass(frozen=True)
class Collected:
    """One process's share of a round."""

    samples: Samples
    paths: Transitions | None
    metrics: dict[str, float]


@dataclass(frozen=True)
class Work:
    """What a source needs besides its own settings to make a round."""

    model: Model
    policy: Policy
    team: Team
    clock: Clock
    keep_paths: bool


class Source(ABC):
    """An endless sequence of rounds, addressed by number."""

    geometry: Geometry

    @abstractmethod
    def sampler(self, round: int) -> Sampler:
        """The sampler of this round; its grid is what stratified times are taken from."""

    @abstractmethod
    def collect(self, round: int, key: Key, work: Work) -> Collected:
        """This process's share of the round."""


@dataclass(frozen=True)
class Online(Source):
    """Prompts → samples of the old policy → rewards → advantages."""

    prompts: Sequence[str]
    rewards: Mapping[str, Reward]
    rollout: Sampler | Callable[[int], Sampler]
    geometry: Geometry = Geometry()
    advantages: Advantages = Advantages()
    weights: Mapping[str, float] = field(default_factory=dict)  # missing names weigh 1

    def __post_init__(self) -> None:
        if not self.prompts or not self.rewards:
            raise ValueError("online training needs at least one prompt and one reward")
        if self.geometry.group < 2:
            raise ValueError(
                f"a group of {self.geometry.group} has no spread of rewards to learn from; "
                "use a group of at least 2"
            )
        if unknown := set(self.weights) - set(self.rewards):
            raise ValueError(
                f"weights given for unknown rewards {sorted(unknown)}; have {sorted(self.rewards)}"
            )

    def sampler(self, round: int) -> Sampler:
        return self.rollout if isinstance(self.rollout, Sampler) else self.rollout(round)

    def chosen(self, round: int, key: Key) -> list[str]:
        """The prompts of a round: without replacement until all have been used."""
        count, total = self.geometry.prompts, len(self.prompts)
        places = range(round * count, (round + 1) * count)
        order = {e: (key / "prompts" / e).permutation(total) for e in {p // total for p in places}}
        return [self.prompts[int(order[p // total][p % total])] for p in places]

    def collect(self, round: int, key: Key, work: Work) -> Collected:
        team, size = work.team, self.geometry.group
        prompts = self.chosen(round, key)
        here = self.geometry.share(team.rank, team.size)
        words = [prompts[i // size] for i in here]
        keys = [
            key / "round" / round / "prompt" / (i // size) / "sample" / (i % size) for i in here
        ]
        x0, cond, paths = self._generate(round, words, keys, work)
        with work.clock.section("reward"):
            mine = team.all_or_none(lambda: self._score(x0, words, work.model))
        rewards, group = self._everyone(mine, team)
        advantage = self.advantages(rewards, self._weights(), group)
        index = torch.tensor(list(here), dtype=torch.long, device=x0.device)
        metrics = self._metrics(rewards, group, advantage) | {"sample/rms": rms(x0, team)}
        samples = Samples(
            x0, cond, advantage.to(x0.device)[index], group.to(x0.device)[index], index
        )
        return Collected(samples, paths, metrics)

    def _generate(
        self, round: int, words: list[str], keys: list[Key], work: Work
    ) -> tuple[Tensor, Cond, Transitions | None]:
        """x0, conditions and, if wanted, transitions of this process's samples."""
        sampler, states, paths = self.sampler(round), [], []
        offset = self.geometry.share(work.team.rank, work.team.size).start
        cond = to_device(work.model.encode(words), work.team) if words else None
        for start in range(0, len(words), self.geometry.rollout_batch):
            piece = slice(start, start + self.geometry.rollout_batch)
            noise = normal_each((k / "start" for k in keys[piece]), work.model.shape)
            given = None if cond is None else cond[piece]
            x = noise.to(work.team.device)
            if work.keep_paths:
                trajectory = rollout(sampler, work.policy.old, x, keys[piece], given)
                states.append(trajectory.last)
                paths.append(trajectory.transitions(first=offset + start))
            else:
                states.append(draw(sampler, work.policy.old, x, keys[piece], given))
        empty = torch.zeros(0, *work.model.shape, device=work.team.device)
        return torch.cat([empty, *states]), cond, join(paths) if paths else None

    def _score(self, x0: Tensor, words: list[str], model: Model) -> list[list[float]]:
        """One list of rewards per sample, in the order of `self.rewards`."""
        if not words:
            return []
        media = model.decode(x0)
        each = [scored(name, reward, media, words) for name, reward in self.rewards.items()]
        return torch.stack([r.cpu() for r in each], 1).tolist()

    def _everyone(self, mine: list[list[float]], team: Team) -> tuple[Tensor, Tensor]:
        """Rewards [kinds, samples] and groups [samples] of the whole round."""
        rewards = torch.tensor(team.gather(mine), dtype=torch.float64).T.contiguous()
        return rewards, torch.arange(self.geometry.samples) // self.geometry.group

    def _weights(self) -> Tensor:
        weights = [self.weights.get(name, 1.0) for name in self.rewards]
        return torch.tensor(weights, dtype=torch.float64)

    def _metrics(self, rewards: Tensor, group: Tensor, advantage: Tensor) -> dict[str, float]:
        total = self._weights() @ rewards
        metrics = {
            "reward/mean": total.mean(),
            "reward/std": total.std(correction=0),
            "reward/std_in_group": group_std(total, group).mean(),
            "groups/zero_variance": zero_variance(total, group),
            "advantage/max": advantage.abs().max(),
        }
        if len(self.rewards) > 1:
            metrics |= {f"reward/{n}": r.mean() for n, r in zip(self.rewards, rewards, strict=True)}
        return {name: float(value) for name, value in metrics.items()}


@dataclass(frozen=True)
class Offline(Source):
    """Data with captions, in a new random order each epoch; a share of captions is dropped."""

    data: Tensor
    prompts: Sequence[str]
    geometry: Geometry = Geometry(prompts=64, group=1)
    dropout: float = 0.1  # share of captions replaced by the null condition, as in [cfg] Sec. 5

    def __post_init__(self) -> None:
        if len(self.data) != len(self.prompts) or not self.prompts:
            raise ValueError(
                f"got {len(self.data)} samples and {len(self.prompts)} prompts; expected one each"
            )

    def sampler(self, round: int) -> Sampler:
        return Sampler((1.0,), ())

    def collect(self, round: int, key: Key, work: Work) -> Collected:
        count, total = self.geometry.samples, len(self.prompts)
        here = self.geometry.share(work.team.rank, work.team.size)
        places = [round * count + i for i in here]
        order = {e: (key / "data" / e).permutation(total) for e in {p // total for p in places}}
        rows = [int(order[p // total][p % total]) for p in places]
        cond = work.model.encode([self.prompts[i] for i in rows])
        drop = (key / "dropout" / round).uniform(count)[list(here)] < self.dropout
        cond = to_device(_dropped(cond, drop, work.model), work.team)
        x0 = self.data[rows].to(work.team.device)
        index = torch.tensor(list(here), dtype=torch.long, device=x0.device)
        zero = torch.zeros(len(x0), dtype=torch.float64, device=x0.device)
        return Collected(Samples(x0, cond, zero, index * 0, index), None, {})


def _dropped(cond: Cond, drop: Tensor, model: Model) -> Cond:
    """The null condition where `drop` is true."""
    if cond is None:
        return None
    both: Tensor | Rows = join([cond, model.null(cond)])  # pyright: ignore
    return both[torch.arange(len(drop)) + len(drop) * drop.long()]


def rms(x0: Tensor, team: Team) -> float:
    """Root mean square over all samples of all processes."""
    squares = team.gather(x0.flatten(1).square().mean(1).tolist())
    return (sum(squares) / len(squares)) ** 0.5


def to_device(cond: Cond, team: Team) -> Cond:
    """A condition on the device of this process."""
    return None if cond is None else cond.to(team.device)
