"""What a diagnosis looks at and what it answers.  Plain numbers: no network, no file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite, sqrt
from statistics import fmean
from typing import Literal

from scoreward.records.fields import Numbers
from scoreward.records.run import Probed, ReferenceCurve, SavedRun
from scoreward.verdict.decisions import Ends, ends, saturated_from_start

Kind = Literal["bug", "setting", "no signal", "slow", "fine"]

SURE = 3.0  # standard errors of a trend that is called one; ours


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
    ends: Ends = Ends({}, {})  # before and after, with intervals
    saturated: float | None = None  # share of held-out or first pairs with |logit| > 5 at the start
    failure: Numbers = field(default_factory=dict)  # metrics of the round that was refused
    reason: str = ""  # why the run ended, if not by its budget
    reference: ReferenceCurve = ReferenceCurve()  # of the same recipe
    probe: Probed = Probed()
    spent: Sequence[float] = ()  # network evaluations after each round

    def values(self, name: str) -> list[float]:
        """A metric of the rounds that have it."""
        return [r[name] for r in self.rounds if name in r and isfinite(r[name])]


def evidence_of(run: SavedRun) -> Evidence:
    """What a run wrote, with an earlier probe and the reference curve of its recipe."""
    return Evidence(
        rounds=[r.metrics for r in run.rounds],
        ends=ends(run, next(iter(run.samplers), "ode")),
        saturated=saturated_from_start(run),
        failure=run.failures[-1].metrics if run.failures else {},
        reason=run.about.reason,
        reference=run.reference,
        probe=run.probe,
        spent=[r.at.total or 0.0 for r in run.rounds],
    )


@dataclass(frozen=True)
class CauseRule:
    """A cause whose advice is always the same; `sees` says what was seen of it, if anything."""

    name: str
    kind: Kind
    sees: Callable[[Evidence], str | None]
    advice: str

    def __call__(self, evidence: Evidence) -> Cause | None:
        seen = self.sees(evidence)
        return None if seen is None else Cause(self.name, self.kind, seen, self.advice)


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
