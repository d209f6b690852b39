"""Every online method at equal network evaluations.

    python -m benchmarks.online.run tune vgrpo --task portraits           all trials of a method
    python -m benchmarks.online.run train vgrpo --task portraits --seed 3   a line of curves.jsonl
    python -m benchmarks.online.run control guidance --task portraits     a control's line

`tune` measures on validation prompts and writes tuning.jsonl; `train` takes the method's best trial
there, trains it with another seed and measures on test prompts, which nothing was tuned on.
"""

import argparse
import fcntl
import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.online.arms import ABLATIONS, ARMS, BUDGET, TUNING, Arm
from benchmarks.online.tasks import moved, regret, translated
from scoreward.commands.train import build
from scoreward.methods.sampling import Sampling
from scoreward.models.weights import Snapshot
from scoreward.report.comparison.comparison import curve_of
from scoreward.training.checkpoint import newest, read_snapshot
from scoreward.training.evaluations.pictures import evaluate
from scoreward.training.folder import RunFolder
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer

HERE = Path(__file__).parent
CURVES, TRIALS, ABLATED = (HERE / f"{n}.jsonl" for n in ("curves", "tuning", "ablations"))
POINTS = {"validation": 2, "test": 5}  # evaluations after the start
SWEPT = 1  # seeds whose model is measured under many samplers
TUNING_SEED = 100
SAMPLERS = {
    f"{n}{s}": Sampling(steps=s, eta=e)
    for s in (5, 10, 20)
    for n, e in (("ode", 0.0), ("sde", 1.0))
}


def arm(method: str) -> Arm:
    """An arm by name."""
    found = [a for a in ARMS if a.method == method]
    if not found:
        raise SystemExit(f"unknown method {method!r}; have {', '.join(a.method for a in ARMS)}")
    return found[0]


def cost_of(run: Run) -> int:
    """Network evaluations of an ordinary round; the first and every tenth also check the ratio."""
    trainer = Trainer(run.model, run.objective, run.source, run.optimizer, Team(), seed=1)
    start = {n: p.detach().clone() for n, p in trainer.weights.parameters.items()}
    trainer.step()
    before = trainer.evaluations.total
    trainer.step()
    trainer.weights.load(start)
    return trainer.evaluations.total - before


def prepared(task: str, of: Arm, words: str, split: str, seed: int, folder: Path) -> Run:
    """A run of the arm's budget, or a trial's, measured at equal distances."""
    budget = int(BUDGET[task] * (TUNING if split == "validation" else of.share))
    base = "lettering" if task == "lettering" else "portraits"
    run, _ = build(f"{base}_{of.recipe}", shlex.split(translated(task, words)), "benchmark")
    run = moved(run, task, split)
    every = max(1, round(budget / cost_of(run) / POINTS[split]))
    evaluation = run.evaluation
    if evaluation is None:
        raise SystemExit(f"{base}_{of.recipe} has no evaluation to compare by")
    samplers = {"ode": evaluation.samplers["ode"]}
    shutil.rmtree(folder, ignore_errors=True)
    return replace(
        run,
        budget=Budget(evaluations=budget),
        evaluation=replace(evaluation, every=every, samplers=samplers),
        keeping=Keeping(every=10_000, last=1),
        seed=seed,
        folder=folder,
    )


def finished(run: Run) -> dict:
    """Train; the run's curve."""
    regrets = []
    for moment in run.start():
        if moment.evaluation:
            regrets.append(regret(run))
            ode = moment.evaluation["ode"]
            shown = {k: round(v, 3) for k, v in ode.items() if isinstance(v, float)}
            print(run.name, run.seed, moment.round, moment.evaluations.total, shown, flush=True)
    if (status := RunFolder(run.folder).about().get("status")) != "finished":
        raise SystemExit(f"{run.folder} was {status}; nothing is written for it")
    curve = {k: v for k, v in curve_of(run.folder).items() if not unknown(v)}
    return curve if None in regrets else curve | {"regret": regrets}


def unknown(values: object) -> bool:
    """Whether a run did not measure something."""
    return isinstance(values, list) and None in values


