"""Bootstrap intervals over seeds and over prompts, values between evaluations, first crossings.

The seeds of a method are its only replicates, so every interval of a method resamples whole seeds.
One seed has no interval, and a level that some seeds never reach has no mean. Within one run the
replicates are the prompts it is measured on, before and after with the same noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

RESAMPLES = 4000  # of every interval; ours
RISK = 0.05  # that an interval misses; ours
TAILS = (50 * RISK, 100 - 50 * RISK)  # percentiles of a 95 % interval
DRAWN = 2**22  # numbers of resamples held at once; memory only

Vector = Float[np.ndarray, "points"]
Pair = tuple[float, float]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its interval; None where one seed leaves nothing to resample."""

    mean: float
    interval: Pair | None
    seeds: int

    def overlaps(self, other: "Estimate") -> bool | None:
        """Whether two intervals share a value; None if one of them is missing."""
        if self.interval is None or other.interval is None:
            return None
        return self.interval[0] <= other.interval[1] and other.interval[0] <= self.interval[1]


def resampled(
    values: Float[np.ndarray, "seeds points"], generator: np.random.Generator
) -> Float[np.ndarray, "resamples points"]:
    """Means of rows drawn with replacement, as many as there are; one draw serves all points."""
    count, found = len(values), []
    most = max(1, DRAWN // count)
    for some in (min(most, RESAMPLES - start) for start in range(0, RESAMPLES, most)):
        drawn = generator.integers(0, count, (some, count)) + count * np.arange(some)[:, None]
        times = np.bincount(drawn.ravel(), minlength=some * count).reshape(some, count)
        found.append(times @ values / count)
    return np.concatenate(found)


def paired(
    differences: Float[np.ndarray, "rows points"],
    groups: Sequence[int],
    within: bool = False,
    risk: float = RISK,
) -> list[Pair]:
    """Bootstrap intervals of mean differences between two measurements of the same rows.

    Whole groups (the rows of a prompt) are drawn, so that many pictures of few prompts are not
    taken for many prompts; `within` draws rows inside each group instead, for a mean that speaks
    of these groups alone. Percentiles are moved outwards as far as a t interval is wider than a
    normal one with the biased variance, the expanded percentile interval of
    Hesterberg, What Teachers Should Know About the Bootstrap, 2015, section 5.2 (second-hand).
    """
    _, place = np.unique(groups, return_inverse=True)
    size = np.bincount(place)
    if within:
        means = np.zeros((len(size), differences.shape[1]))
        np.add.at(means, place, differences)
        inside = differences - (means / size[:, None])[place]
        inside *= np.sqrt(size / np.maximum(size - 1, 1))[place][:, None]
        differences = differences.mean(0) + inside
        place, size = np.arange(len(place)), np.ones(len(place))
    sums = np.zeros((len(size), differences.shape[1]))
    np.add.at(sums, place, differences)
    drawn = resampled(np.column_stack([sums, size]), np.random.default_rng(0))
    low, high = np.percentile(drawn[:, :-1] / drawn[:, -1:], expanded(len(size), risk), axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def expanded(count: int, risk: float = RISK) -> Pair:
    """Percentiles of an interval from few replicates; `TAILS` in the limit of many."""
    z, free = NormalDist().inv_cdf(1 - risk / 2), count - 1
    # quantile of Student's t, Abramowitz and Stegun 26.7.5; off by less than 0.001 from 7 on
    t = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    t += (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * free**3)
    tail = 100 * NormalDist().cdf(-t * (count / free) ** 0.5)
    return tail, 100 - tail


def estimate(values: Sequence[float]) -> Estimate:
    """Mean over seeds with its 95 % percentile bootstrap interval."""
    mean, band = banded(np.asarray(values, dtype=float)[:, None])
    interval = None if band is None else (float(band[0][0]), float(band[1][0]))
    return Estimate(float(mean[0]), interval, len(values))


def banded(
    values: Float[np.ndarray, "seeds points"],
) -> tuple[Vector, tuple[Vector, Vector] | None]:
    """Mean over seeds at every point, and the lower and upper ends of the intervals."""
    mean = values.mean(0)
    if len(values) < 2:
        return mean, None
    low, high = np.percentile(resampled(values, np.random.default_rng(0)), TAILS, axis=0)
    return mean, (low, high)


def ratio(mine: Sequence[float], base: Sequence[float]) -> Estimate:
    """mean(mine) / mean(base); both sets of seeds are resampled, independently of each other."""
    if min(base) <= 0:
        raise ValueError(f"a ratio needs positive values to divide by, got {min(base)}")
    above, below = (np.asarray(v, dtype=float)[:, None] for v in (mine, base))
    mean = float(above.mean() / below.mean())
    seeds = min(len(mine), len(base))
    if seeds < 2:
        return Estimate(mean, None, seeds)
    generator = np.random.default_rng(0)
    ratios = resampled(above, generator) / resampled(below, generator)
    low, high = np.percentile(ratios, TAILS)
    return Estimate(mean, (float(low), float(high)), seeds)


def value_at(x: Vector, y: Vector, where: float) -> float | None:
    """Linear interpolation; None outside the curve.  One point alone holds everywhere."""
    if not len(x) or (len(x) > 1 and not x[0] <= where <= x[-1]):
        return None
    return float(np.interp(where, x, y))


def first_reach(x: Vector, y: Vector, level: float) -> float | None:
    """Where the straight lines between the points first come up to `level`; None if never."""
    if not len(x):
        return None
    if y[0] >= level:
        return float(x[0])
    for (x0, y0), (x1, y1) in pairwise(zip(x.tolist(), y.tolist(), strict=True)):
        if y1 >= level:
            return x0 + (level - y0) / (y1 - y0) * (x1 - x0)
    return None


def common_grid(places: Sequence[np.ndarray]) -> Float[np.ndarray, "grid"]:
    """All points of several curves within the range that every one of them covers."""
    first, last = max(p[0] for p in places), min(p[-1] for p in places)
    every = np.unique(np.concatenate(list(places)))
    return every[(every >= first) & (every <= last)]
