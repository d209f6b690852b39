"""Line charts as small inline SVG whose colours are the page's CSS variables.

Matplotlib writes plain colours, so each named colour is drawn as a marker value and replaced by
`var(--name)` afterwards: one drawing serves light, dark and paper.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import pairwise
from typing import Any

from markupsafe import Markup, escape

COLOURS = ("ink", "muted", "line", "reward", "judge", "strict", "other", "extra", "alarm")
_MARKER = {name: f"#0100{index:02x}" for index, name in enumerate(COLOURS, start=16)}
WIDE, NARROW = (4.3, 2.5), (3.0, 2.1)  # inches, for two and for three charts in a row; ours
_FONT = 9.0  # points
_LETTER = 5.3  # width of a letter in points, a generous mean; ours
_LONGEST = 26  # letters of a label; ours


_Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Line:
    """One curve with the label written at its end."""

    label: str
    x: Sequence[float | None]
    y: Sequence[float | None]
    colour: str = "judge"  # one of COLOURS
    style: str = "-"
    faint: bool = False  # a background curve: thin, without markers


@dataclass(frozen=True)
class Level:
    """A horizontal line to compare with."""

    label: str
    y: float


def chart(
    name: str,
    lines: Sequence[Line],
    x_label: str,
    levels: Sequence[Level] = (),
    size: tuple[float, float] = WIDE,
) -> Markup:
    """The chart as an <svg> element; empty if no curve has a point."""
    shown = [line for line in lines if _points(line)[0]]
    if not shown:
        return Markup("")
    from matplotlib import rc_context  # half a second, so only when a chart is drawn
    from matplotlib.figure import Figure

    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": name, "font.size": _FONT}
    with rc_context(settings):
        figure = Figure(figsize=size)
        axes: Any = figure.add_axes(_box(size, [*shown, *levels]))
        for line in shown:
            _draw(axes, line)
        _levels(axes, levels)
        _dress(axes, x_label)
        _labels(axes, shown, levels)
        file = StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return _inline(file.getvalue(), name)


def _box(size: tuple[float, float], named: Sequence[Line | Level]) -> _Box:
    """Where the axes sit: the right margin holds the longest label."""
    width, height = 72 * size[0], 72 * size[1]
    longest = max(len(_short(one.label)) for one in named)
    left, bottom = 36 / width, 32 / height
    right = min(0.5, (longest * _LETTER + 10) / width)
    return left, bottom, 1 - left - right, 1 - bottom - 8 / height


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _points(line: Line) -> tuple[list[float], list[float]]:
    pairs = [
        (x, y) for x, y in zip(line.x, line.y, strict=False) if x is not None and y is not None
    ]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _draw(axes: Any, line: Line) -> None:
    x, y = _points(line)
    few = len(x) <= 24 and not line.faint
    axes.plot(
        x,
        y,
        line.style,
        color=_MARKER[line.colour],
        linewidth=0.9 if line.faint else 1.7,
        alpha=0.45 if line.faint else 1.0,
        marker="o" if few else None,
        markersize=3.2,
        solid_capstyle="round",
    )


def _levels(axes: Any, levels: Sequence[Level]) -> None:
    for level in levels:
        axes.axhline(level.y, color=_MARKER["muted"], linewidth=1, linestyle=(0, (4, 3)))


def _dress(axes: Any, x_label: str) -> None:
    """Few ticks, quiet axes, no box."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axes.margins(x=0.02, y=0.08)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
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


def _labels(axes: Any, lines: Sequence[Line], levels: Sequence[Level]) -> None:
    """Names at the ends of the curves, pushed apart where they would overlap."""
    low, high = axes.get_ylim()
    texts = [(_points(line)[1][-1], line.label, line.colour) for line in lines if line.label]
    texts += [(level.y, level.label, "muted") for level in levels if level.label]
    height = 72 * axes.figure.get_figheight() * axes.get_position().height
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
    svg = re.sub(r'="[^"]*"', lambda m: _rounded(m.group()), svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    for colour, marker in _MARKER.items():
        svg = svg.replace(marker, f"var(--{colour})")
    view = re.search(r'viewBox="[^"]*"', svg)
    box = view.group() if view else ""
    head = f'<svg class="chart" role="img" aria-label="{escape(name)}" {box}>'
    # Safe: matplotlib escapes the text it writes into SVG.
    return Markup(re.sub(r"<svg[^>]*>", lambda _: head, svg, count=1))


def _rounded(attribute: str) -> str:
    return re.sub(r"\d+\.\d{3,}", lambda m: f"{float(m.group()):.2f}", attribute)
