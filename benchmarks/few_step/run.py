"""Few-step fine-tuning against its controls, at equal network evaluations.

python -m benchmarks.few_step.run tune|base|train [--steps 4] [--arms ...] [--seeds 0 1 2]

Lines go to tuning.jsonl, base.json and results.jsonl beside this file.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks.few_step.arms import ARMS, BATCH, Arm
from benchmarks.few_step.measure import floor, measured
from scoreward.methods.sampling import Sampling
from scoreward.models.builtin import portraits as builtin
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer

HERE = Path(__file__).parent
WEIGHTS = HERE.parents[1] / "runs" / "few_step"
TUNING = 50 * BATCH * 7  # network evaluations of a trial: 50 updates of FewStep with 4 steps
COUNT, CURVE = 2048, 1024  # pictures drawn at the end, and on the way
POINTS = 2  # of a curve


def trained(
    arm: str, steps: int, seed: int, split: str, budget: int, lr: float | None, points: int
) -> list[dict]:
    """One run: lines of measurements, the last with everything."""
    chosen: Arm = ARMS[arm]
    updates = budget // chosen.cost(steps)
    run = chosen.run(steps, lr, updates)
    trainer = Trainer(run.model, run.objective, run.source, run.optimizer, Team(), seed=seed)
    sampler, lines, spent = Sampling(steps=steps, eta=1.0).sampler(), [], 0.0
    marks = {round(updates * (k + 1) / points) for k in range(points)}
    for update in range(1, updates + 1):
        before = time.process_time()
        metrics = trainer.step().metrics
        spent += time.process_time() - before
        if update in marks:
            full = update == updates
            count = COUNT if full and split == "test" else CURVE
            numbers = measured(run.model, trainer.reading("ema"), sampler, split, count, full)
            kept = {k: metrics[k] for k in ("reward/mean", "reward/data") if k in metrics}
            lines.append(
                {"arm": arm, "steps": steps, "seed": seed, "lr": lr or chosen.lr, "split": split}
                | {"update": update, "evaluations": trainer.evaluations.total, "last": full}
                | {"cpu_seconds": round(spent, 1), "pictures": count}
                | {k: round(v, 5) for k, v in (numbers | kept).items()}
            )
            print(json.dumps(lines[-1]), flush=True)
    keep(trainer, f"{arm}, {steps}", seed)
    return lines


def keep(trainer: Trainer, name: str, seed: int) -> None:
    """The weights of the first seed, for pictures; not committed."""
    if seed == 0:
        WEIGHTS.mkdir(parents=True, exist_ok=True)
        save_file(dict(trainer.weights.snapshot("ema")), WEIGHTS / f"{name}.safetensors")


def append(name: str, lines: list[dict]) -> None:
    with (HERE / name).open("a", encoding="utf-8") as stream:
        stream.writelines(json.dumps(line) + "\n" for line in lines)


def tune(steps: int, arms: list[str]) -> None:
    """The same number of trials for each arm that has a rate to choose; validation only."""
    for arm in arms:
        for lr in ARMS[arm].trials:
            append("tuning.jsonl", trained(arm, steps, 100, "validation", TUNING, lr, 1))


def base() -> None:
    """The shipped weights at several numbers of steps, and the floor."""
    model, lines = builtin.portraits(), []
    for steps, eta in [(4, 0.0), (10, 0.0), *((n, 1.0) for n in (4, 7, 10, 20))]:
        sampler = Sampling(steps=steps, eta=eta).sampler()
        numbers = measured(model, model.denoiser, sampler, "test", COUNT, True)
        lines.append({"steps": steps, "eta": eta} | numbers)
        print(json.dumps(lines[-1]), flush=True)
    content = {"floor": floor(COUNT), "base": lines}
    (HERE / "base.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["tune", "base", "train"])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--updates", type=int, default=80, help="of FewStep; sets the budget")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "tune":
        tune(given.steps, given.arms)
    elif given.what == "base":
        base()
    else:
        for seed in given.seeds:
            for arm in given.arms:
                budget = given.updates * BATCH * (3 + given.steps)
                lines = trained(arm, given.steps, seed, "test", budget, None, POINTS)
                append("results.jsonl", lines)


if __name__ == "__main__":
    main()
