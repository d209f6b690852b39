"""Train at one noise, measure under the ODE and under that noise: results.jsonl.

    python -m benchmarks.reward_gap.run tune --task toy
    python -m benchmarks.reward_gap.run base --task portraits
    python -m benchmarks.reward_gap.run all --task portraits --seeds 5

Lines that are there already are not made again, and seeds are the outer loop, so a run that was
stopped leaves complete rows of all methods and noises.
"""

import argparse
import json
import shlex
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.online.tasks import online_source
from benchmarks.reward_gap import toy
from scoreward.commands.train import build
from scoreward.tasks.builtin import HeldOut
from scoreward.tasks.portraits import PORTRAITS
from scoreward.training.evaluations.gap import Gap
from scoreward.training.evaluations.pictures import Evaluation, measure_gap
from scoreward.training.run import Budget, Run
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer

HERE = Path(__file__).parent
ETAS = (0.5, 1.0, 1.2, 1.5, 2.0)  # of training
METHODS = {
    "ddpo": "--rollout.noise ddim --rollout.level {eta}",
    "mixgrpo": "--rollout.noise ddim --rollout.level {eta} --window.every {move}",
    "vgrpo": "--sampling.eta {eta} --objective.anchor 0.05",
    # path KL of weight 0.15 in reward units: the advantage is the centred reward
    "ddpo_kl": "--rollout.noise ddim --rollout.level {eta} --objective.kl 0.15 "
    "--objective.kl-form paper --advantages.scale none",
}
LONGER = {"ddpo_kl": 4}  # times the budget: it is to reach its optimum
SCORERS = ("reward", "judge")
TUNING_SEED = 100


@dataclass(frozen=True)
class Task:
    """Budget, sizes and what is measured when."""

    methods: tuple[str, ...]
    budget: int  # network evaluations of a run, a trained one counting three
    words: str  # options of every method
    move: int  # rounds before MixGRPO's window moves
    rates: tuple[float, ...]  # learning rates that were tried at η = 1
    middle: Gap  # half way
    coarse: Gap  # at the end, on the grid of training
    fine: Gap  # at the end, with the control
    base: Gap  # before training, once for all, with a control of the control


TASKS = {
    "portraits": Task(
        methods=("ddpo", "mixgrpo", "vgrpo"),
        budget=24_000,
        words="--geometry.prompts 8 --geometry.group 8",
        move=4,
        rates=(3e-4, 6e-4, 1.2e-3),
        middle=Gap((1.0,), (10,), 0, prompts=128, noises=1),
        coarse=Gap((1.0,), (10,), 0, prompts=256, noises=1),
        fine=Gap((1.0,), (10,), 50, prompts=96, noises=1),
        base=Gap(ETAS, (10, 50), 200, prompts=128, noises=1),
    ),
    "toy": Task(
        methods=("ddpo", "mixgrpo", "vgrpo", "ddpo_kl"),
        budget=150_000,
        words="--geometry.prompts 1 --geometry.group 64",
        move=25,
        rates=(3e-4, 1e-3, 3e-3),
        middle=Gap((1.0,), (10,), 0, prompts=4096, noises=1),
        coarse=Gap((1.0,), (10,), 0, prompts=8192, noises=1),
        fine=Gap((1.0,), (10,), 100, prompts=4096, noises=1),
        base=Gap(ETAS, (10, 100), 400, prompts=4096, noises=1),
    ),
}


def budget_of(task: str, method: str) -> int:
    return TASKS[task].budget * LONGER.get(method, 1)


def prepared(task: str, method: str, eta: float, rate: float, seed: int) -> Run:
    """A method on the portraits, or on the toy if asked."""
    words = METHODS[method].format(eta=eta, move=TASKS[task].move)
    words += f" {TASKS[task].words} --optimizer.lr {rate}"
    recipe = f"portraits_{method.removesuffix('_kl')}"
    run, _ = build(recipe, shlex.split(words), "benchmark")
    run = replace(run, seed=seed, budget=Budget(evaluations=budget_of(task, method)))
    if task == "toy":
        source = replace(online_source(run), prompts=[""], rewards={"reward": toy.reward})
        run = replace(run, model=toy.model(seed), source=source)
    return run


def held_out(task: str, split: str) -> Evaluation:
    """Prompts and scorers; the samplers of an ordinary evaluation are not used."""
    if task == "toy":
        start = {"validation": 1, "test": 0}[split]
        ode = HeldOut().samplers()
        return Evaluation([""] * 8192, ode, {"reward": toy.reward}, batch=4096, seed=start)
    found = PORTRAITS.evaluation(HeldOut(split=split))
    scorers = {name: found.scorers[name] for name in SCORERS}
    return replace(found, scorers=scorers, batch=256)


