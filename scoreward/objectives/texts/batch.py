"""Losses whose pairs meet each other in a batch: AOT by rank, BCO by a running mean.

What they need of all pairs of a round, over all processes, is taken before its first update. With
one update per round this is exact; later updates of a round see it as it was.
"""

from abc import abstractmethod
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from scoreward.core.keys import Key
from scoreward.losses import separate
from scoreward.losses.language import PreferenceLoss
from scoreward.losses.pairs import Pairs, positive
from scoreward.models.texts.language import TextPolicy
from scoreward.objectives.base import Needs, Objective
from scoreward.objectives.texts.language import TextPairs, said_of, shown

SEEN, MEAN = "bco/seen", "bco/mean"


def of_round(
    value: Float[Tensor, " batch"], rows: TextPairs, policy: TextPolicy
) -> Float[Tensor, " all"]:
    """The values of all pairs of the round, over all processes, by their number."""
    last = policy.total(torch.zeros(1).to(value) + len(rows))
    whole = value.new_zeros(int(last))
    whole[rows.sample] = value
    return policy.total(whole)


@dataclass(frozen=True)
class Sorted(Objective[TextPairs, TextPairs, TextPolicy]):
    """Logistic on differences of sorted values; `AOT` or `UnpairedAOT`.

    Each value is compared with the partner that sorting gives it.
    """

    beta: float = 0.1  # inverse temperature, 1/nats
    paired: bool = field(init=False)  # which of the two it is, for run.json

    def __post_init__(self) -> None:
        positive(beta=self.beta)

    @property
    def needs(self) -> Needs:
        return Needs(everyone=True)

    def prepare(self, samples: TextPairs, policy: TextPolicy, key: Key) -> TextPairs:
        rows = samples
        pairs = said_of(policy.old, rows, 1.0)
        ours, theirs = (of_round(v, rows, policy) for v in self.compared(pairs))
        partner_w, partner_l = _partner(ours, theirs), _partner(theirs, ours)
        return replace(rows, partner_w=partner_w[rows.sample], partner_l=partner_l[rows.sample])

    def loss(self, rows: TextPairs, policy: TextPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        pairs = said_of(policy.current, rows, 1.0)
        metrics = shown(PreferenceLoss(beta=self.beta), pairs)
        if rows.partner_w is None or rows.partner_l is None:
            raise ValueError("these rows were not prepared by AOT")
        return self.each(pairs, rows.partner_w, rows.partner_l).mean(), metrics

    @abstractmethod
    def compared(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """The values that are sorted, and those whose ranks are their partners."""

    @abstractmethod
    def each(self, pairs: Pairs, partner_w: Tensor, partner_l: Tensor) -> Tensor:
        """One loss per pair."""


def _partner(mine: Float[Tensor, " all"], theirs: Float[Tensor, " all"]) -> Float[Tensor, " all"]:
    """For each of `mine` the one of `theirs` that has the same rank."""
    rank = mine.argsort(stable=True).argsort()
    return theirs.sort().values[rank]


@dataclass(frozen=True)
class AOT(Sorted):
    """Quantiles of the gaps of pairs, against the reference's.  [aot] (paired)"""

    paired: bool = field(default=True, init=False)

    def compared(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        (logp_w, logp_l), (ref_w, ref_l) = pairs.policy(), pairs.reference()
        return logp_w - logp_l, ref_w - ref_l

    def each(self, pairs: Pairs, partner_w: Tensor, partner_l: Tensor) -> Tensor:
        logp_w, logp_l = pairs.policy()
        return -logsigmoid(self.beta * (logp_w - logp_l - partner_w))


@dataclass(frozen=True)
class UnpairedAOT(Sorted):
    """Quantiles of winners against those of losers.  [aot] (unpaired)

    Both sides are trained: each row carries the gradients of its own two values, and half of the
    two losses.
    """

    paired: bool = field(default=False, init=False)

    def compared(self, pairs: Pairs) -> tuple[Tensor, Tensor]:
        return pairs.log_ratios()

    def each(self, pairs: Pairs, partner_w: Tensor, partner_l: Tensor) -> Tensor:
        a, b = pairs.log_ratios()
        twice = -logsigmoid(self.beta * (a - partner_w)) - logsigmoid(self.beta * (partner_l - b))
        return twice - twice.detach() / 2


@dataclass(frozen=True)
class BCO(Objective[TextPairs, TextPairs, TextPolicy]):
    """−log σ(βa − δ) − log σ(δ − βb), δ the mean of all rewards so far.  [bco] (pair)

    Without `running` δ is 0, as a widely used library has it.
    """

    beta: float = 0.1  # inverse temperature, 1/nats
    running: bool = True  # whether δ follows the rewards

    def __post_init__(self) -> None:
        positive(beta=self.beta)

    @property
    def needs(self) -> Needs:
        return Needs(everyone=True)

    def prepare(self, samples: TextPairs, policy: TextPolicy, key: Key) -> TextPairs:
        rows = samples
        if self.running:
            a, b = said_of(policy.old, rows, 1.0).log_ratios()
            total = (a + b).sum() * self.beta / 2
            sums = torch.stack([total, total.new_tensor(float(len(rows)))])
            reward, count = policy.total(sums).cpu().double()
            seen = policy.memory.get(SEEN, torch.zeros((), dtype=torch.float64))
            mean = policy.memory.get(MEAN, torch.zeros((), dtype=torch.float64))
            policy.memory[SEEN] = seen + count
            policy.memory[MEAN] = mean + (reward - count * mean) / (seen + count)
        return rows

    def loss(self, rows: TextPairs, policy: TextPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        pairs = said_of(policy.current, rows, 1.0)
        shift = float(policy.memory[MEAN]) if self.running else 0.0
        metrics = shown(PreferenceLoss(beta=self.beta), pairs) | {"shift/mean": torch.tensor(shift)}
        return separate.bco(pairs, self.beta, shift).mean(), metrics
