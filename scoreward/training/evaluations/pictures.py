"""Held-out prompts with fixed noise: the same pictures before, during and after training.

Every evaluation uses the same prompts, noises and samplers, and none of them is trained on.
Differences between two evaluations are therefore the model's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.chain import Sampler, draw
from scoreward.core.denoiser import Denoiser
from scoreward.core.kernel import DDIM, generalised
from scoreward.core.keys import Key, normal_each
from scoreward.core.prediction import per_sample
from scoreward.models.base import Model, of_kind
from scoreward.models.weights import Weights
from scoreward.rewards.base import Reward, answers, unjudged
from scoreward.training.evaluations.gap import Gap, compared
from scoreward.training.sources.online import to_device
from scoreward.training.team import Team

Table = Callable[[Tensor, Sequence[str]], Mapping[str, float]]
"""(media, prompts) → one number per named attribute."""

Probe = Callable[[Denoiser, Denoiser, Model, Team], Mapping[str, float]]
"""(denoiser, reference, model, team) → numbers that need no samples."""


@dataclass(frozen=True)
class Subject:
    """What is measured: a model as it is now (its averaged weights), and as it was at first."""

    model: object  # an evaluation says in a sentence which kind it is for
    now: Callable[[Any, Any, Any], Any]
    first: Callable[[Any, Any, Any], Any]
    weights: Weights
    team: Team
    memory: dict[str, Tensor]  # of the trainer
    round: int
    last: bool


@dataclass(frozen=True)
class Measurement:
    """Numbers by sampler (or other setting), and pictures or texts for the eye."""

    numbers: dict[str, dict]
    pictures: dict[str, Tensor]
    scores: dict[str, dict[str, list[float]]]
    prompts: Sequence[str] = ()  # of what is shown
    texts: Sequence[str] = ()
    gaps: Sequence[dict] = ()  # records of their own


@runtime_checkable
class Evaluator(Protocol):
    """What a run does every few rounds to see where it stands."""

    @property
    def every(self) -> int: ...

    def measure(self, subject: Subject) -> Measurement: ...


@dataclass(frozen=True)
class Evaluation:
    """What to measure: means of `scorers` over prompts, diversity over `noises` per prompt.

    >>> import scoreward as sw
    >>> run = sw.recipe("vgrpo", on="toy").run(budget=sw.Budget(rounds=1))
    >>> start, trained = run.start()
    >>> list(run.evaluation.samplers), list(run.evaluation.scorers)
    (['ode', 'sde'], ['reward'])
    >>> list(start.evaluation["ode"])  # drift: how far the model is from the first
    ['reward', 'diversity', 'drift']
    """

    prompts: Sequence[str]
    samplers: Mapping[str, Sampler]
    scorers: Mapping[str, Reward]
    tables: Mapping[str, Table] = field(default_factory=dict)
    spread_prompts: int = 16  # prompts whose diversity is measured
    noises: int = 8  # noises per prompt for diversity
    every: int = 20  # rounds between evaluations
    batch: int = 64  # samples at once; memory only
    shown: int = 32  # pictures kept of each evaluation
    seed: int = 0  # of the noise, independent of the run's seed
    gap: Gap = Gap()  # noises and grids to compare besides; none by default
    probes: Mapping[str, Probe] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.prompts or not self.samplers:
            raise ValueError("an evaluation needs at least one prompt and one sampler")
        if said := unjudged(self.scorers, self.prompts):
            raise ValueError(said)
        if self.noises < 2:
            raise ValueError(f"`noises` must be at least 2 for a spread, got {self.noises}")
        for name in ("every", "batch", "shown", "spread_prompts"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")

    def measure(self, subject: Subject) -> Measurement:
        """Everything asked for, of one round."""
        model, team = of_kind(Model, subject.model, "an evaluation of pictures"), subject.team
        measured = evaluate(self, model, subject.now, team, subject.first)
        gaps = []
        if self.gap.due(subject.round, self.every, subject.last):
            gaps = measure_gap(self, model, subject.now, team)
        return replace(measured, prompts=list(self.prompts)[: self.shown], gaps=gaps)


def evaluate(
    evaluation: Evaluation,
    model: Model,
    denoiser: Denoiser,
    team: Team,
    reference: Denoiser | None = None,
) -> Measurement:
    """All samplers in turn; processes share the prompts.  With a reference also the drift."""
    measured = Measurement({}, {}, {})
    for name, sampler in evaluation.samplers.items():
        tester = Tester(evaluation, model, denoiser, sampler, team)
        numbers, scores, pictures = tester.scores()
        numbers |= tester.spread(reference)
        measured.numbers[name] = numbers
        measured.scores[name] = {k: v[: evaluation.shown] for k, v in scores.items()}
        measured.pictures[name] = pictures
    if {"ode", "sde"} <= set(measured.numbers):
        measured.numbers["gap"] = reward_gap(measured.numbers, evaluation.scorers)
    if evaluation.probes and reference is not None:
        measured.numbers["probes"] = {
            f"{name}/{number}": value
            for name, probe in evaluation.probes.items()
            for number, value in probe(denoiser, reference, model, team).items()
        }
    return measured


def reward_gap(numbers: Mapping[str, Mapping], scorers: Mapping[str, Reward]) -> dict[str, float]:
    """Mean score under the SDE sampler minus under the ODE sampler.  [reward-gap] (definition)"""
    return {name: numbers["sde"][name] - numbers["ode"][name] for name in scorers}


def measure_gap(evaluation: Evaluation, model: Model, denoiser: Denoiser, team: Team) -> list[dict]:
    """One record per noise and grid of `evaluation.gap`.  [reward-gap] (definition)

    All samplers get the same prompts and starting noises; the first noise of a prompt is that of
    the ordinary evaluation. Where α = 0 at the start, as in rectified flow, the first step of any
    η > 0 draws all noise anew, and what then remains in common is the prompt.
    """
    gap, scores = evaluation.gap, {}
    prompts = list(evaluation.prompts)[: gap.prompts]
    settings = replace(evaluation, prompts=prompts * gap.noises, tables={}, shown=1)
    for eta, steps in gap.cells():
        times = model.grid(steps)
        sampler = Sampler(times, (DDIM(generalised(eta)),) * (len(times) - 1))
        _, each, _ = Tester(settings, model, denoiser, sampler, team).scores()
        scores[eta, steps] = {
            name: torch.tensor(values, dtype=torch.float64).reshape(gap.noises, len(prompts))
            for name, values in each.items()
        }
    return compared(scores, gap.converged)


@dataclass(frozen=True)
class Tester:
    """One sampler's part of an evaluation."""

    evaluation: Evaluation
    model: Model
    denoiser: Denoiser
    sampler: Sampler
    team: Team

    def scores(self) -> tuple[dict, dict[str, list[float]], Tensor]:
        """(means, score of each prompt, the first pictures), the same on every process."""
        wanted, tables = list(self.evaluation.prompts), self.evaluation.tables
        mine = range(self.team.rank, len(wanted), self.team.size)
        prompts = [wanted[i] for i in mine]
        keys = [Key(("noise", self.evaluation.seed, i, 0)) for i in mine]
        media = self.model.decode(self._states(prompts, keys))

        def score() -> list[list[float]]:
            """One list per scorer; empty ones on a process without prompts."""
            scorers = self.evaluation.scorers
            found = answers(scorers, media, prompts) if prompts else {}
            return [found[name].tolist() if prompts else [] for name in scorers]

        each = self.team.all_or_none(score)
        rows = sorted(self.team.gather(list(zip(mine, *each, strict=True))))
        columns = list(zip(*rows, strict=True))[1:]
        scores = {n: list(c) for n, c in zip(self.evaluation.scorers, columns, strict=True)}
        numbers: dict = {name: sum(column) / len(column) for name, column in scores.items()}
        shown = self.evaluation.shown
        pictures = self._first(len(wanted) if tables else shown, mine, media)
        # a table is not a mean over samples, so it needs everybody's pictures at once
        there = pictures.to(self.team.device) if tables else pictures
        numbers |= {name: dict(table(there, wanted)) for name, table in tables.items()}
        return numbers, scores, pictures[:shown]

    def spread(self, reference: Denoiser | None) -> dict[str, float]:
        """Diversity: pixel std over several noises of a prompt, mean over prompts; and drift."""
        spread, noises = self.evaluation.spread_prompts, self.evaluation.noises
        mine = range(self.team.rank, min(spread, len(self.evaluation.prompts)), self.team.size)
        prompts = [self.evaluation.prompts[i] for i in mine for _ in range(noises)]
        keys = [Key(("noise", self.evaluation.seed, i, j)) for i in mine for j in range(noises)]
        x0 = self._states(prompts, keys)
        each = self.model.decode(x0).split(noises)
        spreads = [spread_of(media) for media in each if len(media)]
        values = sorted(self.team.gather(list(zip(mine, spreads, strict=True))))
        numbers = {"diversity": sum(value for _, value in values) / len(values)}
        if reference is not None:
            places = [i * noises + j for i in mine for j in range(noises)]
            moved = sorted(self.team.gather(self._drift(x0, prompts, keys, reference, places)))
            numbers["drift"] = sum(moved) / len(moved)
        return numbers

    @torch.no_grad()
    def _drift(
        self,
        x0: Tensor,
        prompts: list[str],
        keys: list[Key],
        reference: Denoiser,
        places: list[int],
    ) -> list[float]:
        """mean (v − v_reference)² of each sample, noised anew to one of five times.

        `places` are the samples' numbers in the whole evaluation, which decide the times.
        """
        if not prompts:
            return []
        t = 0.1 + 0.2 * (torch.tensor(places, device=x0.device) % 5).to(x0)
        eps = normal_each((k / "drift" for k in keys), self.model.shape).to(x0)
        time, process = per_sample(t, x0), self.model.process
        x_t = process.alpha(time) * x0 + process.sigma(time) * eps
        cond = to_device(self.model.encode(prompts), self.team)
        gaps = []
        for start in range(0, len(x0), self.evaluation.batch):
            piece = slice(start, start + self.evaluation.batch)
            given = None if cond is None else cond[piece]
            ours, first = (
                reading(x_t[piece], t[piece], given).as_("velocity")
                for reading in (self.denoiser, reference)
            )
            gaps += (ours - first).flatten(1).square().mean(1).tolist()
        return gaps

    def _first(self, count: int, mine: range, media: Tensor) -> Tensor:
        """The pictures of the first `count` prompts, from all processes."""
        rows = [(i, m) for i, m in zip(mine, media.cpu(), strict=True) if i < count]
        return torch.stack([m for _, m in sorted(self.team.gather(rows), key=lambda row: row[0])])

    @torch.no_grad()
    def _states(self, prompts: list[str], keys: list[Key]) -> Tensor:
        """Finished samples."""
        cond = to_device(self.model.encode(prompts), self.team) if prompts else None
        pieces, scale = [], self.sampler.start(self.model.process)
        for start in range(0, len(prompts), self.evaluation.batch):
            piece = slice(start, start + self.evaluation.batch)
            x = scale * normal_each((k / "start" for k in keys[piece]), self.model.shape)
            given = None if cond is None else cond[piece]
            x = x.to(self.team.device)
            pieces.append(draw(self.sampler, self.denoiser, x, keys[piece], given))
        nothing = torch.zeros(0, *self.model.shape, device=self.team.device)
        return torch.cat(pieces) if pieces else nothing


def spread_of(media: Float[Tensor, "noises *shape"]) -> float:
    """Pixel standard deviation over the noises of one prompt; media in [0, 1]."""
    return float(media.std(0, correction=0).mean())
