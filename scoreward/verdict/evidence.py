"""What a diagnosis looks at and what it answers.  Plain numbers: no network, no file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite, sqrt
from statistics import fmean
from typing import Any, Literal

Kind = Literal["bug", "setting", "no signal", "slow", "fine"]
Numbers = Mapping[str, Any]

SURE = 3.0  # standard errors of a trend that is called one; ours
UNIFORM = 0.9  # share of samples in groups without spread that leaves no signal; ours


@dataclass(frozen=True)
class Cause:
    """One explanation: what it is called, what was seen, what to do."""

    name: str
    kind: Kind
    seen: str
    advice: str


@dataclass(frozen=True)
class Evidence:
    """All that a diagnosis may look at."""

    rounds: Sequence[Numbers]  # metrics of each round
    evaluations: Sequence[Numbers] = ()
    failure: Numbers = field(default_factory=dict)  # metrics of the round that was refused
    reason: str = ""  # why the run ended, if not by its budget
    reference: Numbers = field(default_factory=dict)  # of the same recipe, see `Reference`
    probe: Numbers = field(default_factory=dict)  # what training/probe.py measured
    spent: Sequence[float] = ()  # network evaluations after each round

    def values(self, name: str) -> list[float]:
        """A metric of the rounds that have it."""
        found = (r.get(name) for r in self.rounds)
        return [float(v) for v in found if isinstance(v, int | float) and isfinite(v)]


def trend(values: Sequence[float]) -> tuple[float, float]:
    """(rise from the first to the last value by a straight line, its standard error).

    The noise is taken from differences of neighbours, so that a bent curve is not called noise.
    """
    count = len(values)
    if count < 4:
        return 0.0, float("inf")
    middle = (count - 1) / 2
    weights = [(i - middle) for i in range(count)]
    square = sum(w * w for w in weights)
    rise = sum(w * v for w, v in zip(weights, values)) / square * (count - 1)
    steps = [b - a for a, b in pairwise(values)]
    noise = sqrt(fmean(s * s for s in steps) / 2)
    return rise, noise / sqrt(square) * (count - 1)
