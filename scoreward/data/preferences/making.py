"""Pairs from groups of scored candidates.

A rule looks at the rewards of one group and says which candidates are winner and loser. Equal
rewards are a tie and never a pair. What is random depends on the seed, the prompt and the place
of the group among the groups.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations
from math import exp
from random import Random
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from scoreward.data.preferences.records import (
    ImageGroup,
    ImagePair,
    PreferenceError,
    TextGroup,
    TextPair,
)
from scoreward.data.preferences.sorting import key_of
from scoreward.losses.rejection import accept, extremes

G = TypeVar("G", ImageGroup, TextGroup)


@runtime_checkable
class Rule(Protocol):
    """Which candidates of a group are (winner, loser), by index; rewards of a pair differ."""

    def __call__(self, rewards: Sequence[float], random: Random) -> list[tuple[int, int]]: ...


@dataclass(frozen=True)
class BestWorst:
    """The best against the worst."""

    def __call__(self, rewards: Sequence[float], random: Random) -> list[tuple[int, int]]:
        return _extremes(rewards, range(len(rewards)))


@dataclass(frozen=True)
class RewardGap:
    """Every pair whose rewards are further apart than `above`."""

    above: float = 0.0  # in units of the reward

    def __post_init__(self) -> None:
        if not self.above >= 0:
            raise PreferenceError(f"`above` must be at least 0, got {self.above}")

    def __call__(self, rewards: Sequence[float], random: Random) -> list[tuple[int, int]]:
        pairs = permutations(range(len(rewards)), 2)
        return [(i, j) for i, j in pairs if rewards[i] - rewards[j] > self.above]


@dataclass(frozen=True)
class Rejection:
    """Candidates accepted by statistical rejection sampling, then paired.  [rso] (sampling)"""

    temperature: float = 0.5  # of the reward; low accepts the best only; ours
    count: int = 8  # accepted at most, of each group; second-hand
    best_worst: bool = False  # of those accepted, the best against the worst; else random pairs

    def __post_init__(self) -> None:
        if not self.temperature > 0 or self.count < 2:
            raise PreferenceError(
                f"`temperature` must be above 0 and `count` at least 2, got {self.temperature} "
                f"and {self.count}"
            )

    def __call__(self, rewards: Sequence[float], random: Random) -> list[tuple[int, int]]:
        accepted = accept(rewards, self.temperature, self.count, random.random)
        if self.best_worst:
            return _extremes(rewards, accepted)
        random.shuffle(accepted)
        pairs = zip(accepted[::2], accepted[1::2])
        ordered = [(i, j) if rewards[i] > rewards[j] else (j, i) for i, j in pairs]
        return [(i, j) for i, j in ordered if rewards[i] > rewards[j]]


def _extremes(rewards: Sequence[float], among: Sequence[int]) -> list[tuple[int, int]]:
    values = [rewards[i] for i in among]
    return [extremes(rewards, among)] if values and max(values) > min(values) else []


def win_rates(rewards: Sequence[float]) -> list[float]:
    """How often each candidate is expected to win: the mean of σ(r_i − r_j) over the others j.

    Each is within (0, 1) whatever the unit of the reward, so several rewards can be averaged.
    [capo] (calibrated reward)
    """

    def logistic(x: float) -> float:
        return 1 / (1 + exp(-x)) if x >= 0 else 1 - 1 / (1 + exp(x))

    others = len(rewards) - 1
    if others < 1:
        raise PreferenceError("a win rate needs at least two candidates")
    return [
        sum(logistic(mine - theirs) for j, theirs in enumerate(rewards) if j != i) / others
        for i, mine in enumerate(rewards)
    ]


@dataclass
class Tally:
    """What became of the groups."""

    groups: int = 0
    barren: int = 0  # groups that gave no pair: all equal, or no gap wide enough
    pairs: int = 0
    over: int = 0  # pairs left out because their prompt has enough


@dataclass(frozen=True)
class PairMaker(Generic[G]):
    """Pairs of groups, made while they are asked for; `tally` is of the last pass."""

    groups: Iterable[G]
    rule: Rule
    reward: str | None = None  # of groups of pictures; None: the only one, or all as win rates
    calibrated: bool = False  # rewards become win rates before the rule sees them
    most: int | None = None  # pairs of one prompt, chosen at random among its group's
    seed: int = 0
    tally: Tally = field(default_factory=Tally, compare=False)

    def __post_init__(self) -> None:
        if self.most is not None and self.most < 1:
            raise PreferenceError(f"`most` must be at least 1, got {self.most}")

    def __iter__(self) -> Iterator[Any]:
        tally = self.tally
        vars(tally).update(vars(Tally()))
        made: Counter[str] = Counter()
        for number, group in enumerate(self.groups):
            rewards, prompt = self._rewards(group), key_of(group.prompt)
            random = Random(repr((self.seed, number, prompt)))
            found = kept = self.rule(rewards, random)
            left = len(found) if self.most is None else max(0, self.most - made[prompt])
            if len(found) > left:
                kept = [found[i] for i in sorted(random.sample(range(len(found)), left))]
            made[prompt] += len(kept)
            tally.groups += 1
            tally.barren += not found
            tally.pairs += len(kept)
            tally.over += len(found) - len(kept)
            names = self.reward or " and ".join(_scores(group))
            source = f"win rate by {names}" if self.calibrated else names
            yield from (_pair(group, rewards, best, worst, source) for best, worst in kept)

    def _rewards(self, group: ImageGroup | TextGroup) -> list[float]:
        scores = _scores(group)
        named = scores if self.reward is None else {self.reward: scores.get(self.reward, ())}
        if not all(named.values()) or not named:
            raise PreferenceError(
                f"a group has no reward {self.reward!r}; it has {', '.join(scores) or 'none'}"
            )
        if len(named) == 1 and not self.calibrated:
            return list(next(iter(named.values())))
        if not self.calibrated:
            raise PreferenceError(
                f"groups have the rewards {', '.join(named)}; choose one with --reward, or "
                f"--calibrated to average the win rates of all"
            )
        rates = [win_rates(values) for values in named.values()]
        return [sum(column) / len(rates) for column in zip(*rates)]


def _scores(group: ImageGroup | TextGroup) -> Mapping[str, Sequence[float]]:
    return group.scores if isinstance(group, ImageGroup) else {"reward": group.rewards}


def _pair(
    group: ImageGroup | TextGroup, rewards: Sequence[float], w: int, lost: int, source: str
) -> ImagePair | TextPair:
    known = f"{group.id}:{w}>{lost}" if group.id else ""
    if isinstance(group, ImageGroup):
        both = group.images[w], group.images[lost]
        return ImagePair(group.prompt, *both, rewards[w], rewards[lost], known, source)
    texts = group.completions[w], group.completions[lost]
    return TextPair(group.prompt, *texts, rewards[w], rewards[lost], known, source)
