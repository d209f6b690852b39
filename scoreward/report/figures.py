"""Line charts as small inline SVG whose colours are the page's CSS variables.

Matplotlib writes plain colours, so each named colour is drawn as a marker value and replaced by
`var(--name)` afterwards: one drawing serves light, dark and paper.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ("ink", "muted", "line", "reward", "judge", "strict", "other", "extra", "alarm")
_MARKER = {name: f"#0100{index:02x}" for index, name in enumerate(COLOURS, start=16)}
WIDE, NARROW = (4.3, 2.5), (3.0, 2.1)  # inches, for two and for three charts in a row; ours
LARGE = 8.8  # inches, for one chart in a row; ours
CROWD = 6  # methods from which a chart takes a row of its own; ours
PAINTS = ("judge", "reward", "strict", "other", "alarm", "extra", "ink")  # muted is for levels
STYLES = {"-": "solid", "--": "dashed", ":": "dotted", "-.": "double"}  # and CSS's nearest
FLAT = 0.01  # least height of a chart of means as a share of its largest value; ours
_FONT = 9.0  # points
_LETTER = 5.3  # width of a letter in points, a generous mean; ours
_LONGEST = 26  # letters of a label; ours
_ROW = 0.17  # inches of height that a label takes


@dataclass(frozen=True)
class Line:
    """One curve with the label written at its end; a band where it has intervals."""

    label: str
    x: Sequence[float | None]
    y: Sequence[float | None]
    colour: str = "judge"  # one of COLOURS
    style: str = "-"
    faint: bool = False  # a background curve: thin, without markers
    low: Sequence[float] = ()  # the ends of the intervals
    high: Sequence[float] = ()

    @property
    def points(self) -> tuple[list[float], list[float]]:
        """Where both are known."""
        pairs = zip(self.x, self.y, strict=False)
        known = [(x, y) for x, y in pairs if x is not None and y is not None]
        return [x for x, _ in known], [y for _, y in known]


@dataclass(frozen=True)
class Level:
    """A horizontal line to compare with."""

    label: str
    y: float


@dataclass(frozen=True)
class Figure:
    """A drawn chart with what it shows."""

    title: str
    svg: Markup


def paint(index: int) -> tuple[str, str]:
    """(colour, line style) of a method; 28 look different, then they come again."""
    return PAINTS[index % len(PAINTS)], list(STYLES)[index // len(PAINTS) % len(STYLES)]


def alone(labels: int) -> tuple[float, float]:
    """The size of a chart in a row of its own, as high as its labels need."""
    return LARGE, max(3.4, _ROW * labels + 0.7)


def chart(
    name: str,
    lines: Sequence[Line],
    x_label: str,
    levels: Sequence[Level] = (),
    size: tuple[float, float] = WIDE,
    means: bool = False,
) -> Markup:
    """The chart as an <svg> element; empty if no curve has a point.

    `means` are drawn at any place, not only at whole numbers, and if they differ by rounding only
    they look flat rather than wild.
    """
    shown = [line for line in lines if line.points[0]]
    if not shown:
        return Markup("")
    from matplotlib import rc_context  # half a second, so only when a chart is drawn
    from matplotlib.figure import Figure as Canvas
    from matplotlib.ticker import MaxNLocator

    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.size": _FONT}):
        canvas = Canvas(figsize=size)
        axes = canvas.add_axes(_box(size, [one.label for one in (*shown, *levels)]))
        for line in shown:
            _draw(axes, line)
        for level in levels:
            axes.axhline(level.y, color=_MARKER["muted"], linewidth=1, linestyle=(0, (4, 3)))
        low, high = axes.get_ylim()
        least = FLAT * max(abs(low), abs(high))
        if means and high - low < least:
            axes.set_ylim((low + high) / 2 - least / 2, (low + high) / 2 + least / 2)
        _dress(axes, x_label)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=not means))
        _labels(axes, size[1], shown, levels)
        file = StringIO()
        canvas.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _inline(file.getvalue(), name)


def _box(size: tuple[float, float], labels: Sequence[str]) -> tuple[float, float, float, float]:
    """Where the axes sit: the right margin holds the longest label."""
    width, height = 72 * size[0], 72 * size[1]
    longest = max(len(_short(label)) for label in labels)
    left, bottom = 36 / width, 32 / height
    right = min(0.5, (longest * _LETTER + 10) / width)
    return left, bottom, 1 - left - right, 1 - bottom - 8 / height


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _draw(axes: "Axes", line: Line) -> None:
    x, y = line.points
    colour = _MARKER[line.colour]
    if len(line.low):
        axes.fill_between(x, line.low, line.high, color=colour, alpha=0.16, linewidth=0)
    axes.plot(
        x,
        y,
        line.style,
        color=colour,
        linewidth=0.9 if line.faint else 1.7,
        alpha=0.45 if line.faint else 1.0,
        marker="o" if len(x) <= 24 and not line.faint else None,
        markersize=3.2,
        solid_capstyle="round",
    )


def _dress(axes: "Axes", x_label: str) -> None:
    """Few ticks, quiet axes, no box."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.margins(x=0.02, y=0.08)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axes.ticklabel_format(axis="y", useOffset=False, scilimits=(-3, 4))
    axes.grid(axis="y", color=_MARKER["line"], linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, colors=_MARKER["muted"], pad=4)
    axes.yaxis.get_offset_text().set_color(_MARKER["muted"])
    axes.set_xlabel(x_label, color=_MARKER["muted"], labelpad=3)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_MARKER["muted"])


