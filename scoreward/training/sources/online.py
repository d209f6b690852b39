"""Where rounds of data come from: generated and scored, or read.

A source is asked for a round and answers with this process's share of it. What it generates depends
on (seed, round, prompt, sample) alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic

import torch
from torch import Tensor

from scoreward.core.advantage import Advantages, correlation, group_mean, group_std, zero_variance
from scoreward.core.chain import Sampler, Tree, draw
from scoreward.core.denoiser import Cond
from scoreward.core.device import placed, widest
from scoreward.core.keys import Key, normal_each, shuffled
from scoreward.core.policy import DiffusionPolicy, Rollout, Score
from scoreward.core.rows import Looked, moved
from scoreward.models.base import Model
from scoreward.objectives.base import Given_co, Needs, PolicyT, Samples
from scoreward.rewards.base import Reward, answers, differentiated, unjudged
from scoreward.training.geometry import Geometry
from scoreward.training.sources.drawing import Drawer
from scoreward.training.team import Team
from scoreward.training.work import Collected, Generated, PictureWork, Work, pictured

HISTORY = "rewards/history"  # in memory: the last rewards of each prompt, by its number


class Source(ABC, Generic[PolicyT, Given_co]):
    """An endless sequence of rounds, addressed by number.

    One that draws, or reads, in a way of its own writes `collect`, and `sampler` if it draws:

    >>> import scoreward as sw
    >>> sorted(sw.Source.__abstractmethods__)
    ['collect']
    >>> isinstance(sw.recipe("vgrpo", on="toy").run().source, sw.Source)
    True
    """

    geometry: Geometry

    def sampler(self, round: int) -> Sampler:
        """The sampler of this round, whose grid stratified times are taken from; by default none
        that makes a step."""
        return Sampler((1.0,), ())

    @property
    def compares(self) -> bool:
        """Whether a reward compares the samples of a prompt, and so has to see all of them."""
        return False

    def micro(self, needs: Needs) -> int:
        """Samples trained at once: as many as memory allows, in whole groups where rows, or rewards
        that are differentiated, need the others."""
        compared = needs.data == "starts" and self.compares
        unit = self.geometry.unit(needs.together == "updated" or compared)
        return max(unit, self.geometry.micro_batch // unit * unit)

    @abstractmethod
    def collect(self, round: int, key: Key, work: Work[PolicyT]) -> Collected[Given_co]:
        """This process's share of the round."""


