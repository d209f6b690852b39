"""Means over seeds with bootstrap intervals, values between evaluations, first crossings.

The seeds of a method are its only replicates, so every interval resamples whole seeds. One seed
has no interval, and a level that some seeds never reach has no mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

RESAMPLES = 4000  # of every interval; ours
TAILS = (2.5, 97.5)  # percentiles of a 95 % interval

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
    """Means of seeds drawn with replacement, as many as there are; one draw serves all points."""
    count = len(values)
    drawn = generator.integers(0, count, (RESAMPLES, count))
    shares = (drawn[:, :, None] == np.arange(count)).mean(1)
    return shares @ values


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
