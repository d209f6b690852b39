"""Measurements that a run's records cannot give: a few rounds of it, repeated under a magnifier.

All start from the weights the run started from, which are put back at the end.

- `redrawn`: the samples of a rollout, drawn again by the network that is trained; they must agree.
- `rescored`: share of samples that earn another reward when scored one by one; must be 0.
- `signal_to_noise` of the gradient, from its contributions by prompt.
- `ladder`: a few rounds at smaller and larger learning rates, and what the reward gained.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import sqrt
from statistics import fmean, stdev
from typing import Any

import torch

from scoreward.core.keys import Key
from scoreward.objectives.base import Samples
from scoreward.rewards.base import RewardError, scored
from scoreward.training.gradients import GradientParts
from scoreward.training.guards import Diverged
from scoreward.training.run import Run
from scoreward.training.sources.online import Collected, Online, Work
from scoreward.training.trainer import Trainer
from scoreward.verdict.evidence import SURE

FACTORS = (0.01, 0.1, 1.0, 10.0, 100.0)
STILL = 1e-9  # of the learning rate: no weight of float32 moves
LEAST = 0.05  # of the spread of rewards, the smallest gain that counts; ours


@dataclass(frozen=True)
class Probe:
    """How much to measure."""

    rounds: int = 8  # of each learning rate
    factors: tuple[float, ...] = FACTORS  # of the run's learning rate
    rescored: int = 16  # samples whose reward is asked for again
    gradients: int = 3  # rounds whose gradient is taken apart

    def __post_init__(self) -> None:
        if self.rounds < 4 or 1.0 not in self.factors:
            raise ValueError(
                "a probe needs at least 4 rounds per learning rate, and 1 among the factors, got "
                f"rounds={self.rounds}, factors={self.factors}"
            )


Maker = Callable[[Run], Trainer]


def trainer_of(run: Run) -> Trainer:
    """The trainer of a run, with a constant learning rate."""
    return Trainer(
        run.model,
        run.objective,
        run.source,
        replace(run.optimizer, decay="constant", warmup=0),
        run.team(),
        seed=run.seed,
        guidance=run.guidance,
        guards=run.guards,
    )


def probe(
    run: Run,
    settings: Probe,
    make: Maker = trainer_of,
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """All measurements of a run that draws its own samples.  `make` builds its trainers."""
    if not isinstance(run.source, Online):
        raise ValueError(f"{run.name} does not draw its own samples; there is no rollout to probe")
    measured: dict[str, Any] = {}
    if run.objective.needs.data != "starts":
        tell("drawing and scoring a round again")
        measured |= _again(run, settings, make)
        tell("taking gradients apart")
        measured |= _gradients(run, settings, make)
    tell(f"{settings.rounds} rounds without learning")
    still = _rewards(run, settings.rounds, STILL, make)
    measured["ladder"] = []
    for factor in settings.factors:
        tell(f"{settings.rounds} rounds at {factor:g} times the learning rate")
        rewards = _rewards(run, settings.rounds, factor, make)
        measured["ladder"].append(_compared(factor, rewards, still))
    measured["learns"] = any(s["learns"] for s in measured["ladder"])
    return measured


@contextmanager
def _kept(trainer: Trainer) -> Iterator[Trainer]:
    """The trainer, and the first weights back at the end."""
    start = {n: p.detach().clone() for n, p in trainer.weights.parameters.items()}
    try:
        yield trainer
    finally:
        trainer.weights.load(start)


def _again(run: Run, settings: Probe, make: Maker) -> dict[str, float]:
    """A rollout drawn again and rewards asked for again."""
    source = run.source
    if not isinstance(source, Online):
        raise TypeError("only online sources draw samples")
    with _kept(make(run)) as trainer:
        work, collected = _collect(trainer, 0)
        samples = collected.samples
        measured = {"rescored": _rescored(run, source, samples, trainer.key, settings.rescored)}
        if source.tree is None:  # a tree's samples share noise and cannot be drawn one by one
            with torch.no_grad():
                x0 = source.redrawn(0, samples, trainer.key, work)
            off, size = ((v).square().mean().sqrt() for v in (x0 - samples.x0, samples.x0))
            measured["redrawn"] = float(off / size.clamp(min=1e-12))
        return measured


def _collect(trainer: Trainer, index: int) -> tuple[Work, Collected]:
    """One round by the trainer's own old policy."""
    work, _ = trainer.work(index)
    with torch.no_grad():
        return work, trainer.source.collect(index, trainer.key, work)


