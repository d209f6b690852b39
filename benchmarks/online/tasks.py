"""The tasks: a method with another model, other prompts and another reward."""

from collections.abc import Mapping
from dataclasses import replace

import torch

from scoreward.methods.sampling import Sampling
from scoreward.rewards.base import Reward
from scoreward.tasks.builtin import HeldOut
from scoreward.tasks.lettering import LETTERING
from scoreward.tasks.portraits import PORTRAITS
from scoreward.tasks.toy import CORNERS, closeness, toy_model
from scoreward.training.evaluations.pictures import Evaluation
from scoreward.training.run import Run
from scoreward.training.sources.online import Online

TASKS = {"portraits": PORTRAITS, "lettering": LETTERING}
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
    if task in TASKS:
        held_out = HeldOut(split=split, prompts=PROMPTS[split])
        return replace(run, evaluation=TASKS[task].evaluation(held_out))
    if task == "toy":
        return on_toy(run, online_source(run))
    raise SystemExit(f"unknown task {task!r}")


def online_source(run: Run) -> Online:
    """The source of a run that draws its own samples."""
    if not isinstance(run.source, Online):
        raise SystemExit(f"{run.name} does not draw its own samples")
    return run.source


def rewarded(run: Run, rewards: Mapping[str, Reward]) -> Run:
    """Other rewards, of equal weight."""
    return replace(run, source=replace(online_source(run), rewards=rewards, weights={}))


def on_toy(run: Run, source: Online) -> Run:
    """Four prompts, a Gaussian each; the reward's optimum is known."""
    rewards: dict[str, Reward] = {"closeness": closeness}
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
