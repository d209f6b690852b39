"""Pairs of pictures as preference methods see them: which is better, when, in what noise, how well.

A source hands over `Preferred` samples, winner and loser side by side; an online source hands over
groups, of which the best and the worst are a pair. Either way a row of training is a whole pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scoreward.core.denoiser import Cond, Denoiser
from scoreward.core.keys import Key
from scoreward.core.likelihood import noised
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.prediction import linear_form, per_sample
from scoreward.core.process import DiscreteVP, Process, RectifiedFlow
from scoreward.core.rows import Rows, join
from scoreward.losses.diffusion import Errors, mean_error
from scoreward.losses.diffusion_tensors import Predictions
from scoreward.objectives.base import Samples


@dataclass(frozen=True)
class Preferred(Samples):
    """Winners and losers, `advantage` +1 and −1; a pair is a group of two, the winner first.

    `gap` is the winner's score minus the loser's, the same on both; `noise` is what each picture
    was generated from. What the data does not know is None.
    """

    gap: Float[Tensor, " batch"] | None
    noise: Float[Tensor, "batch *shape"] | None


@dataclass(frozen=True)
class TimeLaw:
    """How the time of a pair is drawn."""

    law: Literal["model", "steps", "uniform", "logit_normal"] = "model"  # model: see `draw`
    mean: float = 0.0  # of logit t, for logit_normal
    std: float = 1.0  # of logit t, for logit_normal
    shift: float = 1.0  # t → s t / (1 + (s − 1) t), as the grids of large flow models

    def __post_init__(self) -> None:
        if not (self.std > 0 and self.shift > 0):
            raise ValueError(
                f"`std` and `shift` of times must be above 0, got {self.std} and {self.shift}"
            )

    def draw(self, key: Key, process: Process) -> float:
        """One time in (0, 1].

        The law "model" is logit_normal for rectified flow and steps for all else: one of the
        schedule's own steps, each as likely as another. "uniform" is continuous.
        """
        law = self.law
        if law == "model":
            law = "logit_normal" if isinstance(process, RectifiedFlow) else "steps"
        if law == "logit_normal":
            t = float((key.normal(1, dtype=torch.float64) * self.std + self.mean).sigmoid())
        elif law == "steps":
            count = process.steps if isinstance(process, DiscreteVP) else 1000
            t = (int(key.integers(count, 1)) + 1) / count
        else:
            t = 1 - float(key.uniform(1, dtype=torch.float64))
        return self.shift * t / (1 + (self.shift - 1) * t)


@dataclass(frozen=True)
class Chosen:
    """One picture of each pair, before its noise, with what that may depend on."""

    samples: Samples
    at: Int[Tensor, " pairs"]  # where the picture is among the samples
    t: Float[Tensor, " pairs"]
    cond: Cond
    keys: Sequence[Key]  # of the pairs

    @property
    def x0(self) -> Float[Tensor, "pairs *shape"]:
        """The pictures themselves."""
        return self.samples.x0[self.at]


@dataclass(frozen=True)
class Side(Rows):
    """One picture of each pair, noisy, with what the reference makes of it (None: not asked)."""

    x0: Float[Tensor, "pairs *shape"]
    eps: Float[Tensor, "pairs *shape"]
    x_t: Float[Tensor, "pairs *shape"]
    error: Float[Tensor, " pairs"] | None
    answer: Float[Tensor, "pairs *shape"] | None

    def target(self, policy: DiffusionPolicy, t: Tensor) -> Float[Tensor, "pairs *shape"]:
        """What a network that knew x0 would answer, in the network's own kind."""
        a, b = linear_form(policy.kind, policy.process, per_sample(t, self.x0))
        return a * self.x0 + b * self.eps


def side(x0: Tensor, eps: Tensor, t: Tensor, policy: DiffusionPolicy) -> Side:
    """Pictures in noise, before the reference is asked."""
    return Side(x0, eps, noised(policy.process, x0, t[:, None], eps[:, None])[:, 0], None, None)


