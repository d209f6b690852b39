"""A recipe of the portraits turned into the same method on another task.

Only the prompts, the model, the reward and what is measured change; the settings and their defaults
stay those that were chosen on the portraits.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

from scoreward.recipes.portraits import HeldOut, Start, online_source, rewarded
from scoreward.rewards.base import Reward
from scoreward.training.run import Run

Recipe = Callable[..., Run]


@dataclass(frozen=True)
class Task:
    """What a method is moved to."""

    name: str
    held_out: type[HeldOut]
    model: type[Start]
    prompts: Callable[[], Sequence[str]]
    rewards: Callable[[Mapping[str, Reward]], Mapping[str, Reward]]  # instead of the portraits'
    doc: str  # how it is described, before the portraits' own words
    no_gradient: str | None = None  # why a method that differentiates its reward is refused


def moved_to(task: Task, recipe: Recipe) -> Recipe:
    """The same method on a task.

    Raises ValueError for a method that differentiates a reward without a gradient.
    """
    places = {"held_out": task.held_out, "model": task.model}

    @wraps(recipe)
    def on_task(**settings: Any) -> Run:
        given = {name: place() for name, place in places.items()} | settings
        return _moved(task, recipe(**given))

    on_task.__doc__ = f"{task.doc} On the portraits: {recipe.__doc__}"
    shown = inspect.signature(recipe)
    parameters = [
        p.replace(default=places[n](), annotation=places[n]) if n in places else p
        for n, p in shown.parameters.items()
    ]
    on_task.__signature__ = shown.replace(parameters=parameters)  # pyright: ignore
    on_task.__annotations__ = recipe.__annotations__ | places
    return on_task


def _moved(task: Task, run: Run) -> Run:
    """A run with the task's prompts and rewards."""
    if task.no_gradient is not None and run.objective.stores == "starts":
        raise ValueError(
            f"{run.name} differentiates its reward, and {task.no_gradient}; choose another method"
        )
    source = replace(online_source(run), prompts=task.prompts())
    run = replace(run, name=run.name.replace("portraits", task.name), source=source)
    return rewarded(run, task.rewards(source.rewards), source.weights)