def swept(run: Run) -> dict[str, dict[str, float]]:
    """The trained model under ODE and SDE samplers of several lengths."""
    path = newest(run.folder / "checkpoints")
    if path is None or run.evaluation is None:
        return {}
    trainer = Trainer(run.model, run.objective, run.source, run.optimizer, Team())
    trainer.weights.restore("ema", read_snapshot(path, "ema"))
    samplers = {name: s.sampler() for name, s in SAMPLERS.items()}
    reading = Snapshot(run.model.denoiser, trainer.weights, "ema")
    settings = replace(run.evaluation, samplers=samplers, tables={})
    numbers = evaluate(settings, run.model, reading, Team()).numbers
    return {n: {k: v for k, v in numbers[n].items() if isinstance(v, float)} for n in SAMPLERS}


def tune(task: str, method: str, runs: Path) -> None:
    """All trials of a method that are not yet in tuning.jsonl."""
    done = [x["words"] for x in lines(TRIALS) if (x["task"], x["method"]) == (task, method)]
    for number, words in enumerate(arm(method).trials):
        if words in done:
            continue
        folder = runs / f"tune-{task}-{method}-{number}"
        run = prepared(task, arm(method), words, "validation", TUNING_SEED, folder)
        curve = finished(run)
        kept = curve["diversity"][-1] / curve["diversity"][0]
        value = curve["strict" if "strict" in curve else "reward"][-1]
        line = {
            "task": task,
            "method": method,
            "words": words,
            "final": value,
            "diversity_kept": kept,
            "score": value - max(0.0, arm(method).floor - kept),
            **{k: curve[k] for k in ("evaluations", "reward", "judge", "drift") if k in curve},
        }
        save(TRIALS, line, ("task", "method", "words"))
        shutil.rmtree(folder, ignore_errors=True)


def chosen(task: str, method: str) -> str:
    """The options of a method's best trial."""
    mine = [x for x in lines(TRIALS) if (x["task"], x["method"]) == (task, method)]
    if len(mine) < len(arm(method).trials):
        raise SystemExit(f"{method} has {len(mine)} of its trials on {task}; run `tune` first")
    return max(mine, key=lambda line: line["score"])["words"]


def train(task: str, method: str, seed: int, runs: Path) -> None:
    """One line of curves.jsonl."""
    words, folder = chosen(task, method), runs / f"{task}-{method}-{seed}"
    run = prepared(task, arm(method), words, "test", seed, folder)
    line = finished(run) | {"task": task, "method": method, "words": words}
    if seed < SWEPT and task != "toy":
        line["samplers"] = swept(run)
    save(CURVES, line, ("task", "method", "seed"))


def ablate(task: str, name: str, seed: int, runs: Path) -> None:
    """One line of ablations.jsonl: the method's chosen options, then what the ablation changes."""
    change = ABLATIONS[name]
    words = f"{chosen(task, change.method)} {change.words}"
    folder = runs / f"{task}-{name}-{seed}"
    run = prepared(task, arm(change.method), words, "validation", seed, folder)
    line = finished(run) | {"task": task, "method": name, "words": words}
    save(ABLATED, line, ("task", "method", "seed"))


def lines(path: Path) -> list[dict]:
    return [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []


def save(path: Path, line: dict, key: tuple[str, ...]) -> None:
    """Add a line, replacing an earlier one of the same key; safe beside other runs."""
    with (HERE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        mine = tuple(line[k] for k in key)
        kept = [x for x in lines(path) if tuple(x[k] for k in key) != mine]
        rows = sorted([*kept, line], key=lambda x: tuple(x[k] for k in key))
        path.write_text("".join(json.dumps(x) + "\n" for x in rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["tune", "train", "ablate"])
    parser.add_argument("method")
    parser.add_argument("--task", default="portraits", choices=list(BUDGET))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    task, method, seed, runs = options.task, options.method, options.seed, options.runs
    steps: dict[str, Callable[[], None]] = {
        "tune": lambda: tune(task, method, runs),
        "train": lambda: train(task, method, seed, runs),
        "ablate": lambda: ablate(task, method, seed, runs),
    }
    steps[options.what]()


if __name__ == "__main__":
    main()
