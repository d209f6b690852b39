"""Several runs compared at equal network evaluations: methods, their numbers, what limits them.

Runs of one task and method are its seeds. Runs that carry one name but other settings are told
apart by what differs, so that two settings are never averaged as if they were seeds.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from scoreward.report.comparison.inputs import (
    EXTRA,
    MEASURES,
    LearningCurve,
    Points,
    curve_of,
    read_inputs,
)
from scoreward.verdict.statistics import (
    Estimate,
    banded,
    common_grid,
    estimate,
    first_reach,
    ratio,
    value_at,
)

__all__ = ["MethodRuns", "TaskRuns", "curve_of", "read_inputs", "tasks"]

SHARES = (0.25, 0.5, 0.75, 0.9)  # of the way from the start to the best final mean; ours
STARTS = 0.01  # of the largest gain: starts further apart are not the same start; ours
SMOOTH = 32  # points of a mean curve whose seeds share no grid, so that it needs no markers; ours
BUDGETS = 1.05  # ratio of budgets that is still called equal; ours


Band = tuple[Points, Points, tuple[Points, Points] | None]  # places, mean, ends of intervals


@dataclass(frozen=True)
class MethodRuns:
    """The seeds of one method on one task."""

    name: str
    curves: list[LearningCurve]

    @property
    def trained(self) -> bool:
        return all(c.trained for c in self.curves)

    def over_seeds(self, value: Callable[[LearningCurve], float | None]) -> Estimate | None:
        """Mean over the seeds for which `value` is known."""
        known = [v for v in map(value, self.curves) if v is not None]
        return estimate(known) if known else None

    def at(self, measure: str, evaluations: float | None = None) -> Estimate | None:
        """A measure at a number of evaluations (default: each seed's last)."""
        return self.over_seeds(lambda c: _value(c, measure, evaluations))

    def relative(
        self, measure: str, evaluations: float | None, base: float | None
    ) -> Estimate | None:
        """The same over each seed's own start; over `base` for a model that was not trained."""

        def share(curve: LearningCurve) -> float | None:
            value, start = _value(curve, measure, evaluations), _start(curve, measure)
            below = start if curve.trained else base
            return value / below if value is not None and below else None

        return self.over_seeds(share)

    def band(self, measure: str, axis: str = "evaluations") -> Band | None:
        """(places, mean, ends of the intervals) where every seed has been."""
        curves = [c.points(measure, axis) for c in self.curves]
        curves = [(x, y) for x, y in curves if len(x)]
        if not curves:
            return None
        grid = common_grid([x for x, _ in curves])
        if any(len(x) != len(grid) for x, _ in curves):  # seeds were measured at other places
            grid = np.union1d(grid, np.linspace(grid[0], grid[-1], SMOOTH))
        return grid, *banded(np.stack([np.interp(grid, x, y) for x, y in curves]))


def _value(curve: LearningCurve, measure: str, evaluations: float | None) -> float | None:
    x, y = curve.points(measure)
    if evaluations is None:
        return float(y[-1]) if len(y) else None
    return value_at(x, y, evaluations)


def _start(curve: LearningCurve, measure: str) -> float | None:
    y = curve.points(measure)[1]
    return float(y[0]) if len(y) else None


@dataclass(frozen=True)
class TaskRuns:
    """All methods of one task, the highest judge (or else reward) at equal evaluations first."""

    name: str
    methods: list[MethodRuns]

    @property
    def trained(self) -> list[MethodRuns]:
        return [m for m in self.methods if m.trained]

    @property
    def curves(self) -> list[LearningCurve]:
        return [c for m in self.methods for c in m.curves]

    @property
    def budget(self) -> float | None:
        """The evaluations that every trained run has made; None without training."""
        return min((c.budget for m in self.trained for c in m.curves), default=None)

    def measures(self) -> list[str]:
        """Those that any run has, in the order of the table."""
        return [n for n in (*MEASURES, *EXTRA) if any(n in c.values for c in self.curves)]

    def start(self, measure: str) -> float | None:
        """Mean of the first values of all trained runs."""
        firsts = self._starts(measure)
        return float(np.mean(firsts)) if firsts else None

    def best_end(self, measure: str) -> float | None:
        """The highest mean at the end among trained methods."""
        ends = [m.at(measure) for m in self.trained]
        return max((e.mean for e in ends if e is not None), default=None)

    def levels(self, measure: str, wanted: Sequence[float] = ()) -> list[tuple[str, float]]:
        """(name, level): shares of the way from the start to the best end, then the asked ones."""
        start, best = self.start(measure), self.best_end(measure)
        shares = []
        if start is not None and best is not None and best > start:
            shares = [(f"{100 * s:.0f} % of the way", start + s * (best - start)) for s in SHARES]
        return shares + [("asked for", level) for level in wanted]

    def start_spread(self, measure: str) -> float:
        """Largest difference between the first values of trained runs."""
        firsts = self._starts(measure)
        return max(firsts, default=0.0) - min(firsts, default=0.0)

    def _starts(self, measure: str) -> list[float]:
        every = [_start(c, measure) for m in self.trained for c in m.curves]
        return [s for s in every if s is not None]


def tasks(curves: Sequence[LearningCurve]) -> list[TaskRuns]:
    """Curves by task and method, in order of merit."""
    names = dict.fromkeys(c.task for c in curves)
    return [_task(n, [c for c in curves if c.task == n]) for n in names]


def _task(name: str, curves: list[LearningCurve]) -> TaskRuns:
    found = dict.fromkeys(c.method for c in curves)
    methods = [m for n in found for m in _variants(n, [c for c in curves if c.method == n])]
    whole = TaskRuns(name, methods)
    by = "judge" if "judge" in whole.measures() else "reward"

    def merit(method: MethodRuns) -> float:
        value = method.at(by, whole.budget if method.trained else None)
        return -np.inf if value is None else value.mean

    return TaskRuns(name, sorted(methods, key=merit, reverse=True))


def _variants(name: str, curves: list[LearningCurve]) -> list[MethodRuns]:
    """One method per setting; more than one if runs of the same name were set otherwise."""
    settings = [c.own_settings() for c in curves]
    distinct = [s for i, s in enumerate(settings) if s not in settings[:i]]
    groups = [[c for c, s in zip(curves, settings, strict=True) if s == one] for one in distinct]
    names = (
        [name] if len(distinct) == 1 else _told_apart(name, distinct, list(map(_folder, groups)))
    )
    for label, group in zip(names, groups, strict=True):
        seen: dict[int, LearningCurve] = {}
        for curve in group:  # a run counted twice would narrow every interval
            if (first := seen.get(curve.seed)) is not None:
                raise ValueError(
                    f"seed {curve.seed} of {label} on {curve.task} came twice, from "
                    f"{first.source} and {curve.source}; give each run once"
                )
            seen[curve.seed] = curve
    return [MethodRuns(label, group) for label, group in zip(names, groups, strict=True)]


def differing(settings: Sequence[dict[str, str]]) -> list[str]:
    """Names of the settings that are not the same in all."""
    names = dict.fromkeys(k for s in settings for k in s)
    return [n for n in names if len({s.get(n) for s in settings}) > 1]


def _told_apart(name: str, settings: list[dict[str, str]], folders: list[str]) -> list[str]:
    """Up to two differing settings are in the name; of more, the folders' names or a number."""
    names = differing(settings)
    if len(names) > 2:
        kept = folders if len(set(folders)) == len(folders) and all(folders) else []
        return [f"{name} ({x})" for x in kept or range(1, len(settings) + 1)]
    short = {n: n.rpartition(".")[2] for n in names}
    told = [[f"{short[n]} {one.get(n, 'none')}" for n in names] for one in settings]
    return [f"{name}, {', '.join(said)}" for said in told]


def _folder(curves: list[LearningCurve]) -> str:
    """The runs' folders without their numbers: `naive` of naive-0 and naive-1."""
    names = [c.run.folder.resolve().name if c.run else "" for c in curves]
    short = {n.rstrip("-_.0123456789") for n in names}
    return short.pop() if len(short) == 1 else ""


@dataclass(frozen=True)
class Reach:
    """What one method needed for one level."""

    seeds: int
    evaluations: list[float]  # of the seeds that reached it

    @property
    def all(self) -> bool:
        return len(self.evaluations) == self.seeds

    @property
    def estimate(self) -> Estimate | None:
        """Only if every seed came there: a mean over the lucky ones would flatter."""
        return estimate(self.evaluations) if self.all else None


def reach(method: MethodRuns, measure: str, level: float) -> Reach:
    """Evaluations at which each seed's curve first comes up to a level."""
    found = [first_reach(*c.points(measure), level) for c in method.curves]
    return Reach(len(found), [f for f in found if f is not None])


def reference(reached: dict[str, Reach], against: str | None) -> str | None:
    """Whom ratios are relative to: the one asked for, or who needed fewest evaluations."""
    means = {n: e.mean for n, r in reached.items() if (e := r.estimate) is not None}
    usable = {n: m for n, m in means.items() if min(reached[n].evaluations) > 0}
    if against in reached:
        return against if against in usable else None
    return min(usable, key=lambda n: usable[n], default=None)


def ratios(reached: dict[str, Reach], base: str | None) -> dict[str, Estimate]:
    """Mean evaluations of each method over those of `base`; 2 means twice as many are needed."""
    if base is None:
        return {}
    others = {n: r for n, r in reached.items() if r.all and n != base}
    return {n: ratio(r.evaluations, reached[base].evaluations) for n, r in others.items()}


def equal_drift(task: TaskRuns) -> float | None:
    """The smallest drift at which any trained run ends, so that all of them came there."""
    methods = [m for m in task.trained if m.at("drift") is not None]
    ends = [_value(c, "drift", None) for m in methods for c in m.curves]
    known = [e for e in ends if e is not None and e > 0]
    return min(known) if len(methods) > 1 and known else None


def at_drift(method: MethodRuns, measure: str, drift: float) -> Estimate | None:
    """The measure where each seed's drift first comes up to `drift`, mean over seeds."""

    def value(curve: LearningCurve) -> float | None:
        place = first_reach(*curve.points("drift"), drift)
        return None if place is None else value_at(*curve.points(measure), place)

    return method.over_seeds(value)