def _tick(value: float) -> str:
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g} {unit}"
    return f"{value:g}"


def _labels(axes: "Axes", inches: float, lines: Sequence[Line], levels: Sequence[Level]) -> None:
    """Names at the ends of the curves, pushed apart where they would overlap."""
    low, high = axes.get_ylim()
    texts = [(line.points[1][-1], line.label, line.colour) for line in lines if line.label]
    texts += [(level.y, level.label, "muted") for level in levels if level.label]
    height = 72 * inches * axes.get_position().height
    places = spread([(y - low) / (high - low or 1) for y, _, _ in texts], 1.25 * _FONT / height)
    for place, (_, text, colour) in zip(places, texts, strict=True):
        axes.text(
            1.03,
            place,
            _short(text),
            color=_MARKER[colour],
            transform=axes.transAxes,
            va="center_baseline",
            parse_math=False,
        )


def spread(places: Sequence[float], gap: float) -> list[float]:
    """The places, moved as little as needed to be `gap` apart, in their order."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = [places[i] for i in order]
    for _ in range(200):
        clashes = [i for i, (a, b) in enumerate(pairwise(moved)) if b - a < gap - 1e-4]
        for i in clashes:
            push = (gap - (moved[i + 1] - moved[i])) / 2
            moved[i], moved[i + 1] = moved[i] - push, moved[i + 1] + push
    result = [0.0] * len(places)
    for index, place in zip(order, moved, strict=True):
        result[index] = place
    return result


def _inline(svg: str, name: str) -> Markup:
    """Only the drawing: no prolog, no global style, no fixed size, two decimals."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    # Two decimals, in attributes only: a label says what it says.
    for_attribute = re.compile(r"\d+\.\d{3,}")
    svg = re.sub(
        r'="[^"]*"',
        lambda m: for_attribute.sub(lambda n: f"{float(n.group()):.2f}", m.group()),
        svg,
    )
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    for colour, marker in _MARKER.items():
        svg = svg.replace(marker, f"var(--{colour})")
    view = re.search(r'viewBox="[^"]*"', svg)
    box = view.group() if view else ""
    head = f'<svg class="chart" role="img" aria-label="{escape(name)}" {box}>'
    # Safe: matplotlib escapes the text it writes into SVG.
    return Markup(re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1))
