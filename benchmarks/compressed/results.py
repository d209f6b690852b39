"""The lines of a comparison: written one by one, so that an interrupted study goes on, and read."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

NAMES = ("frechet", "sliced")
SAMPLES = 1000  # drawn after training, in what a comparison costs


def append(path: Path, line: dict) -> None:
    """One JSON object more."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def write(path: Path, every: Sequence[dict]) -> None:
    """All lines at once, in place of what was there."""
    path.write_text("".join(json.dumps(line) + "\n" for line in every), encoding="utf-8")


def lines(path: Path) -> list[dict]:
    """All of them; none if there is no file."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def done(path: Path) -> set[tuple[str, int]]:
    """(arm, seed) of the runs that need not be repeated."""
    return {(r["arm"], r["seed"]) for r in lines(path) if r["kind"] == "run"}


@dataclass(frozen=True)
class Cost:
    """Median processor seconds of one update and of one sample."""

    update: float
    network: float
    recovery: float

    def total(self, updates: float, samples: int = SAMPLES) -> float:
        """Of training and sampling."""
        return updates * self.update + samples * (self.network + self.recovery)


class Results:
    """What the lines of one file say."""

    def __init__(self, path: Path) -> None:
        self.runs: dict[str, list[dict]] = defaultdict(list)
        timed: dict[str, list[dict]] = defaultdict(list)
        self.about: dict = {}
        for line in lines(path):
            match line["kind"]:
                case "run":
                    self.runs[line["arm"]].append(line)
                case "cost":
                    timed[line["arm"]].append(line)
                case "about":
                    self.about = line
        self.timed = timed
        self.cost = {
            arm: Cost(*(float(np.median([r[k] for r in rows])) for k in Cost.__annotations__))
            for arm, rows in timed.items()
        }

    def last(self, arm: str, name: str) -> np.ndarray:
        """The final distances of all seeds."""
        return np.array([r[name][-1] for r in self.runs[arm]])

    def curve(self, arm: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        """(updates, mean distance over seeds), without the start."""
        rows = self.runs[arm]
        return np.array(rows[0]["updates"][1:]), np.mean([r[name][1:] for r in rows], 0)

    def needed(self, arm: str, goals: dict[str, float]) -> list[float | None]:
        """Updates until every distance is at its goal or below, for each seed; None: never."""
        return [needed(run, goals) for run in self.runs[arm]]

    def saving(self, arm: str, reference: str) -> tuple[list[float | None], dict[str, float]]:
        """(cost of the reference over cost of the arm at equal or better quality, the goals).

        The goals are the reference's own final distances, the mean over its seeds. Costs are those
        of training until then and of `SAMPLES` samples; the reference is charged for the updates
        that its mean curve needs for the same goals.
        """
        goals = {name: float(self.last(reference, name).mean()) for name in NAMES}
        mean = dict(self.runs[reference][0])
        for name in NAMES:
            mean[name] = list(np.mean([r[name] for r in self.runs[reference]], 0))
        charged = self.cost[reference].total(needed(mean, goals) or mean["updates"][-1])
        found = self.needed(arm, goals)
        ratios = [None if u is None else charged / self.cost[arm].total(u) for u in found]
        return ratios, goals


def needed(run: dict, goals: dict[str, float]) -> float | None:
    """Updates until all goals hold, linear between measurements."""
    updates = run["updates"]
    for i in range(len(updates)):
        if all(run[name][i] <= goal for name, goal in goals.items()):
            if i == 0:
                return float(updates[0])
            shares = [
                (run[name][i - 1] - goal) / (run[name][i - 1] - run[name][i])
                for name, goal in goals.items()
                if run[name][i - 1] > goal
            ]
            return updates[i - 1] + max(shares, default=0.0) * (updates[i] - updates[i - 1])
    return None


def interval(values: Sequence[float] | np.ndarray) -> str:
    """Mean, and the 95 % t interval where there are several."""
    from scipy.stats import t

    x = np.asarray(values, float)
    if len(x) < 2:
        return f"{x.mean():.3g}"
    half = t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / len(x) ** 0.5
    return f"{x.mean():.3g} [{x.mean() - half:.3g}, {x.mean() + half:.3g}]"


def table(results: Results, references: Sequence[str]) -> str:
    """Markdown: quality, cost, and how much less than each reference at its quality."""
    head = ["arm", "m of d", "parameters", "PSNR of recovery", "Fréchet", "sliced W2"]
    head += ["ms an update", "ms a sample", "of it recovery"]
    head += [f"less than {r}" for r in references]
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for arm, runs in results.runs.items():
        first, cost = runs[0], results.cost[arm]
        cells = [arm, f"{first['m']} of {first['d']}", f"{first['parameters'] / 1e6:.2f} M"]
        cells += ["" if first["m"] == first["d"] else f"{first['decoding_psnr']:.1f} dB"]
        cells += [interval(results.last(arm, name)) for name in NAMES]
        cells += [f"{1000 * cost.update:.1f}", f"{1000 * (cost.network + cost.recovery):.2f}"]
        cells += [f"{1000 * cost.recovery:.2f}"]
        cells += [_factor(results.saving(arm, r)[0]) if r != arm else "" for r in references]
        rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _factor(ratios: Sequence[float | None]) -> str:
    reached = [r for r in ratios if r is not None]
    if not reached:
        return "not reached"
    spread = f"{min(reached):.2g} … {max(reached):.2g}" if len(reached) > 1 else f"{reached[0]:.2g}"
    return spread if len(reached) == len(ratios) else f"{spread} ({len(reached)} of {len(ratios)})"
