"""Small runs of the toy recipe, and the wrappers that make them go wrong."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from scoreward.core.chain import Sampler
from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.rounds import Round
from scoreward.models.base import Model
from scoreward.models.texts.language import LanguageModel
from scoreward.objectives.base import Objective, Samples
from scoreward.objectives.samples.answers import PairRows
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.rewards.base import Reward
from scoreward.tasks.toy import closeness, toy_model
from scoreward.training import checkpoint
from scoreward.training.folder import RunFolder
from scoreward.training.geometry import Geometry
from scoreward.training.guards import Guards
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Moment, Run
from scoreward.training.sources.online import Collected, Online, Source, Work
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer
from tests.support.recipes import toy_vgrpo

SMALL = Geometry(prompts=4, group=4)


def toy(folder: Path, rounds: int = 3, geometry: Geometry = SMALL, **changes: Any) -> Run:
    """A toy run of a few rounds, not tried first; `changes` are fields of `Run`."""
    changes = {"guards": Guards(preflight=False), **changes}
    run = toy_vgrpo(geometry=geometry, budget=Budget(rounds=rounds), every=5)
    assert run.evaluation is not None
    few = replace(run.evaluation, prompts=list(run.evaluation.prompts)[:8])
    return replace(run, **{"folder": folder, "evaluation": few, **changes})


def rewarded(run: Run, reward: Reward) -> Run:
    """The same run with another reward."""
    assert isinstance(run.source, Online)
    return replace(run, source=replace(run.source, rewards={"mine": reward}))


def online(geometry: Geometry = SMALL, **changes: Any) -> Online:
    """The toy's source; `changes` are fields of `Online`."""
    source = toy_vgrpo(geometry=geometry).source
    assert isinstance(source, Online)
    return replace(source, **changes)


def make_trainer(
    geometry: Geometry = SMALL,
    objective: Objective | None = None,
    source: Source | None = None,
    model: Model | None = None,
    lr: float = 2e-2,
    guards: Guards | None = None,
    guidance: float = 1.0,
) -> Trainer:
    """A trainer on the toy, alone in its team."""
    return Trainer(
        model or toy_model(),
        objective or VGRPO(clip=None),
        source or online(geometry),
        Optimizer(lr=lr),
        Team(),
        guards=guards,
        guidance=guidance,
    )


def means(trainer: Trainer) -> Tensor:
    """A copy of the toy's only parameter."""
    return trainer.weights.parameters["mean"].detach().clone()


def records(folder: Path, *kinds: str) -> list[dict[str, Any]]:
    """Lines of metrics.jsonl without what depends on the clock."""
    lines = [r for r in RunFolder(folder).records() if not kinds or r["kind"] in kinds]
    timed = ("seconds", "wall")
    return [
        {k: v for k, v in line.items() if k not in timed}
        for line in lines
        if line["kind"] != "profile"
    ]


def finish(run: Run) -> list[Moment]:
    return list(run.start())


def about(run: Run) -> dict:
    return json.loads((run.folder / "run.json").read_text())


def saved_rounds(run: Run) -> list[str]:
    folder = run.folder / "checkpoints"
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def live_after(run: Run) -> Tensor:
    path = checkpoint.newest(run.folder / "checkpoints")
    assert path is not None
    return checkpoint.read_snapshot(path, "live")["mean"]


@dataclass(frozen=True)
class InFloat64(Source):
    """Samples read in float64, so that nothing but the order of sums can differ."""

    inner: Online

    @property
    def geometry(self) -> Geometry:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.inner.geometry

    def sampler(self, round: int) -> Sampler:
        return self.inner.sampler(round)

    def collect(self, round: int, key: Key, work: Work) -> Collected:
        collected = self.inner.collect(round, key, work)
        return replace(
            collected, samples=replace(collected.samples, x0=collected.samples.x0.double())
        )


def float64_trainer(geometry: Geometry, objective: Objective) -> Trainer:
    """Weights, moments and samples in float64."""
    model = toy_model()
    model.network.double()
    return make_trainer(objective=objective, source=InFloat64(online(geometry)), model=model)


def rounds_of(trainer: Trainer, count: int) -> list[Round]:
    return [trainer.step() for _ in range(count)]


class Tampered(Source):
    """After the rollouts of one round, something is done to the trainer."""

    def __init__(self, inner: Online, at: int) -> None:
        self.inner, self.at, self.geometry = inner, at, inner.geometry
        self.trainer: Trainer | None = None

    def sampler(self, round: int) -> Sampler:
        return self.inner.sampler(round)

    def collect(self, round: int, key: Key, work: Work) -> Collected:
        collected = self.inner.collect(round, key, work)
        if round == self.at and self.trainer is not None:
            moved = {k: v + 0.3 for k, v in self.trainer.weights.snapshot("old").items()}
            self.trainer.weights.restore("old", moved)
        return collected


@dataclass(frozen=True)
class BrokenLater(Objective[Samples, PairRows, DiffusionPolicy]):
    """V-GRPO until a round from which its loss is multiplied by `factor`."""

    inner: VGRPO
    at: int
    factor: float = float("nan")
    calls: list[int] = field(default_factory=list)

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> PairRows:
        self.calls.append(1)
        return self.inner.prepare(samples, policy, key)

    def loss(self, rows: PairRows, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        loss, metrics = self.inner.loss(rows, policy)
        return loss * (self.factor if len(self.calls) >= self.at else 1.0), metrics


def broken_at(round: int) -> BrokenLater:
    return BrokenLater(VGRPO(clip=None), round)


def wrong_at(call: int, wrong: Reward) -> Reward:
    """The toy's reward, but `wrong` at one call (from 1)."""
    count: Iterator[int] = iter(range(1, 10**6))

    def reward(media: Tensor, prompts: Sequence[str]) -> Tensor:
        return (wrong if next(count) == call else closeness)(media, prompts)

    return reward


def pictured(trainer: Trainer) -> Model:
    """The model of a trainer of pictures."""
    assert isinstance(trainer.model, Model)
    return trainer.model


def worded(trainer: Trainer) -> LanguageModel:
    """The model of a trainer of texts."""
    assert isinstance(trainer.model, LanguageModel)
    return trainer.model
