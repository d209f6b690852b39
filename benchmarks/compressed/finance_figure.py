"""The picture of the stress test: quantiles, training time, and portfolios."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.compressed.results import Results
from benchmarks.compressed.stress import HORIZONS, LEVELS

COLOURS = [f"C{i}" for i in range(10)]
REAL = (("before", "1990-2014", "chance", "k"), ("after", "2015-2022", "chance_after", "0.6"))


def draw(path: Path, results: Results, dashed: Sequence[str]) -> None:
    """Quantiles with what chance does, distance against training time, and weights."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    grid = figure.add_gridspec(2, 12)
    top = [figure.add_subplot(grid[0, 3 * i : 3 * i + 3]) for i in range(len(HORIZONS))]
    quantiles(top, results)
    trained(figure.add_subplot(grid[1, :4]), results, dashed)
    for i, kind in enumerate(("daily", "monthly")):
        weights(figure.add_subplot(grid[1, 4 + 4 * i : 8 + 4 * i]), kind, results)
    handles = top[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=5, frameon=False, fontsize=7)
    figure.savefig(path, dpi=110)


def quantiles(axes: Sequence[Axes], results: Results) -> None:
    """One panel a horizon: the real series with 95 % intervals, then every seed of every arm."""
    about, place = results.about, np.arange(len(LEVELS))
    normal = {"stress": about["normal"]["stress"]}
    arms = {"normal distribution": [normal], **results.runs}
    for ax, h in zip(axes, map(str, HORIZONS)):
        for k, (part, years, chance, colour) in enumerate(REAL):
            values = 100 * np.array(about["real"][part]["quantiles"][h])
            low, high = 100 * np.array(about[chance][h]).T
            span = np.clip([values - low, high - values], 0, None)
            ax.errorbar(place + 0.08 * k, values, span, fmt="s", ms=4, capsize=3, color=colour,
                        label=f"real, {years}, 95 %")  # fmt: skip
        for i, (arm, runs) in enumerate(arms.items()):
            values = 100 * np.array([r["stress"]["quantiles"][h] for r in runs])
            points = np.tile(place + 0.17 + 0.075 * i, len(values))
            colour = "0.4" if i == 0 else COLOURS[i - 1]
            ax.plot(points, values.ravel(), "x" if i == 0 else "o", ms=3, color=colour, label=arm)
        ax.set_xticks(place + 0.35, [f"{100 * q:.0f} %" for q in LEVELS])
        ax.set_title(f"{h} days: quantiles, %", fontsize=8)
        ax.tick_params(labelsize=7)


def trained(ax: Axes, results: Results, dashed: Sequence[str]) -> None:
    """Distance to the training years along the time of training; grey: one half to the other."""
    for arm, colour in zip(results.runs, COLOURS):
        updates, distance = results.curve(arm, "sliced")
        style = "s--" if arm in dashed else "o-"
        ax.plot(updates * results.cost[arm].update, distance, style, color=colour, ms=4)
    for distance, style in (("halves", "-"), ("normal", ":")):
        about = results.about[distance]
        value = (about["before"] if distance == "normal" else about)["sliced"]
        ax.axhline(value, color="0.6", lw=1, ls=style)
    ax.set(xscale="log", yscale="log")
    ax.set_xlabel("training, processor s", fontsize=8)
    ax.set_title("sliced W2 to 1990-2014 (grey: halves, dotted: normal)", fontsize=8)
    ax.tick_params(labelsize=7, which="both")


def weights(ax: Axes, kind: str, results: Results) -> None:
    """Risk parity of every arm's first seed."""
    names, weigh = results.about["names"], f"risk_parity_{kind}"
    for part, _, _, colour in REAL:
        ax.plot(100 * np.array(results.about["real"][part][weigh]), "s", ms=4, color=colour)
    for runs, colour in zip(results.runs.values(), COLOURS):
        ax.plot(100 * np.array(runs[0]["stress"][weigh]), "_", ms=7, color=colour)
    ax.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    ax.tick_params(axis="y", labelsize=7)
    ax.set_title(f"risk parity of {kind} returns, weights in %", fontsize=8)
