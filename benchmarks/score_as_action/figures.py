"""The figures of docs/score_as_action.md and the tables of README.md.

python -m benchmarks.score_as_action.figures
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from scoreward.verdict.statistics import estimate

HERE = Path(__file__).parent
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C564B")
STEPS, ARMS = (25, 50, 100), ("score_as_action", "ddpo")


def values() -> str:
    """Explained variance by time, and a table of its mean."""
    found = json.loads((HERE / "values.json").read_text())
    figure = Figure(figsize=(8.5, 4.2), layout="constrained")
    axes, rows = figure.subplots(), []
    times = np.zeros(0)
    for (name, seeds), colour in zip(found["forms"].items(), COLOURS):
        times = np.array(seeds[0]["held out"]["t"])
        each = np.array([s["held out"]["explained"] for s in seeds])
        axes.plot(times, each.mean(0), label=name, color=colour)
        axes.fill_between(times, each.min(0), each.max(0), color=colour, alpha=0.12, linewidth=0)
        cells = [estimated([part(s, low, high) for s in seeds]) for low, high in BANDS]
        rows.append([name, str(round(np.mean([s["passes"] for s in seeds]), 1)), *cells])
    plain = np.array([s["plug in"]["explained"] for s in next(iter(found["forms"].values()))])
    axes.plot(times, plain.mean(0), label="r(x0hat) alone", color="black", linestyle="--")
    axes.axhline(0, color="grey", linewidth=0.6)
    axes.set(xlabel="time (1 is noise)", ylabel="explained variance of the reward", ylim=(-0.6, 1))
    axes.invert_xaxis()
    axes.legend(fontsize=7)
    figure.savefig(HERE.parents[1] / "docs" / "score_as_action_values.png", dpi=110)
    seeds = next(iter(found["forms"].values()))
    cells = [estimated([part(s, low, high, "plug in") for s in seeds]) for low, high in BANDS]
    rows.append(["r(x0hat) alone, nothing learned", "–", *cells])
    head = ["value function", "passes", *(f"{low} < t ≤ {high}" for low, high in BANDS)]
    return table(head, rows)


BANDS = ((0.66, 1.0), (0.33, 0.66), (0.0, 0.33))


def part(seed: dict, low: float, high: float, which: str = "held out") -> float:
    """Mean explained variance at the times of a band."""
    pairs = zip(seed[which]["t"], seed[which]["explained"], strict=True)
    return float(np.mean([e for t, e in pairs if low < t <= high]))


def estimated(numbers: Sequence[float], digits: int = 3) -> str:
    value = estimate(list(numbers))
    if value.interval is None:
        return f"{value.mean:.{digits}f}"
    low, high = value.interval
    return f"{value.mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(r) + " |" for r in (head, *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])


def lines() -> list[dict]:
    return [json.loads(x) for x in (HERE / "transfer.jsonl").read_text().splitlines()]


def runs(arm: str, what: str) -> list[dict]:
    """The short or long runs of an arm at the rate that was chosen for it."""
    trials = [x for x in lines() if x["what"] == "trial" and x["arm"] == arm]
    best = max(trials, key=lambda x: sum(x["scores"]["reward sde 50"]))["rate"]
    mine = [x for x in lines() if x["what"] == what and x["arm"] == arm and x["rate"] == best]
    return sorted(mine, key=lambda x: x["seed"])


def gains(arm: str, key: str, what: str = "run") -> list[float]:
    """Mean gain over the base on the same prompts and noises, one number a seed."""
    base = next(x for x in lines() if x["what"] == "base" and x["split"] == "test")["scores"]
    return [float(np.mean(np.subtract(x["scores"][key], base[key]))) for x in runs(arm, what)]


def transfer(what: str = "run", picture: str = "score_as_action_transfer") -> str:
    """Gains of each arm at each number of steps, and how they differ from those at 50."""
    figure = Figure(figsize=(8.5, 3.6), layout="constrained")
    panels: Any = figure.subplots(1, 2, sharey=True)
    rows = []
    for axes, kind in zip(panels, ("sde", "ode"), strict=True):
        for arm, colour in zip(ARMS, COLOURS):
            each = np.array([gains(arm, f"reward {kind} {n}", what) for n in STEPS])
            axes.plot(STEPS, each, color=colour, alpha=0.3, linewidth=0.8)
            axes.plot(STEPS, each.mean(1), color=colour, marker="o", label=arm)
            cells = [estimated(row) for row in each]
            cells += [estimated(each[i] - each[1]) for i in (0, 2)]
            rows.append([arm, kind.upper(), str(each.shape[1]), *cells])
        axes.axhline(0, color="grey", linewidth=0.6)
        axes.set(title=kind.upper(), xlabel="steps of the sampler", xticks=STEPS)
    panels[0].set_ylabel("gain in reward over the base")
    panels[0].legend(fontsize=8)
    figure.savefig(HERE.parents[1] / "docs" / f"{picture}.png", dpi=110)
    head = ["arm", "sampler", "seeds", *(f"gain at {n}" for n in STEPS), "25 − 50", "100 − 50"]
    return table(head, rows)


def judged(what: str = "run") -> str:
    """The same gains by the judge, which trained nothing."""
    rows = [
        [arm, kind.upper(), *(estimated(gains(arm, f"judge {kind} {n}", what)) for n in STEPS)]
        for kind in ("sde", "ode")
        for arm in ARMS
    ]
    return table(["arm", "sampler", *(f"gain at {n}" for n in STEPS)], rows)


def analytic() -> str:
    """The exact gains of analytic.json."""
    found = json.loads((HERE / "analytic.json").read_text())
    rows = []
    for kind in ("sde", "ode"):
        for arm, gain in found["gains"].items():
            each = {n: np.array(gain[f"{kind} {n}"]) for n in (25, 50, 100, 400)}
            cells = [estimated((each[n] - each[50]).tolist(), 4) for n in (25, 100, 400)]
            rows.append([arm, kind.upper(), estimated(each[50].tolist(), 4), *cells])
    return table(["arm", "sampler", "gain at 50", "25 − 50", "100 − 50", "400 − 50"], rows)


def tuning() -> str:
    """Every trial: gain of validation reward at half of the rounds."""
    base = next(x for x in lines() if x["what"] == "base" and x["split"] == "validation")
    start = np.mean(base["scores"]["reward sde 50"])
    rows = [
        [x["arm"], f"{x['rate']:g}", f"{np.mean(x['scores']['reward sde 50']) - start:+.4f}"]
        for x in lines()
        if x["what"] == "trial"
    ]
    return table(["arm", "learning rate", "gain on validation"], sorted(rows))


def main() -> None:
    page = HERE / "README.md"
    text = page.read_text(encoding="utf-8")
    parts = {"values": values, "transfer": transfer, "judged": judged, "tuning": tuning}
    parts["analytic"] = analytic
    if any(x["what"] == "long" for x in lines()):
        parts["long"] = lambda: transfer("long", "score_as_action_transfer_long")
        parts["judged long"] = lambda: judged("long")
    for name, make in parts.items():
        start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, rest = text.split(start)
        text = f"{before}{start}\n{make()}\n{end}{rest.split(end)[1]}"
    page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
