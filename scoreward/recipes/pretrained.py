"""What the recipes on pretrained diffusers models share: prompts, rewards, what is measured.

A recipe names the settings that a paper or its code published for a method and a model; every one
of them is an option. Nothing here has been run on the real weights (docs/real_models.md).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from scoreward.chain import Sampler
from scoreward.data.prompts import Prompts, read
from scoreward.models.base import Model
from scoreward.models.diffusers import Loading, load
from scoreward.objectives.base import Objective
from scoreward.process import time_grid
from scoreward.recipes.sampling import Noisy, Sampling, Windowed
from scoreward.recipes.shared import Shared, told
from scoreward.rewards.base import Reward
from scoreward.rewards.catalogue import find
from scoreward.rewards.combine import Combined, Weighted
from scoreward.rewards.pictures import Frames
from scoreward.training.evaluation import Evaluation
from scoreward.training.gap import Gap
from scoreward.training.run import Keeping, Run
from scoreward.training.source import Online


@dataclass(frozen=True)
class Task:
    """What to draw and who says how good it is."""

    prompts: str = "animals"  # "animals", "signs", or a file: one prompt or JSON object a line
    reward: tuple[str, ...] = ("pickscore",)  # NAME, NAME=WEIGHTS, or FILE.py:FUNCTION
    weights: tuple[float, ...] = ()  # of the rewards, in their order; default 1
    judge: tuple[str, ...] = ()  # measured on held-out prompts, never trained on; the first rules
    share: float = 0.1  # of the prompts, held out

    def __post_init__(self) -> None:
        if not self.reward:
            raise ValueError("training needs at least one reward")
        if self.weights and len(self.weights) != len(self.reward):
            raise ValueError(f"{len(self.reward)} rewards need as many weights, got {self.weights}")

    def read(self) -> Prompts:
        """The prompts."""
        return read(self.prompts, self.share)

    def rewards(self, video: bool = False) -> dict[str, Reward]:
        """What trains, by name."""
        return {short(name): seen(name, video) for name in self.reward}

    def measured(self, video: bool = False) -> dict[str, Reward]:
        """What trains as "reward", which health and the report watch, and its parts."""
        parts = self.rewards(video)
        if len(parts) == 1:
            return {"reward": next(iter(parts.values()))}
        weights = tuple(self.weights or [1.0] * len(parts))
        return {"reward": Combined(parts, Weighted(weights))} | parts

    def judges(self, video: bool = False) -> dict[str, Reward]:
        """What only measures; the first is "judge", which health and the report watch."""
        names = ["judge", *(f"judge_{short(name)}" for name in self.judge[1:])]
        return {n: seen(name, video) for n, name in zip(names, self.judge)}

    def weighted(self) -> dict[str, float]:
        """How much each counts."""
        return dict(zip((short(n) for n in self.reward), self.weights))


@dataclass(frozen=True)
class Measured:
    """What to measure on held-out prompts, by the ODE and by an SDE."""

    prompts: int = 32
    every: int = 20  # rounds
    steps: int = 40  # as the model is used, not as it is trained
    eta: float = 1.0  # of the SDE
    spread_prompts: int = 4  # prompts whose diversity is measured
    noises: int = 4  # noises for each of them
    batch: int = 8  # samples at once; memory only
    gap: Gap = Gap(steps=(40,), prompts=8, noises=1)  # noises and grids to compare besides

    def evaluation(self, model: Model, task: Task, prompts: list[str]) -> Evaluation:
        """The evaluation of a run."""
        times, video = model.grid(self.steps), is_video(model)
        return Evaluation(
            prompts=prompts[: self.prompts],
            samplers={
                "ode": Sampling(steps=self.steps).sampler(times),
                "sde": Sampling(steps=self.steps, eta=self.eta).sampler(times),
            },
            scorers=task.measured(video) | task.judges(video),
            spread_prompts=self.spread_prompts,
            noises=self.noises,
            every=self.every,
            batch=self.batch,
            gap=self.gap,
        )


@dataclass(frozen=True)
class Setup:
    """A pretrained model, its task, and how it is measured."""

    model: str
    loading: Loading
    task: Task
    measured: Measured
    guidance: float = 1.0  # in rollouts and in training alike


Steps = Sampling | Noisy


def grid(model: Model, steps: Steps) -> tuple[float, ...]:
    """The model's own times, or a shifted grid where a shift is asked for."""
    return model.grid(steps.steps) if steps.shift == 1 else time_grid(steps.steps, steps.shift)


def everywhere(steps: Steps) -> Callable[[Model], Sampler]:
    """The same kind of step all along, on the model's grid."""
    return lambda model: steps.sampler(grid(model, steps))


def inside(window: Windowed) -> Callable[[Model], Windowed]:
    """Noise inside a moving window, on the model's grid; a flash tail has a grid of its own."""
    if window.flash is not None:
        return lambda _: window
    return lambda model: replace(window, times=grid(model, window.noise))


def on_pretrained(
    name: str,
    setup: Setup,
    objective: Objective,
    rollout: Callable[[Model], Sampler | Windowed],
    shared: Shared,
    own_start: float = 1.0,
) -> Run:
    """The run of a method on a pretrained model."""
    task, prompts = setup.task, setup.task.read()
    model = load(setup.model, setup.loading)
    return Run(
        name=name,
        model=model,
        objective=objective,
        source=Online(
            prompts=prompts.train,
            rewards=task.rewards(is_video(model)),
            weights=task.weighted(),
            rollout=rollout(model),
            geometry=shared.geometry,
            advantages=shared.advantages,
            own_start=own_start,
        ),
        optimizer=shared.optimizer,
        budget=shared.budget,
        evaluation=setup.measured.evaluation(model, task, prompts.measured),
        origin=told(prompts.cut.count("prompts", setup.measured.prompts)),
        keeping=Keeping(every=setup.measured.every),
        guidance=setup.guidance,
        mixed_precision=setup.loading.precision,
    )


def short(name: str) -> str:
    """What a reward is called in metrics: without its weights, its file."""
    return name.partition("=")[0].rpartition(":")[2]


def is_video(model: Model) -> bool:
    """Whether its latents have frames."""
    return len(model.shape) == 4


def seen(name: str, video: bool) -> Reward:
    """A reward by name; one of pictures looks at the frames of a video, your own sees all of it."""
    reward = find(name)
    return Frames(reward) if video and ".py:" not in name else reward
