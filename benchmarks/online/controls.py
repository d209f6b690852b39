"""Controls without a reward: more pretraining for the same evaluations, and the base with guidance.

python -m benchmarks.online.controls guidance --task portraits
python -m benchmarks.online.controls pretraining --task lettering --seed 0
"""

import argparse
import shutil
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.online.arms import BUDGET
from benchmarks.online.run import CURVES, POINTS, SAMPLERS, finished, save
from benchmarks.online.tasks import PROMPTS, TASKS
from scoreward.core.denoiser import Guided
from scoreward.models.builtin import lettering
from scoreward.models.builtin import portraits as builtin
from scoreward.recipes import recipe
from scoreward.tasks.builtin import HeldOut
from scoreward.training.evaluations.pictures import evaluate
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping
from scoreward.training.team import Team

STEPS = 10  # pretraining steps of a round
COST = 192  # network evaluations of a pretraining step: 64 pictures, trained ones count three
SCALES = (1.5, 2.0, 2.5, 3.0)  # of guidance; each picture then costs twice the evaluations
KEY = ("task", "method", "seed")


MODELS = {"portraits": builtin.portraits, "lettering": lettering.lettering}
WEIGHTS = {"portraits": builtin.portraits.path, "lettering": lettering.lettering.path}


def held_out() -> HeldOut:
    return HeldOut(split="test", prompts=PROMPTS["test"])


def guidance(task: str) -> None:
    """The base model under guidance: no training, twice the evaluations per picture."""
    model, settings = MODELS[task](), TASKS[task].evaluation(held_out())
    samplers = {name: s.sampler() for name, s in SAMPLERS.items()}
    settings = replace(settings, samplers=samplers, tables={})
    for scale in SCALES:
        reading = Guided(model.denoiser, scale, model.null)
        numbers = evaluate(settings, model, reading, Team(), model.denoiser).numbers
        plain = {n: {k: v for k, v in numbers[n].items() if isinstance(v, float)} for n in samplers}
        line = {"task": task, "method": f"guidance_{scale}", "seed": 0, "settings": {}}
        line |= {"evaluations": [0], "seconds": [0.0], "samplers": plain}
        save(CURVES, line | {k: [v] for k, v in plain["ode10"].items()}, KEY)


def pretraining(task: str, seed: int, runs: Path) -> None:
    """The task's pretraining, gone on with from the shipped weights."""
    rounds = BUDGET[task] // (STEPS * COST)
    settings = Optimizer(lr=5e-4, betas=(0.9, 0.99), weight_decay=1e-4, decay="linear", ema=0.99)
    folder = runs / f"{task}-pretraining-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    run = recipe("pretrain", on=task).run(
        optimizer=settings,
        geometry=Geometry(prompts=64 * STEPS, group=1, minibatches=STEPS),
        budget=Budget(rounds=rounds),
        held_out=replace(held_out(), every=max(1, rounds // POINTS["test"])),
        start=WEIGHTS[task],
    )
    if run.evaluation is not None:
        ode = {"ode": run.evaluation.samplers["ode"]}
        run = replace(run, evaluation=replace(run.evaluation, samplers=ode))
    run = replace(run, folder=folder, seed=seed, keeping=Keeping(every=10_000, last=1))
    line = finished(run) | {"task": task, "method": "pretraining"}
    save(CURVES, line, KEY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["guidance", "pretraining"])
    parser.add_argument("--task", default="portraits", choices=list(MODELS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "guidance":
        guidance(options.task)
    else:
        pretraining(options.task, options.seed, options.runs)


if __name__ == "__main__":
    main()
