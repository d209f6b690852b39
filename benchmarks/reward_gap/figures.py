"""toy.png, portraits.png and gaussian.png, and the tables of README.md.

    python -m benchmarks.reward_gap.figures

Intervals are 95 % bootstraps over seeds; with five seeds they are too narrow by about a quarter.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from scoreward.verdict.statistics import Estimate, estimate

HERE = Path(__file__).parent
ETAS = (0.5, 1.0, 1.2, 1.5, 2.0)
INK = {"ddpo": "#0072B2", "mixgrpo": "#D55E00", "vgrpo": "#009E73", "ddpo_kl": "#CC79A7"}
SHADES = ("#9ecae1", "#4292c6", "#2171b5", "#08519c", "#08306b")
FINE = {"toy": 100, "portraits": 50}
Value = Callable[[dict], float]


def lines(name: str) -> list[dict]:
    path = HERE / name
    return [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []


def cell(records: list[dict], eta: float, steps: int) -> dict:
    """The record of one sampler."""
    return next(r for r in records if (r["eta"], r["steps"]) == (eta, steps))


def of(part: str, steps: int, what: str, noisy: bool, score: str = "reward") -> Value:
    """A number of a run: the mean or the gap of the ODE or of the training noise."""
    return lambda run: cell(run[part], run["eta"] if noisy else 0.0, steps)[what][score][0]


def runs(task: str, method: str, eta: float) -> list[dict]:
    """The seeds there are of one method and noise."""
    found = [r for r in lines("results.jsonl") if (r["task"], r["method"]) == (task, method)]
    return [r for r in found if r["eta"] == eta]


def over_seeds(task: str, method: str, eta: float, value: Value) -> Estimate | None:
    """Mean and interval of a number over the seeds."""
    values = [value(run) for run in runs(task, method, eta)]
    return estimate(values) if values else None


def methods(task: str) -> list[str]:
    present = {r["method"] for r in lines("results.jsonl") if r["task"] == task}
    return [m for m in INK if m in present]


def curve(axes: Any, task: str, method: str, value: Value, label: str, **look: Any) -> None:
    """A number against the training noise."""
    found = [(eta, e) for eta in ETAS if (e := over_seeds(task, method, eta, value))]
    x, y = [eta for eta, _ in found], [e.mean for _, e in found]
    ends = [e.interval or (e.mean, e.mean) for _, e in found]
    bars = [[m - low for m, (low, _) in zip(y, ends)], [high - m for m, (_, high) in zip(y, ends)]]
    axes.errorbar(x, y, np.abs(bars), label=label, capsize=2, marker="o", ms=3, **look)


def base_of(task: str, part: str, eta: float, steps: int, what: str) -> float:
    """The same before training, measured once."""
    found = next(x for x in lines("base.jsonl") if x["task"] == task)
    return cell(found[part], eta, steps)[what]["reward"][0]


def against_eta(task: str) -> None:
    """ODE reward and gap against the training noise, on the grid of training and on a fine one."""
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    fine = FINE[task]
    for method in methods(task):
        ink = INK[method]
        curve(left, task, method, of("coarse", 10, "mean", False), method, color=ink)
        curve(left, task, method, of("fine", fine, "mean", False), "", color=ink, ls=":")
        curve(middle, task, method, of("coarse", 10, "gap", True), method, color=ink)
        curve(right, task, method, of("fine", fine, "gap", True), method, color=ink)
    for axes, part, steps in ((middle, "coarse", 10), (right, "fine", fine)):
        start = [base_of(task, part, eta, steps, "gap") for eta in ETAS]
        axes.plot(ETAS, start, color="black", ls="--", lw=1, label="before training")
        axes.axhline(0, color="0.7", lw=1)
    left.axhline(base_of(task, "coarse", 0.0, 10, "mean"), color="black", ls="--", lw=1)
    left.set(title=f"reward under the ODE (dots: {fine} steps)", ylabel="reward")
    middle.set(title="gap at the training η, 10 steps")
    right.set(title=f"gap at the training η, {fine} steps")
    right.sharey(middle)
    middle.legend(fontsize=7, frameon=False)
    for axes in (left, middle, right):
        axes.set_xlabel("η of training")
        axes.grid(alpha=0.3)
    figure.savefig(HERE / f"{task}.png", dpi=110)


def through_training(task: str) -> None:
    """The gap on ten steps before, half way and at the end, one panel per method."""
    names = methods(task)
    figure = Figure(figsize=(3.1 * len(names), 3.1), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, method in zip(panels, names, strict=True):
        for shade, eta in zip(SHADES, ETAS, strict=True):
            seen = [
                over_seeds(task, method, eta, of(p, 10, "gap", True)) for p in ("middle", "coarse")
            ]
            if None in seen:
                continue
            ends = [e.interval or (e.mean, e.mean) for e in seen if e]
            means = [base_of(task, "coarse", eta, 10, "gap"), *(e.mean for e in seen if e)]
            bars = [[0, *(m - low for m, (low, _) in zip(means[1:], ends))]]
            bars += [[0, *(high - m for m, (_, high) in zip(means[1:], ends))]]
            axes.errorbar(
                (0, 0.5, 1), means, np.abs(bars), color=shade, marker="o", ms=3, capsize=2,
                label=f"η = {eta:g}",
            )  # fmt: skip
        axes.axhline(0, color="0.7", lw=1)
        axes.set(title=method, xlabel="share of training")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("gap at the training η, 10 steps")
    panels[0].legend(fontsize=7, frameon=False)
    figure.savefig(HERE / f"{task}_training.png", dpi=110)


def known_optimum() -> None:
    """The Gaussian case: what training found beside the closed form."""
    found = lines("gaussian.jsonl")
    if not found:
        return
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = figure.subplots()
    for name, ink in (("sde", "#D55E00"), ("ode", "#0072B2")):
        each = {eta: [r for r in found if r["eta"] == eta] for eta in ETAS}
        exact = [each[eta][0][f"{name}_optimum"] for eta in ETAS if each[eta]]
        means = [estimate([r[name] for r in each[eta]]).mean for eta in ETAS if each[eta]]
        x = [eta for eta in ETAS if each[eta]]
        axes.plot(x, exact, color=ink, label=f"{name.upper()}, exact optimum")
        axes.plot(x, means, "o", color=ink, label=f"{name.upper()}, trained")
    axes.set(xlabel="η of training", ylabel="mean reward gained", title="N(0, 1), r = x, path KL")
    axes.legend(fontsize=8, frameon=False)
    axes.grid(alpha=0.3)
    figure.savefig(HERE / "gaussian.png", dpi=110)


def text(e: Estimate | None) -> str:
    if e is None:
        return "–"
    if e.interval is None:
        return f"{e.mean:.3f}"
    return f"{e.mean:.3f} [{e.interval[0]:.3f}, {e.interval[1]:.3f}]"


def table(task: str) -> str:
    """Markdown: one row per method and noise."""
    fine = FINE[task]
    head = [
        "method", "η", "seeds", "ODE, 10 steps", f"ODE, {fine} steps", "SDE(η), 10 steps",
        "gap, 10 steps", f"gap, {fine} steps",
    ]  # fmt: skip
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for method in methods(task):
        for eta in ETAS:
            values = [
                of("coarse", 10, "mean", False),
                of("fine", fine, "mean", False),
                of("coarse", 10, "mean", True),
                of("coarse", 10, "gap", True),
                of("fine", fine, "gap", True),
            ]
            cells = [text(over_seeds(task, method, eta, v)) for v in values]
            seeds = len(runs(task, method, eta))
            rows.append(f"| {method} | {eta:g} | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def slopes(task: str) -> list[str]:
    """Per method: by how much the ODE's reward changes from η = 1 to 2, seed by seed, and more."""
    told = []
    for method in methods(task):
        for what, value in (
            ("ODE, 10 steps", of("coarse", 10, "mean", False)),
            (f"ODE, {FINE[task]} steps", of("fine", FINE[task], "mean", False)),
        ):
            for low, high in ((0.5, 1.0), (1.0, 1.5), (1.0, 2.0)):
                one, two = (
                    {r["seed"]: value(r) for r in runs(task, method, e)} for e in (low, high)
                )
                both = sorted(one.keys() & two.keys())
                if both:
                    change = estimate([two[s] - one[s] for s in both])
                    told.append(f"| {method} | {what} | {low:g} → {high:g} | {text(change)} |")
    return told


