"""Eleven planted faults: what users do wrong, on any run that draws its own samples.

A fault changes the run, or what its trainer does; `trained` runs it and leaves a folder behind.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scoreward.core.advantage import Advantages
from scoreward.core.denoiser import Denoiser
from scoreward.core.policy import DiffusionPolicy
from scoreward.objectives.base import Objective
from scoreward.rewards.base import Reward
from scoreward.training import run as running
from scoreward.training.guards import Diverged
from scoreward.training.probe import trainer_of
from scoreward.training.run import Run
from scoreward.training.sources.online import Online
from scoreward.training.trainer import Trainer


def rewarding(run: Run, change: Callable[[Reward], Reward]) -> Run:
    """The run with its rewards changed."""
    if not isinstance(run.source, Online):
        raise TypeError("faults are planted in online runs")
    rewards = {name: change(reward) for name, reward in run.source.rewards.items()}
    return replace(run, source=replace(run.source, rewards=rewards))


def paced(run: Run, factor: float) -> Run:
    return replace(run, optimizer=replace(run.optimizer, lr=run.optimizer.lr * factor))


@dataclass(frozen=True)
class WrongSign(Advantages):
    """Advantages whose sign is turned."""

    def __call__(self, *given: Any) -> Tensor:
        return -super().__call__(*given)


@dataclass(frozen=True)
class Shuffled(Advantages):
    """Advantages handed to other samples of the round."""

    def __call__(self, *given: Any) -> Tensor:
        value = super().__call__(*given)
        return value[torch.randperm(len(value), generator=torch.Generator().manual_seed(3))]


@dataclass(frozen=True)
class LateAnswers:
    """A reward server that answers in another order than it was asked."""

    inner: Reward

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Tensor:
        return self.inner(media, prompts).roll(len(prompts) // 2 + 1)


@dataclass(frozen=True)
class Constant:
    """A reward without an opinion."""

    inner: Reward

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Tensor:
        return torch.zeros(len(prompts), device=media.device)


def minus(objective: Objective) -> Objective:
    """The objective with the wrong sign of its loss."""

    class Minus(type(objective)):
        def loss(self, rows: Any, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
            loss, metrics = super().loss(rows, policy)
            return -loss, metrics

    return Minus(**{f.name: getattr(objective, f.name) for f in fields(objective)})  # pyright: ignore


class Louder:
    """A denoiser with another guidance: its predictions are moved away from x_t."""

    def __init__(self, inner: Denoiser, strength: float) -> None:
        self.inner, self.strength = inner, strength

    def __call__(self, x_t: Tensor, t: Tensor, cond: Any) -> Any:
        answer = self.inner(x_t, t, cond)
        moved = answer.x0 + self.strength * (answer.x0 - x_t)
        return replace(answer, x0=moved, eps=answer.eps + self.strength * (x_t - answer.x0))


class OtherGuidance(Trainer):
    """Rollouts and old passes are guided, training is not."""

    def _policy(self, *given: Any, **more: Any) -> DiffusionPolicy:  # pyright: ignore
        policy = super()._policy(*given, **more)
        return replace(policy, old=Louder(policy.old, 0.5))


class StaleOld(Trainer):
    """The old policy stays the first one."""

    def _behave(self, index: int) -> None:
        if index == 0:
            super()._behave(index)


class Frozen(Trainer):
    """What the optimiser holds is not what the network computes with."""

    def _update(self, *given: Any) -> dict[str, float] | None:  # pyright: ignore
        parameters = list(self.weights.parameters.values())
        held = [p.data for p in parameters]
        metrics = super()._update(*given)
        for parameter, data in zip(parameters, held):
            parameter.data = data.clone()
        return metrics

    def _apply(self, metrics: dict[str, float]) -> float:
        for parameter in self.weights.parameters.values():
            if parameter.grad is not None:
                parameter.grad.zero_()
        return super()._apply(metrics)


@dataclass(frozen=True)
class Fault:
    """What is planted: a change of the run, or another trainer."""

    expected: str  # the name of the first cause
    change: Callable[[Run], Run] = lambda run: run
    trainer: type[Trainer] = Trainer
    paths: bool = False  # planted in a method that replays its steps

    def make(self, run: Run) -> Trainer:
        """The faulty trainer of a probe."""
        made = trainer_of(run)
        made.__class__ = self.trainer
        return made


def with_advantages(kind: type[Advantages]) -> Callable[[Run], Run]:
    def change(run: Run) -> Run:
        if not isinstance(run.source, Online):
            raise TypeError("faults are planted in online runs")
        given = run.source.advantages
        wrong = kind(**{f.name: getattr(given, f.name) for f in fields(given)})
        return replace(run, source=replace(run.source, advantages=wrong))

    return change


FAULTS = {
    "sign of the advantage": Fault("sign", with_advantages(WrongSign)),
    "sign of the loss": Fault("sign", lambda r: replace(r, objective=minus(r.objective))),
    "advantages of other samples": Fault("misaligned", with_advantages(Shuffled)),
    "rewards in another order": Fault("misaligned", lambda r: rewarding(r, LateAnswers)),
    "frozen adapter": Fault("frozen", trainer=Frozen),
    "learning rate x 100": Fault("rate_too_high", lambda r: paced(r, 100)),
    "learning rate / 100": Fault("rate_too_low", lambda r: paced(r, 0.01)),
    "constant reward": Fault("constant_reward", lambda r: rewarding(r, Constant)),
    "guidance mismatch": Fault("mismatch", trainer=OtherGuidance),
    "guidance mismatch, replayed": Fault("mismatch", trainer=OtherGuidance, paths=True),
    "stale old policy": Fault("stale_old", trainer=StaleOld),
}


def trained(run: Run, fault: Fault, folder: Path) -> None:
    """Train with the fault; a run that is stopped by a guard leaves its records all the same."""
    faulty = replace(fault.change(run), folder=folder)
    before = running.Trainer
    running.Trainer = fault.trainer
    try:
        with suppress(Diverged):
            for _ in faulty.start():
                pass
    finally:
        running.Trainer = before
