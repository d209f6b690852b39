"""Pictures of fee mechanisms: panels of curves, with the range of θ that is valid shaded.

Reads plain numbers, so it can be drawn from a JSON file as well as from fresh results.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COLOURS = ("#1f4e9c", "#b2452f", "#2a7f3e", "#7a3fb5", "#b8860b", "#555555")
WIDTH, HEIGHT, COLUMNS = 3.5, 2.8, 3  # of a panel in inches, and panels side by side; ours


@dataclass(frozen=True)
class FeeCurve:
    """One curve; a curve of one point is a level, drawn across the panel."""

    label: str
    x: Sequence[float]
    y: Sequence[float]

    def __post_init__(self) -> None:
        if len(self.x) != len(self.y) or not len(self.x):
            raise ValueError(
                f"curve {self.label!r} needs as many x as y, at least one; got {len(self.x)} and "
                f"{len(self.y)}"
            )


@dataclass(frozen=True)
class Panel:
    """Curves over one axis."""

    title: str
    axis: str
    curves: Sequence[FeeCurve]
    shaded: Sequence[tuple[str, float, float]] = ()  # (what, from, to) along the axis
    log: bool = False  # both axes
    legend: bool = True

    def __post_init__(self) -> None:
        if not self.curves:
            raise ValueError(f"panel {self.title!r} has no curves to draw")


def fees_figure(panels: Sequence[Panel], title: str = "") -> Any:
    """The matplotlib figure, three panels a row, or two and two."""
    from matplotlib.figure import Figure  # half a second, so only when a chart is drawn

    if not panels:
        raise ValueError("a picture needs 1 panel or more, got none")
    columns = 2 if len(panels) == 4 else min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=10)
    charts: Any = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, panel in zip(charts, panels):
        _draw(axes, panel)
    for axes in charts[len(panels) :]:
        axes.set_axis_off()
    return figure


def _draw(axes: Any, panel: Panel) -> None:
    """One panel; levels are dotted."""
    for i, (what, start, end) in enumerate(panel.shaded):
        colour = COLOURS[i % len(COLOURS)]
        axes.axvspan(start, end, color=colour, alpha=0.12, linewidth=0, label=what)
    for i, curve in enumerate(panel.curves):
        colour = COLOURS[i % len(COLOURS)]
        if len(curve.x) == 1:
            axes.axhline(curve.y[0], color=colour, linestyle=":", linewidth=1.3, label=curve.label)
        else:
            axes.plot(curve.x, curve.y, color=colour, linewidth=1.6, label=curve.label)
    if panel.log:
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.set_title(panel.title, fontsize=9, loc="left")
    axes.set_xlabel(panel.axis, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if panel.legend:
        axes.legend(frameon=False, fontsize=6.5)


def write_fees_figure(panels: Sequence[Panel], path: Path, title: str = "") -> None:
    """As a picture file; its suffix names the format.  Raises ValueError for an unknown one."""
    figure = fees_figure(panels, title)
    known = figure.canvas.get_supported_filetypes() if figure.canvas else {}
    if path.suffix.removeprefix(".").lower() not in known:
        raise ValueError(f"a picture is written to a .png, .svg or .pdf file, got {str(path)!r}")
    figure.savefig(path, dpi=100)
