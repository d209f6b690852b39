"""Win rates of one model's answers over another's, with intervals, and what length does to them.

An outcome is 1 for a win, ½ for a tie and 0 for a loss, one number for each prompt. Prompts are the
replicates: several answers to one prompt are averaged before anything is resampled. Judges that
look at two answers at a time may favour a place, so they are asked in both orders; and answers may
win because they are long, so a rate at equal lengths stands beside the plain one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from jaxtyping import Float

RESAMPLES = 4000  # of every bootstrap interval; ours, as in the reports
NORMAL = 1.959963984540054  # 97.5 % point of the standard normal law
RIDGE = 1e-3  # keeps the regression finite when lengths separate wins from losses; ours
ITERATIONS = 100  # of Newton's method; it needs about 6

Outcomes = Float[np.ndarray, "prompts"]
Judge = Callable[[str, str, str], float]  # (prompt, first, second) → 1 first, 0 second, ½ tie


@dataclass(frozen=True)
class Rate:
    """A share with its 95 % interval, and the number of prompts it stands on."""

    value: float
    low: float
    high: float
    count: int

    @property
    def differs_from_half(self) -> bool:
        """Whether the interval leaves out ½."""
        return self.low > 0.5 or self.high < 0.5


def outcomes(mine: Sequence[float], other: Sequence[float]) -> Outcomes:
    """1 where my score is higher, ½ where they are equal, 0 where it is lower."""
    first, second = _paired(mine, other)
    return np.where(first > second, 1.0, np.where(first == second, 0.5, 0.0))


def _paired(mine: Sequence[float], other: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    if len(mine) != len(other) or not len(mine):
        raise ValueError(
            f"expected as many values as there are prompts on both sides and at least one, "
            f"got {len(mine)} and {len(other)}"
        )
    first, second = np.asarray(mine, dtype=float), np.asarray(other, dtype=float)
    if np.isnan(first).any() or np.isnan(second).any():
        raise ValueError("a value is not a number; leave that prompt out on both sides")
    return first, second


def wilson(wins: float, count: int, z: float = NORMAL) -> Rate:
    """Wilson's score interval of `wins` out of `count`; a tie is half a win.

    Its ends are the p with |wins/n − p| = z √(p(1−p)/n). With ties it is too wide, never too
    narrow: a tie has less variance than a coin.
    """
    if count < 1 or not 0 <= wins <= count:
        raise ValueError(f"expected 0 ≤ wins ≤ count and count ≥ 1, got {wins} of {count}")
    share, square = wins / count, z**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    reach = z * sqrt(share * (1 - share) / count + square / (4 * count**2))
    reach /= 1 + square / count
    return Rate(share, max(0.0, middle - reach), min(1.0, middle + reach), count)


def win_rate(outcome: Outcomes) -> Rate:
    """The mean outcome with Wilson's interval."""
    return wilson(float(outcome.sum()), len(outcome))


