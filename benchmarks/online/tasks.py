"""The tasks: a recipe's method with another model, other prompts and another reward."""

from dataclasses import replace

import torch

from scoreward.recipes.lettering import HeldOutWords
from scoreward.recipes.portraits import HeldOut
from scoreward.recipes.sampling import Sampling
from scoreward.recipes.toy import CORNERS, closeness, toy_model
from scoreward.training.evaluation import Evaluation
from scoreward.training.run import Run
from scoreward.training.source import Online

HELD_OUT = {"portraits": HeldOut, "lettering": HeldOutWords}
PROMPTS = {"validation": 192, "test": 256}
RATES = {"toy": {"1e-4": "0.1", "2e-4": "0.2", "3e-4": "0.3"}}  # of a model with 8 parameters


def translated(task: str, words: str) -> str:
    """The options of a trial, with the learning rates that fit the task's model."""
    parts = words.split()
    rates = RATES.get(task, {})
    return " ".join(
        rates.get(w, w) if i and parts[i - 1] == "--optimizer.lr" else w
        for i, w in enumerate(parts)
    )


def moved(run: Run, task: str, split: str) -> Run:
    """The same method on a task, measured on prompts of a split."""
    if task in HELD_OUT:
        evaluation = HELD_OUT[task](split=split, prompts=PROMPTS[split]).evaluation()
        return replace(run, evaluation=evaluation)
    if not isinstance(run.source, Online):
        raise SystemExit(f"{run.name} is not an online method and cannot be moved")
    if task == "toy":
        return on_toy(run, run.source)
    raise SystemExit(f"unknown task {task!r}")


def on_toy(run: Run, source: Online) -> Run:
    """Four prompts, a Gaussian each; the reward's optimum is known."""
    rewards = {"closeness": closeness}
    if "variety" in source.rewards:
        rewards["variety"] = source.rewards["variety"]
    return replace(
        run,
        name=run.name.replace("portraits", "toy"),
        model=toy_model(),
        source=replace(source, prompts=list(CORNERS), rewards=rewards),
        evaluation=Evaluation(
            prompts=list(CORNERS) * 16,
            samplers={"ode": Sampling().sampler()},
            scorers={"reward": closeness},
            spread_prompts=4,
        ),
    )


def regret(run: Run) -> float | None:
    """Expected reward of the optimum minus that of the toy policy, exactly; None elsewhere.

    E −‖x − c‖² = −‖m − c‖² − d·var, so the regret is the mean of ‖m − c‖².
    """
    if not run.name.startswith("toy_"):
        return None
    (means,) = run.model.network.parameters()
    corners = torch.tensor(list(CORNERS.values()))
    return float((means.detach() - corners).square().sum(1).mean())
