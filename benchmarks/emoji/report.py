"""The table of README.md and curves.png, from curves.jsonl.   python -m benchmarks.emoji.report"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from benchmarks.emoji.run import lines

HERE = Path(__file__).parent
MARKS = ("<!-- table -->\n", "<!-- end of table -->\n")
SHOWN = ("reward", "judge", "likeness", "nearest")
COLOURS = {"free": "#D55E00", "anchor": "#0072B2", "cautious": "#009E73"}
TITLES = {
    "train": "captions of training",
    "test": "test captions, never trained on",
}

Numbers = dict[str, float]


def at(line: dict, index: int) -> Numbers:
    """What was measured at one point of a run."""
    return {k: v[index] for k, v in line.items() if isinstance(v, list)}


def stopped(line: dict) -> Numbers:
    """Where the judge likes the validation captions best."""
    return at(line, int(np.argmax(line["validation/judge"])))


def hybrid(line: dict) -> Numbers:
    """The change that the judge likes best on the validation captions."""
    return max(line["hybrid"].values(), key=lambda numbers: numbers["validation/judge"])


def rows() -> list[tuple[str, list[Numbers]]]:
    """Name and the numbers of every seed."""
    every = lines()
    found: list[tuple[str, list[Numbers]]] = [("base", [at(every[0], 0)])]
    for arm in dict.fromkeys(line["arm"] for line in every):
        seeds = [line for line in every if line["arm"] == arm]
        found.append((arm, [at(line, -1) for line in seeds]))
        if arm.endswith("_free"):
            found.append((f"{arm}, stopped early", [stopped(line) for line in seeds]))
            found.append((f"{arm}, hybrid", [hybrid(line) for line in seeds]))
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
    """Reward and judge against network evaluations, for each method and kind of caption."""
    every = lines()
    methods = list(dict.fromkeys(line["arm"].split("_")[0] for line in every))
    drawing = Figure(figsize=(13, 2.9 * len(methods)), layout="constrained")
    grid = drawing.subplots(len(methods), 4, squeeze=False)
    for axes, method in zip(grid, methods):
        for place, (split, name) in zip(axes, [(s, n) for s in TITLES for n in SHOWN[:2]]):
            for line in every:
                kind, of = line["arm"].split("_")[1], line["arm"].split("_")[0]
                if of == method:
                    label = kind if line["seed"] == 0 else None
                    x = np.array(line["evaluations"]) / 1000
                    place.plot(x, line[f"{split}/{name}"], color=COLOURS[kind], label=label)
            place.set_title(f"{method}: {name}, {TITLES[split]}", fontsize=8)
            place.set_xlabel("network evaluations (thousands)", fontsize=7)
            place.tick_params(labelsize=7)
            place.grid(alpha=0.3)
        axes[0].legend(fontsize=7, frameon=False)
    drawing.savefig(path, dpi=100)


def main() -> None:
    page = HERE / "README.md"
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(MARKS[0])
    after = rest.split(MARKS[1])[1]
    page.write_text(before + MARKS[0] + table() + MARKS[1] + after, encoding="utf-8")
    figure(HERE / "curves.png")


if __name__ == "__main__":
    main()