def bootstrap(
    statistic: Callable[[np.ndarray], float],
    prompts: int,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Rate:
    """A statistic of the prompts' indices with its percentile interval over resampled prompts."""
    if prompts < 2:
        raise ValueError(f"resampling needs at least two prompts, got {prompts}")
    generator = np.random.default_rng(seed)
    drawn = [statistic(generator.integers(0, prompts, prompts)) for _ in range(resamples)]
    low, high = np.percentile(drawn, (2.5, 97.5))
    return Rate(float(statistic(np.arange(prompts))), float(low), float(high), prompts)


def mean_rate(values: Float[np.ndarray, "prompts *answers"]) -> Rate:
    """Mean of one number (or several, averaged first) a prompt, prompts resampled."""
    each = values.reshape(len(values), -1).mean(1)
    return bootstrap(lambda i: float(each[i].mean()), len(each))


def difference(mine: Outcomes, other: Outcomes) -> Rate:
    """Mean difference of two models on the same prompts; both keep the prompts of a resample."""
    first, second = _paired(mine.tolist(), other.tolist())
    return mean_rate(first - second)


@dataclass(frozen=True)
class BothOrders:
    """A judge asked twice about every pair, each answer once in first place."""

    averaged: Outcomes  # of mine, mean of the two verdicts
    agreed: Float[np.ndarray, "agreed"]  # the verdicts that did not change with the order
    bias: float  # mean verdict for first place − ½; positive favours what comes first

    @property
    def consistency(self) -> float:
        """Share of the pairs whose verdict did not change."""
        return len(self.agreed) / len(self.averaged)


def both_orders(
    judge: Judge, prompts: Sequence[str], mine: Sequence[str], other: Sequence[str]
) -> BothOrders:
    """Verdicts in both orders, so that a preference for a place cancels."""
    if not len(prompts) == len(mine) == len(other) or not len(prompts):
        raise ValueError(
            f"expected two answers for each prompt, got {len(prompts)} prompts, "
            f"{len(mine)} and {len(other)} answers"
        )
    triples = list(zip(prompts, mine, other, strict=True))
    first = np.array([judge(p, a, b) for p, a, b in triples], dtype=float)
    second = np.array([judge(p, b, a) for p, a, b in triples], dtype=float)
    if not np.isin([*first, *second], (0.0, 0.5, 1.0)).all():
        raise ValueError("a judge answers 1 (first), 0 (second) or 0.5 (tie)")
    averaged = (first + 1 - second) / 2
    bias = float((first + second).mean() / 2 - 0.5)
    return BothOrders(averaged, first[first == 1 - second], bias)


@dataclass(frozen=True)
class LengthLogistic:
    """P(win) = σ(intercept + slope · (difference of lengths) / scale)."""

    intercept: float
    slope: float
    scale: float

    @property
    def at_equal_length(self) -> float:
        """The win rate predicted where both answers are equally long."""
        return float(1 / (1 + np.exp(-self.intercept)))


def length_logistic(
    outcome: Outcomes, lengths: Sequence[float], other: Sequence[float]
) -> LengthLogistic:
    """Logistic regression of the outcome on the length difference, with a small ridge.

    The difference is divided by its root mean square but not centred, so the intercept belongs
    to equal lengths. Ties enter as half a win and half a loss.
    """
    mine, theirs = _paired(lengths, other)
    if len(mine) != len(outcome):
        raise ValueError(f"expected a length per outcome, got {len(mine)} for {len(outcome)}")
    gap = mine - theirs
    scale = float(np.sqrt((gap**2).mean())) or 1.0
    design = np.stack([np.ones_like(gap), gap / scale], 1)
    weights = np.zeros(2)
    ridge = RIDGE * np.eye(2)
    for _ in range(ITERATIONS):
        p = 1 / (1 + np.exp(-(design @ weights).clip(-500, 500)))
        slope = design.T @ (outcome - p) - ridge @ weights
        curvature = (design * (p * (1 - p))[:, None]).T @ design + ridge
        step = np.linalg.solve(curvature, slope)
        weights = weights + step * min(1.0, 5 / (np.abs(step).max() + 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    return LengthLogistic(float(weights[0]), float(weights[1]), scale)


def length_controlled(
    outcome: Outcomes,
    lengths: Sequence[float],
    other: Sequence[float],
    resamples: int = 1000,
) -> Rate:
    """Win rate at equal lengths, prompts resampled.

    Our simple form of the idea of AlpacaEval 2, whose regression also has a term for how hard each
    prompt is and a bounded function of the length difference; the numbers are not comparable. It
    is an extrapolation when the lengths hardly overlap: look at `length_matched` beside it.
    """
    mine, theirs = np.asarray(lengths, dtype=float), np.asarray(other, dtype=float)

    def rate(i: np.ndarray) -> float:
        fitted = length_logistic(outcome[i], mine[i].tolist(), theirs[i].tolist())
        return fitted.at_equal_length

    return bootstrap(rate, len(outcome), resamples)


def length_matched(
    outcome: Outcomes, lengths: Sequence[float], other: Sequence[float], within: float = 0.15
) -> Rate | None:
    """Win rate among pairs whose lengths differ by at most a share of the longer; None if none."""
    mine, theirs = _paired(lengths, other)
    close = np.abs(mine - theirs) <= within * np.maximum(mine, theirs)
    return win_rate(outcome[close]) if close.any() else None


def accuracy(chosen: Sequence[float], rejected: Sequence[float]) -> Rate:
    """Share of held-out pairs whose winner has the larger implicit reward.

    The implicit reward of DPO is β (log π(y) − log π_ref(y)), that of reference-free methods β
    times the mean log-probability; β does not matter here. Equal rewards count one half.
    """
    return win_rate(outcomes(chosen, rejected))


def agreement(first: Outcomes, second: Outcomes) -> Rate:
    """Share of the pairs on which two judges give the same verdict, ties included."""
    one, two = _paired(first.tolist(), second.tolist())
    return wilson(float((one == two).sum()), len(one))
