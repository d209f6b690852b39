"""The reward gap of a run as charts, one PNG and a table."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scoreward.report.bands import Banded, bands
from scoreward.report.figures import Level, Line
from scoreward.report.folder import Record, SavedRun, number, section
from scoreward.report.run.curves import Figure
from scoreward.report.words import label

_PAINTS = ("judge", "strict", "other", "extra", "alarm", "reward", "muted")
_INK = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B")


@dataclass(frozen=True)
class PromptEstimate:
    """A mean over prompts with its standard error and 95 % interval."""

    value: float
    error: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:+.4f} ± {self.high - self.value:.4f}"


@dataclass(frozen=True)
class Point:
    """One sampler at one moment of a run; `gap` is missing for the ODE, `grid` for the control."""

    round: int
    eta: float
    steps: int
    converged: bool
    mean: PromptEstimate
    gap: PromptEstimate | None
    grid: PromptEstimate | None

    @property
    def sampler(self) -> str:
        return f"η = {self.eta:g}" if self.eta else "ODE"

    @property
    def on(self) -> str:
        return f"{self.steps} steps" + (", converged" if self.converged else "")


def scored(run: SavedRun) -> list[str]:
    """The scores that the records of the gap hold."""
    return list(dict.fromkeys(name for r in run.gaps for name in section(r, "mean")))


def points(records: list[Record], score: str) -> list[Point]:
    """All of one score, by round, noise and grid; records that cannot be read are left out."""
    found = [p for r in records if (p := _point(r, score)) is not None]
    return sorted(found, key=lambda p: (p.round, p.eta, p.steps))


def _point(record: Record, score: str) -> Point | None:
    place = [number(record.get(k)) for k in ("round", "eta", "steps")]
    mean = _estimate(section(record, "mean", score))
    if None in place or mean is None:
        return None
    round, eta, steps = (value or 0.0 for value in place)
    rest = (_estimate(section(record, part, score)) for part in ("gap", "grid"))
    return Point(int(round), eta, int(steps), bool(record.get("converged")), mean, *rest)


def _estimate(record: Record) -> PromptEstimate | None:
    values = [number(record.get(k)) for k in ("value", "standard_error", "low", "high")]
    return None if None in values else PromptEstimate(*(value or 0.0 for value in values))


def grids(found: list[Point]) -> list[int]:
    """Step counts, the converged one last."""
    return sorted({p.steps for p in found})


def etas(found: list[Point]) -> list[float]:
    """Noises, the ODE first."""
    return sorted({p.eta for p in found})


def of_gap(found: list[Point], eta: float, steps: int) -> list[tuple[int, PromptEstimate]]:
    """(round, gap) of one noise on one grid."""
    mine = [p for p in found if (p.eta, p.steps) == (eta, steps)]
    return [(p.round, p.gap) for p in mine if p.gap is not None]


def of_steps(found: list[Point], eta: float) -> list[tuple[int, PromptEstimate]]:
    """(steps, mean) of one noise at the last moment measured."""
    last = max(p.round for p in found)
    return [(p.steps, p.mean) for p in found if (p.round, p.eta) == (last, eta)]


def charts(run: SavedRun, names: list[str]) -> list[Figure]:
    """For the report: the gap over training on each grid, and the score against the grid."""
    found = points(run.gaps, names[0]) if names else []
    if not found:
        return []
    text, level = label(names[0]), [Level("no gap", 0.0)]
    figures = []
    for steps in grids(found):
        on = next(p.on for p in found if p.steps == steps)
        curves = [_banded(found, eta, i, steps) for i, eta in enumerate(etas(found)) if eta]
        svg = bands(f"gap on {on}", curves, "round", level)
        figures.append(Figure(f"{text}: gap to the ODE on {on}", svg))
    curves = [_banded(found, eta, i, None) for i, eta in enumerate(etas(found))]
    svg = bands("score against steps", curves, "steps of the sampler")
    return [*figures, Figure(f"{text} against steps, after the last round measured", svg)]


def _banded(found: list[Point], eta: float, index: int, steps: int | None) -> Banded:
    pairs = of_steps(found, eta) if steps is None else of_gap(found, eta, steps)
    x, each = [x for x, _ in pairs], [e for _, e in pairs]
    name = next((p.sampler for p in found if p.eta == eta), "")
    line = Line(name, x, [e.value for e in each], _PAINTS[index % len(_PAINTS)])
    return Banded(line, [e.low for e in each], [e.high for e in each])


def draw(run: SavedRun, score: str, target: Path) -> Path:
    """The same as one PNG."""
    from matplotlib.figure import Figure as Canvas  # half a second, so only when it is drawn

    found = points(run.gaps, score)
    columns = grids(found)
    figure = Canvas(figsize=(3.3 * (len(columns) + 1), 3.2), layout="constrained")
    panels: Any = figure.subplots(1, len(columns) + 1, squeeze=False)[0]
    for axes, steps in zip(panels, columns, strict=False):
        on = next(p.on for p in found if p.steps == steps)
        axes.axhline(0, color="0.6", linewidth=1, linestyle="--")
        for i, eta in enumerate(etas(found)):
            if eta:
                _bars(axes, of_gap(found, eta, steps), f"η = {eta:g}", i)
        axes.set(title=f"gap on {on}", xlabel="round")
        axes.sharey(panels[0])
    panels[0].set_ylabel(f"{label(score)}: SDE less ODE")
    last = panels[-1]
    for i, eta in enumerate(etas(found)):
        _bars(last, of_steps(found, eta), f"η = {eta:g}" if eta else "ODE", i)
    last.set(title=f"after round {max(p.round for p in found)}", xlabel="steps", xscale="log")
    last.set_xticks(columns, [str(n) for n in columns], minor=False)
    last.minorticks_off()
    last.set_ylabel(label(score))
    last.legend(fontsize=8, frameon=False)
    for axes in panels:
        axes.grid(alpha=0.3)
    figure.savefig(target, dpi=110)
    return target


def _bars(axes: Any, pairs: list[tuple[int, PromptEstimate]], name: str, index: int) -> None:
    x, each = [x for x, _ in pairs], [e for _, e in pairs]
    sides = [[e.value - e.low for e in each], [e.high - e.value for e in each]]
    look = {"color": _INK[index % len(_INK)], "capsize": 2, "marker": "o", "markersize": 3}
    axes.errorbar(x, [e.value for e in each], sides, label=name, linewidth=1.3, **look)


def rows(found: list[Point]) -> list[list[str]]:
    """Round, sampler, steps, mean ± standard error, gap and grid ± half their intervals."""
    return [
        [
            str(p.round),
            p.sampler,
            f"{p.steps}{'*' * p.converged}",
            f"{p.mean.value:.4f} ± {p.mean.error:.4f}",
            "" if p.gap is None else str(p.gap),
            "" if p.grid is None else str(p.grid),
        ]
        for p in found
    ]