def referred(
    sides: Sequence[Side], t: Tensor, cond: Cond, policy: DiffusionPolicy, keeps: bool = False
) -> list[Side]:
    """The same with the reference's errors and, where wanted, its answers.

    All sides in one call, as the network that learns is asked: equal networks then give equal
    numbers to the last bit.
    """
    if not len(t):
        return list(sides)
    count = len(sides)
    x_t = torch.cat([one.x_t for one in sides])
    answers = policy.reference(x_t, t.repeat(count), join([cond] * count)).as_(policy.kind)
    return [
        replace(
            one,
            error=mean_error(answer, one.target(policy, t)),
            answer=answer if keeps else None,
        )
        for one, answer in zip(sides, answers.split(len(t)), strict=True)
    ]


@dataclass(frozen=True)
class PreferenceRows(Rows):
    """One row a pair.  `beta` is what the method made of β for this pair."""

    winner: Side
    loser: Side
    cond: Cond
    t: Float[Tensor, " pairs"]
    gap: Float[Tensor, " pairs"] | None
    beta: Float[Tensor, " pairs"]
    centre: Float[Tensor, " pairs"]
    sample: Int[Tensor, " pairs"]


@dataclass(frozen=True)
class Compared:
    """A batch of pairs under the network that learns and under the reference."""

    rows: PreferenceRows
    winner: Float[Tensor, "pairs *shape"]
    loser: Float[Tensor, "pairs *shape"]
    targets: tuple[Tensor, Tensor]

    @property
    def each(self) -> tuple[Float[Tensor, " pairs"], Float[Tensor, " pairs"]]:
        """ℓ of the winner and of the loser."""
        return mean_error(self.winner, self.targets[0]), mean_error(self.loser, self.targets[1])

    @property
    def errors(self) -> Errors:
        """The four ℓ."""
        first, second = self.rows.winner.error, self.rows.loser.error
        if first is None or second is None:
            raise ValueError("the errors of the reference were not asked for in `prepare`")
        return Errors(*self.each, first, second)

    @property
    def predictions(self) -> Predictions:
        """Whole answers of both networks."""
        first, second = self.rows.winner.answer, self.rows.loser.answer
        if first is None or second is None:
            raise ValueError("the answers of the reference were not kept in `prepare`")
        return Predictions(self.winner, self.loser, first, second, *self.targets)


def compared(rows: PreferenceRows, network: Denoiser, policy: DiffusionPolicy) -> Compared:
    """Both pictures of every pair through one network, in one call."""
    both = torch.cat([rows.winner.x_t, rows.loser.x_t]), torch.cat([rows.t, rows.t])
    answers = network(*both, join([rows.cond, rows.cond])).as_(policy.kind)
    winner, loser = answers.chunk(2)
    targets = rows.winner.target(policy, rows.t), rows.loser.target(policy, rows.t)
    return Compared(rows, winner, loser, targets)


def extremes(samples: Samples) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Where the best and the worst of every group are; groups without a difference are left out."""
    best, worst = [], []
    for group in samples.group.unique().tolist():
        mine = (samples.group == group).nonzero()[:, 0]
        advantage = samples.advantage[mine]
        if advantage.max() > advantage.min():
            best.append(mine[advantage.argmax()])
            worst.append(mine[advantage.argmin()])
    empty = samples.sample.new_zeros(0)
    return (torch.stack(best), torch.stack(worst)) if best else (empty, empty)


def gap_of(rows: PreferenceRows) -> Float[Tensor, " pairs"]:
    """The winner's score minus the loser's, or a sentence if the data has no scores."""
    if rows.gap is None:
        raise ValueError(
            "this method weighs pairs by the gap of their scores, and these pairs have none; "
            "give them scores, or use Diffusion-DPO"
        )
    return rows.gap
