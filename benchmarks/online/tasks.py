"""The three tasks: a recipe of the portraits, moved to another model, prompts and reward."""

from dataclasses import replace

from scoreward.recipes.portraits import HeldOut
from scoreward.training.run import Run
from scoreward.training.source import Online

PROMPTS = {"validation": 192, "test": 256}


def moved(run: Run, task: str, split: str) -> Run:
    """The same method on a task, measured on prompts of a split."""
    if task == "portraits":
        evaluation = HeldOut(split=split, prompts=PROMPTS[split]).evaluation()
        return replace(run, evaluation=evaluation)
    if not isinstance(run.source, Online):
        raise SystemExit(f"{run.name} is not an online method and cannot be moved")
    raise SystemExit(f"unknown task {task!r}")
