"""The table of README.md and curves.png, from curves.jsonl.   python -m benchmarks.emoji.report"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.emoji.arms import ARMS
from benchmarks.emoji.run import lines

HERE = Path(__file__).parent
MARKS = ("<!-- table -->\n", "<!-- end of table -->\n")
SHOWN = ("reward", "judge", "likeness", "nearest")
COLOURS = {"free": "#D55E00", "anchor": "#0072B2", "cautious": "#009E73"}
TITLES = {
    "reward": "reward",
    "judge": "judge, same EfficientNet",
    "likeness": "likeness, no network",
    "nearest": "distance to real drawings",
}

Numbers = dict[str, float]


def at(line: dict, index: int) -> Numbers:
    """What was measured at one point of a run."""
    return {k: v[index] for k, v in line.items() if isinstance(v, list)}


def stopped(line: dict, by: str) -> Numbers:
    """Where a number of the validation captions is best."""
    return at(line, int(np.argmax(line[f"validation/{by}"])))


def rows() -> list[tuple[str, list[Numbers]]]:
    """Name and the numbers of every seed."""
    every = lines()
    found: list[tuple[str, list[Numbers]]] = [("base", [at(every[0], 0)])]
    for arm in sorted({line["arm"] for line in every}, key=list(ARMS).index):
        seeds = [line for line in every if line["arm"] == arm]
        found.append((arm, [at(line, -1) for line in seeds]))
        if not arm.endswith("_free"):
            continue
        for by in ("judge", "likeness"):
            found.append((f"{arm}, stopped by {by}", [stopped(line, by) for line in seeds]))
        for time in seeds[0]["hybrid"]:
            found.append((f"{arm}, hybrid at {time}", [line["hybrid"][time] for line in seeds]))
    return found


def shown(seeds: Sequence[Numbers], name: str) -> str:
    """Mean, and the range over seeds; a dash for what was not measured."""
    values = [numbers[name] for numbers in seeds if name in numbers]
    if not values:
        return "–"
    digits = 1 if name.endswith("nearest") else 3
    mean = f"{np.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.{digits}f} … {max(values):.{digits}f})"


def table() -> str:
    columns = [*(f"test/{n}" for n in SHOWN), "train/reward", "train/judge", "drift", "evaluations"]
    text = [f"| | seeds | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    for name, seeds in rows():
        cells = [shown(seeds, c) for c in columns[:-1]]
        spent = [numbers["evaluations"] for numbers in seeds if "evaluations" in numbers]
        cells.append(f"{np.mean(spent):,.0f}" if spent else "as the free run")
        text.append(f"| {name} | {len(seeds)} | {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def figure(path: Path) -> None:
    """What was measured on test captions, against network evaluations, for each method."""
    every = lines()
    methods = list(dict.fromkeys(line["arm"].split("_")[0] for line in every))
    drawing = Figure(figsize=(13, 2.9 * len(methods)), layout="constrained")
    grid = drawing.subplots(len(methods), len(SHOWN), squeeze=False)
    for axes, method in zip(grid, methods):
        for place, name in zip(axes, SHOWN):
            panel(place, [x for x in every if x["arm"].startswith(method)], name)
            place.set_title(f"{method}: {TITLES[name]}", fontsize=9)
        axes[0].legend(fontsize=7, frameon=False)
    drawing.savefig(path, dpi=90)


def panel(axes: Any, runs: Sequence[dict], name: str) -> None:
    """One line for every run, seeds of an arm in one colour."""
    for run in runs:
        kind = run["arm"].split("_")[1]
        label = kind if run["seed"] == 0 else None
        x = np.array(run["evaluations"]) / 1000
        axes.plot(x, run[f"test/{name}"], color=COLOURS[kind], label=label, linewidth=1.2)
    axes.set_xlabel("network evaluations (thousands)", fontsize=7)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)


def main() -> None:
    page = HERE / "README.md"
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    page.write_text(before + MARKS[0] + table() + MARKS[1] + after, encoding="utf-8")
    figure(HERE / "curves.png")


if __name__ == "__main__":
    main()
