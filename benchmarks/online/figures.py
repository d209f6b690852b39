"""curves.png and lettering.png from curves.jsonl.   python -m benchmarks.online.figures"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.online.tables import read
from scoreward.verdict.statistics import banded, common_grid

HERE = Path(__file__).parent
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B", "#7F7F7F")


LINES, MARKS = ("-", "--", ":"), ("o", "^", "s")


def looks(index: int) -> dict[str, str]:
    return {"color": COLOURS[index % 8], "linestyle": LINES[index // 8]}


def curve(axes: Any, seeds: list[dict], name: str, label: str, look: dict[str, str]) -> None:
    """Mean over seeds with its interval."""
    places = [np.array(x["evaluations"], float) for x in seeds]
    grid = common_grid(places)
    values = np.stack([np.interp(grid, p, x[name]) for p, x in zip(places, seeds, strict=True)])
    mean, band = banded(values)
    axes.plot(grid / 1000, mean, label=label, **look)
    if band is not None:
        axes.fill_between(grid / 1000, *band, color=look["color"], alpha=0.15, linewidth=0)


def draw(task: str, name: str) -> None:
    """One task's curves, and where the methods end."""
    lines = read("curves", task)
    trained = {m: s for m, s in lines.items() if len(s[0]["evaluations"]) > 1}
    order = sorted(trained, key=lambda m: -np.mean([x["strict"][-1] for x in trained[m]]))
    figure = Figure(figsize=(12, 5.2), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    base = trained[order[0]][0]["diversity"][0]
    for i, method in enumerate(order):
        look = looks(i)
        curve(left, trained[method], "strict", method, look)
        curve(middle, trained[method], "diversity", method, look)
        ends = [(x["diversity"][-1] / base, x["strict"][-1]) for x in trained[method]]
        mark = MARKS[i // 8]
        right.scatter(*zip(*ends, strict=True), color=look["color"], marker=mark, s=22)
    for method, seeds in lines.items():
        if method.startswith("guidance"):
            point = seeds[0]["diversity"][0] / base, seeds[0]["strict"][0]
            right.scatter(*point, marker="*", color="black", s=60)
            right.annotate(
                method.replace("_", " "),
                point,
                fontsize=7,
                xytext=(4, -8),
                textcoords="offset points",
            )
    left.set(title="all right, by the judge", xlabel="network evaluations (thousands)")
    middle.set(title="diversity", xlabel="network evaluations (thousands)")
    right.set(title="at the end: all right against diversity / base", xlabel="diversity / base")
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=9, fontsize=8
    )
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
    figure.savefig(HERE / name, dpi=110)


def main() -> None:
    draw("portraits", "curves.png")
    draw("lettering", "lettering.png")


if __name__ == "__main__":
    main()