def short(record: dict) -> dict:
    """What the figures need of a record, to five digits."""
    kept = {k: record[k] for k in ("eta", "steps", "prompts")}
    for part in ("mean", "gap", "grid"):
        if part in record:
            kept[part] = {
                name: [round(x["value"], 5), round(x["standard_error"], 5)]
                for name, x in record[part].items()
            }
    return kept


def measured(evaluation: Evaluation, gap: Gap, trainer: Trainer, eta: float | None) -> list[dict]:
    """The averaged weights under the ODE and one noise."""
    settings = replace(evaluation, gap=gap if eta is None else replace(gap, etas=(eta,)))
    reading = trainer.reading("ema")
    return [short(r) for r in measure_gap(settings, trainer.model, reading, trainer.team)]


def trainer_of(run: Run) -> Trainer:
    planned = run.optimizer.planned(None, run.source.geometry.updates, True)
    return Trainer(run.model, run.objective, run.source, planned, Team(), seed=run.seed)


def trained(task: str, run: Run, eta: float, split: str) -> dict:
    """A run's measurements: half way and at the end."""
    trainer, evaluation, of = trainer_of(run), held_out(task, split), TASKS[task]
    half, metrics = list[dict](), dict[str, float]()
    while (share := run.budget.spent(0, 0, trainer.evaluations.total)) < 1:
        if share >= 0.5 and not half and split == "test":
            half = measured(evaluation, of.middle, trainer, eta)
        metrics = trainer.step(share).metrics
    ends = {"coarse": measured(evaluation, of.coarse, trainer, eta)}
    if split == "test":
        ends |= {"middle": half, "fine": measured(evaluation, of.fine, trainer, eta)}
    spent = {"rounds": trainer.done, "evaluations": trainer.evaluations.total}
    return ends | spent | {"last_reward": round(metrics["reward/mean"], 5)}


def lines(path: Path) -> list[dict]:
    return [json.loads(x) for x in path.read_text().splitlines()] if path.exists() else []


def add(path: Path, line: dict) -> None:
    with path.open("a") as stream:
        stream.write(json.dumps(line) + "\n")


def tune(task: str) -> None:
    """Every learning rate of every method once, at η = 1, on validation prompts."""
    path = HERE / "tuning.jsonl"
    done = [(x["task"], x["method"], x["rate"]) for x in lines(path)]
    for method in TASKS[task].methods:
        for rate in TASKS[task].rates:
            if (task, method, rate) not in done:
                run = prepared(task, method, 1.0, rate, TUNING_SEED)
                ends = trained(task, run, 1.0, "validation")
                value = ends["coarse"][0]["mean"]["reward"][0]
                line = {"task": task, "method": method, "rate": rate, "ode": value}
                print(line, flush=True)
                add(path, line | {"rounds": ends["rounds"]})


def chosen(task: str, method: str) -> float:
    """The learning rate with the best reward under the ODE."""
    mine = [x for x in lines(HERE / "tuning.jsonl") if (x["task"], x["method"]) == (task, method)]
    if not mine:
        raise SystemExit(f"{method} has no trial on {task}; run `tune` first")
    return max(mine, key=lambda x: x["ode"])["rate"]


def base(task: str) -> None:
    """The model before training, under all noises and three grids."""
    run = prepared(task, "ddpo", 1.0, 1e-4, 0)
    evaluation, of = held_out(task, "test"), TASKS[task]
    settings = replace(of.coarse, etas=ETAS)
    coarse = measured(evaluation, settings, trainer_of(run), None)
    fine = measured(evaluation, of.base, trainer_of(run), None)
    kept = [x for x in lines(HERE / "base.jsonl") if x["task"] != task]
    text = [json.dumps(x) + "\n" for x in [*kept, {"task": task, "coarse": coarse, "fine": fine}]]
    (HERE / "base.jsonl").write_text("".join(text))


def everything(task: str, seeds: int) -> None:
    """All methods and noises, seed by seed."""
    path = HERE / "results.jsonl"
    for seed in range(seeds):
        for method in TASKS[task].methods:
            for eta in ETAS:
                key = {"task": task, "method": method, "eta": eta, "seed": seed}
                if any(all(x[k] == v for k, v in key.items()) for x in lines(path)):
                    continue
                began, rate = time.process_time(), chosen(task, method)
                run = prepared(task, method, eta, rate, seed)
                line = key | {"rate": rate} | trained(task, run, eta, "test")
                line["cpu_seconds"] = round(time.process_time() - began, 1)
                add(path, line)
                print(key, line["rounds"], line["cpu_seconds"], flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["tune", "base", "all"])
    parser.add_argument("--task", choices=list(TASKS), required=True)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "tune":
        tune(options.task)
    elif options.what == "base":
        base(options.task)
    else:
        everything(options.task, options.seeds)


if __name__ == "__main__":
    main()
