"""The settings that a row of rows.toml talks about, built without any weights."""

import importlib
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from scoreward.core.process import RectifiedFlow, time_grid
from scoreward.methods.drawn import Drawn
from scoreward.methods.sampling import Noisy, Sampling, Windowed
from scoreward.models.base import Model
from scoreward.objectives.paths.base import PathObjective
from scoreward.published import PublishedNumber, agrees, at
from scoreward.recipes import recipe
from scoreward.training.run import Run
from scoreward.training.sources.online import Online


def fault(row: PublishedNumber, theirs: Any, mine: Any) -> str | None:
    """What is wrong with a row, in a sentence."""
    same = agrees(row.key, theirs, mine)
    if not same and not row.because:
        return (
            f"{row.ours}: {row.attribute} is {mine!r}, but {row.key} of {row.table} is {theirs!r}; "
            "use it, or give the reason in rows.toml"
        )
    if same and row.because:
        return (
            f"{row.ours}: {row.attribute} has become the published {row.key} of {row.table}, "
            f"{theirs!r}; list it under `same` in rows.toml"
        )
    return None


def ours(row: PublishedNumber) -> Any:
    """Our setting of a row."""
    return at(holder(row.ours), row.attribute)


@cache
def holder(name: str) -> Any:
    """What the attribute of a row starts from: a recipe's settings, or a class or table."""
    if ":" not in name:
        return settings_of(name)
    module, _, thing = name.partition(":")
    return getattr(importlib.import_module(module), thing)


def settings_of(name: str) -> SimpleNamespace:
    """The defaults of a method on a task and, if it draws its samples, the run they make."""
    made = recipe(name)
    given = {n: s.default for n, s in made.settings.items()}
    loading = given["loading"]
    settings = SimpleNamespace(**given, full_weights=not loading.lora)
    settings.lora_alpha = loading.adapters().scale * loading.rank
    if not isinstance(made.method, Drawn) or given["goal"].prompts is None:
        return settings  # it needs a file
    run = without_weights(made.run, given)
    settings.run, settings.facts = run, Facts.of(run, settings)
    return settings


def without_weights(function: Any, given: dict[str, Any]) -> Run:
    """The run of a recipe whose model is one layer and whose rewards are always 0."""
    frames = given["loading"].frames
    shape = (4, 8, 8) if frames is None else (4, frames // 4 + 1, 8, 8)
    with ExitStack() as stack:
        for name, stub in (
            ("pretrained.load", lambda *_: blank(shape)),
            ("base.find", lambda _: nothing),
        ):
            stack.enter_context(patch(f"scoreward.tasks.{name}", stub))
        return function(**given)


def blank(shape: tuple[int, ...]) -> Model:
    """A model that cannot be asked."""
    network = nn.Linear(1, 1)
    return Model(
        network, RectifiedFlow(), "velocity", shape, encode=refuse, decode=refuse, null=refuse,
        grid=lambda steps: time_grid(steps, 3.0),
    )  # fmt: skip


def refuse(_: Any) -> Any:
    """Nothing here has weights."""
    raise RuntimeError("a run that was built without weights cannot be used")


def nothing(media: Tensor, prompts: Any) -> Tensor:
    """A reward."""
    return torch.zeros(len(prompts))


@dataclass(frozen=True)
class Facts:
    """What a run does that no single setting says."""

    steps: int
    noise: str | None
    level: float | None
    solver: str | None
    shift: float
    eval_steps: int
    trained: int | None
    starts: tuple[int, int] | None
    shared_start: bool
    guided: bool
    reward: dict[str, float]
    samples: int

    @staticmethod
    def of(run: Run, settings: SimpleNamespace) -> "Facts":
        source, objective = run.source, run.objective
        assert isinstance(source, Online) and run.evaluation is not None  # noqa: S101, PT018
        sampler, noisy = source.sampler(0), rolled(settings)
        trained = None
        if isinstance(objective, PathObjective):
            trained = len(
                objective.needs.trained(sampler.stochastic(run.model.process), sampler.steps)
            )
            trained = int(getattr(objective, "fraction", 1.0) * trained)
        return Facts(
            steps=sampler.steps,
            noise=noisy.noise if isinstance(noisy, Noisy) else None,
            level=noisy.level if isinstance(noisy, Noisy) else None,
            solver=noisy.solver if isinstance(noisy, Sampling) else None,
            shift=noisy.shift,
            eval_steps=run.evaluation.samplers["ode"].steps,
            trained=trained,
            starts=source.rollout.starts if isinstance(source.rollout, Windowed) else None,
            shared_start=source.own_start == 0,
            guided=run.guidance != 1,
            reward={name: source.weights.get(name, 1.0) for name in source.rewards},
            samples=source.geometry.samples,
        )


def rolled(settings: SimpleNamespace) -> Any:
    """How a recipe draws its samples."""
    return settings.rollout if hasattr(settings, "rollout") else settings.sampling
