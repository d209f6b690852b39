"""Charts of several methods: mean curves over their bands, in the manner of `figures`."""

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any

from markupsafe import Markup

from scoreward.report import figures
from scoreward.report.figures import Level, Line

LARGE = 8.8  # inches, for one chart in a row; ours
CROWD = 6  # methods from which a chart takes a row of its own; ours
PAINTS = ("judge", "reward", "strict", "other", "alarm", "extra", "ink")  # muted is for levels
STYLES = {"-": "solid", "--": "dashed", ":": "dotted", "-.": "double"}  # and CSS's nearest
FLAT = 0.01  # least height of a chart as a share of its largest value; ours
_ROW = 0.17  # inches of height that a label takes


@dataclass(frozen=True)
class Banded:
    """A mean curve and, if there are several seeds, the ends of its intervals."""

    line: Line
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def paint(index: int) -> tuple[str, str]:
    """(colour, line style) of a method; 28 look different, then they come again."""
    return PAINTS[index % len(PAINTS)], list(STYLES)[index // len(PAINTS) % len(STYLES)]


def size(labels: int, alone: bool) -> tuple[float, float]:
    """Two in a row, or alone and as high as the labels need."""
    return (LARGE, max(3.4, _ROW * labels + 0.7)) if alone else figures.WIDE


def bands(
    name: str,
    curves: Sequence[Banded],
    x_label: str,
    levels: Sequence[Level] = (),
    alone: bool = False,
) -> Markup:
    """The chart as an <svg> element; empty if no curve has a point."""
    lines = [curve.line for curve in curves if len(curve.line.x)]
    if not lines:
        return Markup("")
    from matplotlib import rc_context  # half a second, so only when a chart is drawn
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    inches = size(len(lines) + len(levels), alone)
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": name, "font.size": figures._FONT}
    with rc_context(settings):
        figure = Figure(figsize=inches)
        axes: Any = figure.add_axes(figures._box(inches, [*lines, *levels]))
        for curve in curves:
            _draw(axes, curve)
        figures._levels(axes, levels)
        _no_microscope(axes)
        figures._dress(axes, x_label)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: figures._tick(value)))
        figures._labels(axes, lines, levels)
        file = StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return figures._inline(file.getvalue(), name)


def _no_microscope(axes: Any) -> None:
    """Curves that differ by rounding only look flat rather than wild."""
    low, high = axes.get_ylim()
    middle, least = (low + high) / 2, FLAT * max(abs(low), abs(high))
    if high - low < least:
        axes.set_ylim(middle - least / 2, middle + least / 2)


def _draw(axes: Any, curve: Banded) -> None:
    if len(curve.low):
        colour = figures._MARKER[curve.line.colour]
        axes.fill_between(
            curve.line.x, curve.low, curve.high, color=colour, alpha=0.16, linewidth=0
        )
    figures._draw(axes, curve.line)
