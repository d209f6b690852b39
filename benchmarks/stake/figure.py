"""Draws curves.jsonl, and prints the table of the page: python benchmarks/stake/figure.py"""

import json
from pathlib import Path

from matplotlib.figure import Figure

HERE = Path(__file__).parent
COLOURS = {"CPG": "#1f4e9c", "CPPO": "#b2452f"}


def main() -> None:
    lines = (HERE / "curves.jsonl").read_text(encoding="utf-8").splitlines()
    curves = [json.loads(line) for line in lines]
    names = list(dict.fromkeys(curve["problem"] for curve in curves))
    figure = Figure(figsize=(9.6, 2.7), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), sharey=True), names):
        for curve in (c for c in curves if c["problem"] == name):
            first = curve["regret"][0]
            share = [max(regret / first, 1e-5) for regret in curve["regret"]]
            label = curve["method"] if curve["seed"] == 0 else None
            axes.plot(curve["rounds"], share, color=COLOURS[curve["method"]], label=label, lw=1.2)
        axes.set_yscale("log")
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("rounds", fontsize=8)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.axes[0].set_ylabel("regret / regret of holding", fontsize=8)
    figure.savefig(HERE / "curves.png", dpi=110)
    print("| problem | optimum | regret of holding | CPG | CPPO | last switch (optimum) |")
    print("|---|---|---|---|---|---|")
    for name in names:
        print(row([curve for curve in curves if curve["problem"] == name]))


def row(curves: list[dict]) -> str:
    """Largest regret over seeds, in money and as a share of what there was to gain."""
    first = curves[0]
    cells = [first["problem"], f"{first['optimum']:.6f}", f"{first['regret'][0]:.4f}"]
    for method in COLOURS:
        ends = [curve["regret"][-1] for curve in curves if curve["method"] == method]
        worst = max(0.0, *ends)  # rounding may be negative
        cells.append(f"{worst:.2g} ({100 * worst / first['regret'][0]:.2g} %)")
    switches = [curve["last_switch"] for curve in curves]
    best = ", ".join(f"{s:.3f}" for s in first["optimal_switches"]) or "none"
    cells.append(f"{min(switches):.2f} to {max(switches):.2f} ({best})")
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
