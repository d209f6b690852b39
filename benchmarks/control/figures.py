"""Figures and tables from what the studies wrote.

python -m benchmarks.control.figures        # *.png beside this file; tables to the screen
"""

import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import matplotlib.pyplot as plt

FOLDER = Path(__file__).parent
COLOURS = {
    "CPG": "tab:blue",
    "CPPO": "tab:green",
    "SB3 PPO": "tab:red",
    "SB3 PPO, scaled": "tab:orange",
}


def read(name: str) -> list[dict]:
    return [json.loads(line) for line in (FOLDER / name).read_text().splitlines()]


def grouped(rows: list[dict], key: Callable[[dict], tuple]) -> dict[tuple, list[dict]]:
    result: dict[tuple, list[dict]] = defaultdict(list)
    for row in rows:
        result[key(row)].append(row)
    return result


def optima() -> None:
    groups = grouped(read("optima.jsonl"), lambda r: (r["problem"], r["method"]))
    names = list(dict.fromkeys(problem for problem, _ in groups))
    figure, axes = plt.subplots(2, 3, figsize=(10, 5.6), sharex=True)
    print("| problem | optimum | method | gap at start | 30 rounds | 150: mean (worst) |")
    print("|---|---|---|---|---|---|")
    for axis, name in zip(axes.flat, names):
        for method in ("CPG", "CPPO"):
            rows = groups[name, method]
            for row in rows:
                rounds, gaps = zip(*row["gap"])
                axis.semilogy(rounds, gaps, color=COLOURS[method], lw=0.8, alpha=0.8)
            axis.plot([], [], color=COLOURS[method], label=method)
            ends = [row["gap"][-1][1] for row in rows]
            early = mean(gap for row in rows for k, gap in row["gap"] if k == 30)
            print(
                f"| {name} | {rows[0]['best']:.4f} | {method} | {rows[0]['gap'][0][1]:.3f} "
                f"| {early:.4f} | {mean(ends):.4f} ({max(ends):.4f}) |"
            )
        axis.set_title(f"{name}: optimum {groups[name, 'CPG'][0]['best']:.4f}", fontsize=9)
        axis.grid(alpha=0.3)
    axes[0, 0].legend()
    axes[1, 1].set_xlabel("round")
    for axis in axes[:, 0]:
        axis.set_ylabel("distance to the optimum")
    save(figure, "optima.png")


def steps() -> None:
    groups = grouped(read("steps.jsonl"), lambda r: (r["arm"], r["dt"]))
    arms = [arm for arm in COLOURS if any(arm == key[0] for key in groups)]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8))
    print("| arm | dt | gap at the end: mean (worst) | mean over the run | seeds | seconds a run |")
    print("|---|---|---|---|---|---|")
    for arm in arms:
        dts = sorted((dt for name, dt in groups if name == arm), reverse=True)
        summary = []
        for dt in dts:
            rows = groups[arm, dt]
            ends = [row["gap"][-1][1] for row in rows]
            whole = mean(gap for row in rows for _, gap in row["gap"])
            seconds = mean(row["seconds"] for row in rows)
            summary.append((mean(ends), whole))
            left.plot([dt] * len(ends), ends, ".", color=COLOURS[arm], ms=4, alpha=0.6)
            print(
                f"| {arm} | {dt} | {mean(ends):.4f} ({max(ends):.4f}) | {whole:.4f} "
                f"| {len(rows)} | {seconds:.0f} |"
            )
        for axis, which in ((left, 0), (right, 1)):
            axis.loglog(dts, [s[which] for s in summary], color=COLOURS[arm], label=arm)
    for axis, title in ((left, "at the end"), (right, "mean over the run")):
        axis.set(xlabel="time step", title=f"reward lost to the optimum, {title}")
        axis.invert_xaxis()
        axis.grid(alpha=0.3)
    left.legend()
    save(figure, "steps.png")


def trap() -> None:
    content = json.loads((FOLDER / "trap.json").read_text())
    figure, axis = plt.subplots(figsize=(5.2, 3.4))
    for way, colour in (("orthogonality", "tab:green"), ("squared_td_error", "tab:red")):
        groups = grouped(content["fits"], lambda r: (r["dt"],))
        dts = [dt for (dt,) in groups]
        curvature = [mean(row[way][0] for row in rows) for rows in groups.values()]
        axis.semilogx(dts, curvature, "o-", color=colour, label=way.replace("_", " "))
        print(way, dict(zip(dts, (round(v, 4) for v in curvature))))
    axis.axhline(content["exact"][0], color="black", lw=0.8, ls="--", label="exact")
    axis.invert_xaxis()
    axis.set(xlabel="time step", ylabel="curvature k2 of the fitted value")
    axis.grid(alpha=0.3)
    axis.legend()
    save(figure, "trap.png")


def save(figure: plt.Figure, name: str) -> None:
    figure.tight_layout()
    figure.savefig(FOLDER / name, dpi=80)
    plt.close(figure)


def main() -> None:
    optima()
    trap()
    if (FOLDER / "steps.jsonl").exists():
        steps()


if __name__ == "__main__":
    main()
