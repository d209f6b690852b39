"""The reward gap of a run as charts, one PNG and a table."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scoreward.records.run import GapRecord, PromptEstimate, SavedRun
from scoreward.report.figures import Figure, Level, Line, chart
from scoreward.verdict.words import label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PAINTS = ("judge", "strict", "other", "extra", "alarm", "reward", "muted")
_INK = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B")


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
        return sampler(self.eta)

    @property
    def on(self) -> str:
        return f"{self.steps} steps" + (", converged" if self.converged else "")


def sampler(eta: float) -> str:
    return f"η = {eta:g}" if eta else "ODE"


def points(records: list[GapRecord], score: str) -> list[Point]:
    """All of one score, by round, noise and grid."""
    found = [
        Point(
            r.round, r.eta, r.steps, r.converged,
            r.mean[score], r.gap.get(score), r.grid.get(score),
        )
        for r in records
        if score in r.mean
    ]  # fmt: skip
    return sorted(found, key=lambda p: (p.round, p.eta, p.steps))


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


@dataclass(frozen=True)
class GapPanel:
    """What is drawn on one pair of axes: a curve for each noise, by its place among them."""

    on: str  # the grid, "" for the scores against steps
    curves: list[tuple[int, float, list[tuple[int, PromptEstimate]]]]


def panels(found: list[Point]) -> list[GapPanel]:
    """The gap over training on each grid, then the score against the grid."""
    noises = list(enumerate(etas(found)))
    on = {p.steps: p.on for p in reversed(found)}
    each = [
        GapPanel(on[steps], [(i, eta, of_gap(found, eta, steps)) for i, eta in noises if eta])
        for steps in grids(found)
    ]
    return [*each, GapPanel("", [(i, eta, of_steps(found, eta)) for i, eta in noises])]


def charts(run: SavedRun, names: list[str]) -> list[Figure]:
    """For the report."""
    found = points(run.gaps, names[0]) if names else []
    if not found:
        return []
    figures = []
    for panel in panels(found):
        lines = [
            Line(
                sampler(eta),
                [x for x, _ in pairs],
                [e.value for _, e in pairs],
                _PAINTS[i % len(_PAINTS)],
                low=[e.low for _, e in pairs],
                high=[e.high for _, e in pairs],
            )
            for i, eta, pairs in panel.curves
        ]
        if panel.on:
            level = [Level("no gap", 0.0)]
            svg = chart(f"gap on {panel.on}", lines, "round", level, means=True)
            title = f"gap to the ODE on {panel.on}"
            figures.append(Figure(f"{label(names[0])}: {title}", svg))
        else:
            svg = chart("score against steps", lines, "steps of the sampler", means=True)
            title = "against steps, after the last round measured"
            figures.append(Figure(f"{label(names[0])} {title}", svg))
    return figures


def draw(run: SavedRun, score: str, target: Path) -> Path:
    """The same as one PNG."""
    from matplotlib.figure import Figure as Canvas  # half a second, so only when it is drawn

    found = points(run.gaps, score)
    drawn = panels(found)
    canvas = Canvas(figsize=(3.3 * len(drawn), 3.2), layout="constrained")
    every: list[Axes] = list(canvas.subplots(1, len(drawn), squeeze=False)[0])
    for axes, panel in zip(every, drawn, strict=True):
        if panel.on:
            axes.axhline(0, color="0.6", linewidth=1, linestyle="--")
        for i, eta, pairs in panel.curves:
            sides = [[e.value - e.low for _, e in pairs], [e.high - e.value for _, e in pairs]]
            x, y = [x for x, _ in pairs], [e.value for _, e in pairs]
            axes.errorbar(
                x, y, sides, label=sampler(eta), linewidth=1.3,
                color=_INK[i % len(_INK)], capsize=2, marker="o", markersize=3,
            )  # fmt: skip
        if panel.on:
            axes.set(title=f"gap on {panel.on}", xlabel="round")
            axes.sharey(every[0])
        axes.grid(alpha=0.3)
    every[0].set_ylabel(f"{label(score)}: SDE less ODE")
    last, columns = every[-1], grids(found)
    last.set(title=f"after round {max(p.round for p in found)}", xlabel="steps", xscale="log")
    last.set_xticks(columns, [str(n) for n in columns], minor=False)
    last.minorticks_off()
    last.set_ylabel(label(score))
    last.legend(fontsize=8, frameon=False)
    canvas.savefig(target, dpi=110)
    return target


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