def moduli(task: str) -> list[str]:
    """Per method: |gap| on ten steps, mean over the noises, before, half way and at the end."""
    start = float(np.mean([abs(base_of(task, "coarse", eta, 10, "gap")) for eta in ETAS]))
    told = ["| method | before | half way | end | end less half way |", "|---|---|---|---|---|"]
    for method in methods(task):
        each = {eta: {r["seed"]: r for r in runs(task, method, eta)} for eta in ETAS}
        whole = sorted(set.intersection(*(set(found) for found in each.values())))
        if not whole:
            continue
        middle, end = (
            [
                float(np.mean([abs(of(part, 10, "gap", True)(each[e][seed])) for e in ETAS]))
                for seed in whole
            ]
            for part in ("middle", "coarse")
        )
        change = [b - a for a, b in zip(middle, end, strict=True)]
        cells = [text(estimate(v)) for v in (middle, end, change)]
        told.append(f"| {method} | {start:.3f} | " + " | ".join(cells) + " |")
    return told


def write_tables() -> None:
    """Between the marks in README.md."""
    path = HERE / "README.md"
    page = path.read_text(encoding="utf-8")
    for task in ("toy", "portraits"):
        if not methods(task):
            continue
        change = ["| method | sampler | η | change, paired by seed |", "|---|---|---|---|"]
        for mark, body in (
            (task, table(task)),
            (f"{task} changes", "\n".join([*change, *slopes(task)])),
            (f"{task} moduli", "\n".join(moduli(task))),
        ):
            begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
            head, rest = page.split(begin)
            page = head + begin + "\n" + body + "\n" + end + rest.split(end)[1]
    path.write_text(page, encoding="utf-8")


def main() -> None:
    for task in ("toy", "portraits"):
        if methods(task):
            against_eta(task)
            through_training(task)
    known_optimum()
    write_tables()


if __name__ == "__main__":
    main()