def _rescored(run: Run, source: Online, samples: Samples, key: Key, count: int) -> float:
    """Share of samples whose reward differs when it is asked for alone."""
    words, size = source.chosen(0, key), source.geometry.group
    if source.compares:
        return 0.0  # such a reward has nothing to say of one sample
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    rows, differing = order[:count].tolist(), 0
    for row in rows:
        media = run.model.decode(samples.x0[row : row + 1])
        prompt = [words[int(samples.sample[row]) // size]]
        total = sum(
            source.weights.get(name, 1.0) * float(scored(name, reward, media, prompt)[0])
            for name, reward in source.rewards.items()
        )
        given = float(samples.reward[row])
        differing += abs(total - given) > 1e-3 * max(1.0, abs(given))
    return differing / max(1, len(rows))


def _gradients(run: Run, settings: Probe, make: Maker) -> dict[str, float]:
    """Signal to noise of one round's gradient, its parts being prompts."""
    source = replace(run.source, geometry=replace(run.source.geometry, remember=0))  # pyright: ignore
    signals = []
    with _kept(make(replace(run, source=source))) as trainer:
        for index in range(settings.gradients):
            signals.append(_signal(trainer, index))
    known = [s for s in signals if s is not None]
    return {"signal_to_noise": sum(known) / len(known)} if known else {}


def _signal(trainer: Trainer, index: int) -> float | None:
    work, collected = _collect(trainer, index)
    policy = replace(work.policy, on_policy=False, rollout=collected.rollout)
    with torch.no_grad():
        key = trainer.key / "round" / index
        rows = trainer.objective.ready(collected.samples, policy, key)
    group = collected.samples.sample // trainer.source.geometry.group
    number = {int(s): int(g) for s, g in zip(collected.samples.sample, group, strict=True)}
    of_row = torch.tensor([number[int(s)] for s in rows.sample])
    parts = GradientParts(list(trainer.weights.parameters.values()))
    for prompt in of_row.unique():
        mine = rows[of_row == prompt]
        loss, _ = trainer.objective.loss(mine, policy)
        trainer.backward(loss * (len(mine) / len(rows)))
        parts.add()
    trainer.torch_optimizer.zero_grad(set_to_none=True)
    return parts.metrics().get("gradient/signal_to_noise")


@dataclass(frozen=True)
class Climb:
    """Mean reward of each round until the end or until it broke off, and their spread at first."""

    rewards: list[float]
    deviation: float
    broken: bool


def _rewards(run: Run, rounds: int, factor: float, make: Maker) -> Climb:
    """Some rounds at another learning rate."""
    faster = replace(run, optimizer=replace(run.optimizer, lr=run.optimizer.lr * factor))
    found: list[dict[str, float]] = []
    with _kept(make(faster)) as trainer:
        try:
            for _ in range(rounds):
                found.append(trainer.step().metrics)
        except (Diverged, RewardError):
            pass
    rewards = [m["reward/mean"] for m in found]
    return Climb(rewards, _spread(found[0]) if found else 0.0, len(found) < rounds)


def _spread(metrics: Mapping[str, float]) -> float:
    """Standard deviation of the rewards of a round; a quarter of their range where only that is."""
    range_ = metrics.get("reward/max", 0.0) - metrics.get("reward/min", 0.0)
    return metrics.get("reward/std", range_ / 4)


def _compared(factor: float, climb: Climb, still: Climb) -> dict[str, Any]:
    """The gain over the same prompts and noise without learning, mean of the last half."""
    pairs = zip(climb.rewards, still.rewards, strict=False)
    gains = [a - b for a, b in pairs][len(still.rewards) // 2 :]
    gain = fmean(gains) if gains else 0.0
    error = stdev(gains) / sqrt(len(gains)) if len(gains) > 1 else still.deviation
    least = LEAST * still.deviation
    return {
        "factor": factor,
        "gain": gain,
        "error": max(error, least / SURE),
        "broken": climb.broken,
        "learns": not climb.broken and gain > max(SURE * error, least),
        "rewards": climb.rewards,
    }
