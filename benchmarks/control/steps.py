"""What a smaller time step does to learning: ours and Stable-Baselines3's PPO, at equal time.

    python -m benchmarks.control.steps tune      # tuning.jsonl: six settings each at dt = 0.1
    python -m benchmarks.control.steps sweep     # steps.jsonl: the best of them at every dt

Everyone gets L1 without entropy, networks of 2 × 32, 64 parallel paths, and the same simulated time
for every dt, hence 1/dt more steps. The judge is paired: see `common`.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import process_time

import torch

from benchmarks.control import ours, peer
from benchmarks.control.common import TASKS, Judge

FOLDER = Path(__file__).parent
STEPS = (0.1, 0.03, 0.01, 0.003)
TIME = 1600.0  # simulated units per run, all paths together
LOOKS = 5  # times the judge looks, evenly spread
TUNING_SEEDS = (100, 101)

ARMS: dict[str, tuple[Callable, list]] = {
    "CPG": (
        ours.learn,
        [ours.Settings("CPG", lr, critic_lr=c) for lr in (1e-3, 3e-3, 1e-2) for c in (3e-3, 1e-2)],
    ),
    "CPPO": (
        ours.learn,
        [ours.Settings("CPPO", lr, r) for lr in (1e-3, 3e-3, 1e-2) for r in (0.05, 0.1)],
    ),
    "SB3 PPO": (
        peer.learn,
        [peer.Settings(lr, gae) for lr in (1e-3, 3e-3, 1e-2) for gae in (0.9, 0.95)],
    ),
    "SB3 PPO, scaled": (
        peer.learn,
        [peer.Settings(lr, gae, True) for lr in (1e-3, 3e-3, 1e-2) for gae in (0.9, 0.95)],
    ),
}


def run(arm: str, setting: int, dt: float, seed: int, judge: Judge) -> dict:
    """One training run, judged on the way; a run that breaks down has an infinite gap."""
    learn, settings = ARMS[arm]
    curve, start, waiting = [], process_time(), [TIME * (k + 1) / LOOKS for k in range(LOOKS)]

    def watch(simulated: float, mean: Callable) -> None:
        if waiting and simulated >= waiting[0] - 1e-6:
            del waiting[0]
            curve.append([round(simulated), float(f"{judge.gap(mean):.5g}")])

    try:
        mean = learn(TASKS["L1"](), settings[setting], dt, TIME, seed, watch)
        if len(curve) < LOOKS:
            curve.append([round(TIME), float(f"{judge.gap(mean):.5g}")])
    except (FloatingPointError, ValueError) as error:
        print(error)
        curve.append([round(TIME), float("inf")])
    return {
        "arm": arm,
        "setting": setting,
        "dt": dt,
        "seed": seed,
        "seconds": round(process_time() - start, 1),
        "gap": curve,
    }


def score(row: dict) -> float:
    """Mean gap over the last half: one lucky look does not win."""
    late = [gap for _, gap in row["gap"][LOOKS // 2 :]]
    return sum(late) / len(late)


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def add(path: Path, row: dict) -> None:
    with path.open("a") as file:
        file.write(json.dumps(row) + "\n")
    print(row["arm"], row["setting"], row["dt"], row["seed"], row["gap"][-1], row["seconds"])


def tune() -> None:
    path, judge = FOLDER / "tuning.jsonl", Judge(TASKS["L1"]())
    done = {(r["arm"], r["setting"], r["seed"]) for r in read(path)}
    for arm in ("CPG", "CPPO", "SB3 PPO"):  # the scaled arm is the same at the coarsest step
        for setting in range(len(ARMS[arm][1])):
            for seed in TUNING_SEEDS:
                if (arm, setting, seed) not in done:
                    add(path, run(arm, setting, STEPS[0], seed, judge))


def chosen(arm: str) -> int:
    """The setting with the best mean score in tuning."""
    rows = [r for r in read(FOLDER / "tuning.jsonl") if r["arm"] == arm.split(",")[0]]
    settings = range(len(ARMS[arm][1]))
    return min(settings, key=lambda s: sum(score(r) for r in rows if r["setting"] == s))


def sweep(seeds: int) -> None:
    path, judge = FOLDER / "steps.jsonl", Judge(TASKS["L1"]())
    done = {(r["arm"], r["dt"], r["seed"]) for r in read(path)}
    for seed in range(seeds):
        for dt in STEPS:
            for arm in ARMS:
                if (arm, dt, seed) not in done:
                    add(path, run(arm, chosen(arm), dt, seed, judge))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["tune", "sweep"])
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "tune":
        tune()
    else:
        sweep(options.seeds)


if __name__ == "__main__":
    main()