@dataclass(frozen=True)
class Online(Source[DiffusionPolicy, Samples]):
    """Prompts → samples of the old policy → rewards → advantages.

    `own_start` is the share of variance of the starting noise that is a sample's own; the rest is
    its group's. `tree` makes every group a tree of shared steps.

    >>> import scoreward as sw
    >>> sampler, sizes = sw.Sampling(steps=10).sampler(), sw.Geometry(prompts=2, group=4)
    >>> rewards = {"contrast": sw.reward("contrast")}
    >>> source = sw.Online(["a cat", "a dog"], rewards, sampler, sizes)
    >>> source.geometry.samples, source.sampler(0).steps
    (8, 10)
    """

    prompts: Sequence[str]
    rewards: Mapping[str, Reward]
    rollout: Sampler | Callable[[int], Sampler]
    geometry: Geometry = Geometry()
    advantages: Advantages = Advantages()
    weights: Mapping[str, float] = field(default_factory=dict)  # missing names weigh 1
    own_start: float = 1.0  # 0: all samples of a prompt start from the same noise
    tree: Tree | None = None

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
        if said := unjudged(self.rewards, self.prompts):
            raise ValueError(said)
        if not 0 <= self.own_start <= 1:
            raise ValueError(f"`own_start` is a share of variance in [0, 1], got {self.own_start}")
        if self.tree is not None and self.geometry.group != self.tree.leaves:
            raise ValueError(
                f"a tree with {len(self.tree.splits)} splits has {self.tree.leaves} leaves, so "
                f"`geometry.group` must be {self.tree.leaves}, got {self.geometry.group}"
            )

    def sampler(self, round: int) -> Sampler:
        return self.rollout if isinstance(self.rollout, Sampler) else self.rollout(round)

    @property
    def compares(self) -> bool:
        return any(getattr(reward, "of_groups", False) for reward in self.rewards.values())

    def chosen(self, round: int, key: Key) -> list[str]:
        """The prompts of a round: without replacement until all have been used."""
        return [self.prompts[i] for i in self.numbers(round, key)]

    def numbers(self, round: int, key: Key) -> list[int]:
        """The same by their number in `prompts`."""
        count = self.geometry.prompts
        places = range(round * count, (round + 1) * count)
        return shuffled(key / "prompts", places, len(self.prompts))

    def collect(self, round: int, key: Key, work: PictureWork) -> Collected[Samples]:
        model, team, size = pictured(work), work.team, self.geometry.group
        chosen = self.numbers(round, key)
        unit = self.geometry.unit(work.needs.whole_groups or self.compares)
        here = self.geometry.share(team.rank, team.size, unit)
        words = [self.prompts[chosen[i // size]] for i in here]
        made = self._generate(round, here, words, key / "round" / round, work)
        index = torch.tensor(list(here), dtype=torch.long, device=made.x0.device)
        if work.needs.data == "starts":
            zero = torch.zeros(len(here), dtype=widest(index.device), device=index.device)
            samples = Samples(made.x0, made.cond, zero, index // size, index, zero)
            return Collected(samples, {}, Rollout(score=self._scorer(words, here.start, work)))
        with work.clock.section("reward"):
            mine = team.all_or_none(lambda: self._score(here, made.x0, words, model))
        # of the whole round: rewards [kinds, samples] and groups [samples]
        rewards = torch.tensor(team.gather(mine), dtype=torch.float64).T.contiguous()
        group = self.compared(torch.arange(self.geometry.samples))
        advantage = self._advantage(rewards, group, chosen, work.policy.memory)
        metrics = self._metrics(rewards, group, advantage) | {"sample/rms": rms(made.x0, team)}
        every = (advantage, group, self._weights() @ rewards)
        local = [placed(v, index.device)[index] for v in every]
        samples = Samples(made.x0, made.cond, local[0], local[1], index, local[2])
        flat = group_mean(advantage.abs(), group) == 0
        rollout = replace(made.rollout, score=self._asked(words, here, work), flat=flat)
        return Collected(samples, metrics, rollout)

    def _generate(
        self, round: int, here: range, words: list[str], key: Key, work: PictureWork
    ) -> Generated:
        """x0, conditions and, if wanted, transitions of this process's samples."""
        sampler, model, cond = self.sampler(round), pictured(work), None
        start = sampler.start(model.process)
        if words:
            cond = self._conditions(here, words, work)
        drawer = Drawer(sampler, work, self.geometry, self.tree, len(words))
        for first in range(0, len(words), drawer.size):
            numbers = here[first : first + drawer.size]
            x = start * self._starts(numbers, key, model.shape).to(work.team.device)
            given = None if cond is None else cond[first : first + len(numbers)]
            keys = [self._address(key, i) for i in numbers]
            drawer.add(x, keys, given, numbers.start)
        return drawer.made(cond, (0, *model.shape))

    def _conditions(self, here: range, words: list[str], work: PictureWork) -> Cond:
        """One row a prompt, looked up by its samples."""
        groups = [i // self.geometry.group for i in here]
        first: dict[int, int] = {}
        for n, group in enumerate(groups):
            first.setdefault(group, n)
        table = to_device(pictured(work).encode([words[n] for n in first.values()]), work.team)
        if table is None:
            return None
        place = {g: row for row, g in enumerate(first)}
        rows = torch.tensor([place[g] for g in groups], device=work.team.device)
        return Looked(table, rows)

    def _address(self, key: Key, sample: int) -> Key:
        size = self.geometry.group
        return key / "prompt" / (sample // size) / "sample" / (sample % size)

    def redrawn(self, round: int, samples: Samples, key: Key, work: PictureWork) -> Tensor:
        """x0 of a round's samples, drawn again by the network that is trained."""
        here, numbers = key / "round" / round, samples.sample.tolist()
        model = pictured(work)
        x = self._starts(numbers, here, model.shape).to(samples.x0)
        x = self.sampler(round).start(model.process) * x
        keys = [self._address(here, i) for i in numbers]
        return draw(self.sampler(round), work.policy.current, x, keys, samples.cond)

    def _starts(self, numbers: Sequence[int], key: Key, shape: tuple[int, ...]) -> Tensor:
        """Starting noise: the sample's own, its group's, or a mixture of the two."""
        own = normal_each((self._address(key, i) / "start" for i in numbers), shape)
        if self.own_start == 1 and self.tree is None:
            return own
        groups = (key / "prompt" / (i // self.geometry.group) / "start" for i in numbers)
        share = 0.0 if self.tree is not None else self.own_start
        return (1 - share) ** 0.5 * normal_each(groups, shape) + share**0.5 * own

    def _advantage(
        self, rewards: Tensor, group: Tensor, chosen: list[int], memory: dict[str, Tensor]
    ) -> Tensor:
        if self.advantages.scale != "prompt":
            return self.advantages(rewards, self._weights(), group)
        size = self.advantages.history
        empty = torch.full((len(self.prompts), size), torch.nan, dtype=rewards.dtype)
        history = memory.setdefault(HISTORY, empty)
        prompt = torch.tensor(chosen).repeat_interleave(self.geometry.group)
        return self.advantages(rewards, self._weights(), group, prompt, history)

    def _scorer(self, words: list[str], first: int, work: PictureWork) -> Score:
        """The weighted reward of finished samples, differentiable."""

        model = pictured(work)

        def score(x0: Tensor, sample: Tensor) -> Tensor:
            prompts = [words[i - first] for i in sample.tolist()]
            media = model.decode(x0)
            with work.clock.section("reward"):
                each = [differentiated(n, r, media, prompts) for n, r in self.rewards.items()]
            return self._weights().to(x0) @ torch.stack(each)

        return score

    def _asked(self, words: list[str], here: range, work: PictureWork) -> Score | None:
        """The weighted reward of any x0, as the objective asks for it."""
        if work.needs.reward == "slopes":
            return self._scorer(words, here.start, work)
        if work.needs.reward == "nothing":
            return None
        model = pictured(work)

        def score(x0: Tensor, sample: Tensor) -> Tensor:
            numbers = sample.tolist()
            said = [words[i - here.start] for i in numbers]
            with torch.no_grad(), work.clock.section("reward"):
                rows = work.team.all_or_none(lambda: self._score(numbers, x0, said, model))
            each = torch.tensor(rows, dtype=torch.float64).reshape(-1, len(self.rewards))
            return (each @ self._weights()).to(x0)

        return score

    def _score(
        self, here: Sequence[int], x0: Tensor, words: list[str], model: Model
    ) -> list[list[float]]:
        """One list of rewards per sample, in the order of `self.rewards`.

        Media are made and scored in pieces of whole groups, as many as `rollout_batch` allows: a
        reward may compare the samples of a prompt, and all pictures at once may not fit.
        """
        size = self.geometry.group * max(1, self.geometry.rollout_batch // self.geometry.group)
        rows: list[list[float]] = []
        while len(rows) < len(here):
            first = len(rows)
            piece = slice(first, first + size - here[first] % size)
            rows += self._scored(model.decode(x0[piece]), words[piece])
        return rows

    def _scored(self, media: Tensor, words: list[str]) -> list[list[float]]:
        """The same of media; a function of its own, so that they are gone before the next."""
        each = answers(self.rewards, media, words)
        return torch.stack([each[name].cpu() for name in self.rewards], 1).tolist()

    def compared(self, sample: Tensor) -> Tensor:
        """One number for the samples whose rewards are compared: those of a prompt."""
        return sample // self.geometry.group

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
            "advantage/agreement": correlation(advantage, total, group),
        }
        if len(self.rewards) > 1:
            metrics |= {f"reward/{n}": r.mean() for n, r in zip(self.rewards, rewards, strict=True)}
        return {name: float(value) for name, value in metrics.items()}


def rms(x0: Tensor, team: Team) -> float:
    """Root mean square over all samples of all processes."""
    squares = team.gather(x0.flatten(1).square().mean(1).tolist())
    return (sum(squares) / len(squares)) ** 0.5


def to_device(cond: Cond, team: Team) -> Cond:
    """A condition on the device of this process."""
    return None if cond is None else moved(cond, team.device)
