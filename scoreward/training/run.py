"""A run: everything that trains, in one value, and the loop that records it.

run = recipe("vgrpo", on="portraits").run(folder=Path("runs/mine"))
for moment in run.start():
    print(moment.round, moment.metrics["reward/mean"])
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scoreward.made_of import changes
from scoreward.objectives.base import Objective
from scoreward.rewards.base import RewardError
from scoreward.training import checkpoint
from scoreward.training.about import about
from scoreward.training.evaluations.pictures import Subject
from scoreward.training.folder import RunFolder, RunFolderError, record
from scoreward.training.guards import Diverged, Guards
from scoreward.training.interrupt import Stop, stop_after_round
from scoreward.training.optimizer import Optimizer
from scoreward.training.preflight import preflight
from scoreward.training.sources.online import HISTORY, Source
from scoreward.training.team import Team
from scoreward.training.trainer import Evaluations, Trainer
from scoreward.verdict import health


@dataclass(frozen=True)
class Budget:
    """When a run ends: at the first limit it reaches.

    Example:
        >>> import scoreward as sw
        >>> budget = sw.Budget(rounds=100, seconds=60.0)
        >>> budget.spent(rounds=50, seconds=45.0, evaluations=0)
        0.75
    """

    rounds: int | None = None
    seconds: float | None = None  # of training, evaluations not counted
    evaluations: int | None = None  # network evaluations, a trained one counting three

    def __post_init__(self) -> None:
        if self.rounds is None and self.seconds is None and self.evaluations is None:
            raise ValueError("a budget needs at least one of `rounds`, `seconds`, `evaluations`")
        for name in ("rounds", "seconds", "evaluations"):
            limit = getattr(self, name)
            if limit is not None and limit <= 0:
                raise ValueError(f"`{name}` of a budget must be positive, got {limit}")

    def spent(self, rounds: int, seconds: float, evaluations: int) -> float:
        """Fraction of the budget used; 1 or more means finished."""
        pairs = ((rounds, self.rounds), (seconds, self.seconds), (evaluations, self.evaluations))
        return max(used / limit for used, limit in pairs if limit is not None)


@dataclass(frozen=True)
class Keeping:
    """How often checkpoints are written, and how many are kept.

    Example:
        >>> import scoreward as sw
        >>> sw.Keeping(every=5).last
        2
    """

    every: int = 20  # rounds
    last: int = 2  # checkpoints kept on disk

    def __post_init__(self) -> None:
        if self.every < 1 or self.last < 1:
            raise ValueError(
                "checkpoints need `every` and `last` of at least 1, got "
                f"{self.every} and {self.last}"
            )


@dataclass(frozen=True)
class Moment:
    """A finished round (or, at round 0, the start) as the loop's reader sees it.

    >>> import scoreward as sw
    >>> run = sw.recipe("vgrpo", on="toy").run(budget=sw.Budget(rounds=1))
    >>> [(moment.round, moment.evaluation is not None) for moment in run.start()]
    [(0, True), (1, True)]
    """

    round: int
    fraction: float
    seconds: float
    evaluations: Evaluations
    metrics: Mapping[str, float]
    evaluation: Mapping[str, Any] | None
    findings: list[health.Finding]


@dataclass(frozen=True)
class Run:
    """All of a run: model, objective, data, optimiser, budget.  Build one in a recipe or by hand.

    >>> import scoreward as sw
    >>> run = sw.recipe("vgrpo", on="toy").run(budget=sw.Budget(rounds=2))
    >>> moments = list(run.start())  # 0 is the model as it was
    >>> [moment.round for moment in moments]
    [0, 1, 2]
    >>> moments[-1].evaluation["ode"]["reward"] > moments[0].evaluation["ode"]["reward"]
    True
    """

    name: str
    model: Any  # a `models.base.Trainable`: the trainer needs no more, an evaluation may
    objective: Objective
    source: Source
    optimizer: Optimizer
    budget: Budget
    folder: Path = Path("runs/unnamed")
    evaluation: Any | None = None  # an `Evaluator`
    keeping: Keeping = Keeping()
    guards: Guards = Guards()
    guidance: float = 1.0  # of the policy itself, in rollouts and in training alike
    seed: int = 0
    mixed_precision: str = "no"
    device: str = "auto"  # cpu, cuda, cuda:1, mps …; auto: the accelerator torch sees, else the CPU
    origin: Mapping[str, Any] = field(default_factory=dict)  # recipe and arguments, for resuming

    def team(self) -> Team:
        """The processes that train it, each with its device."""
        return Team(self.mixed_precision, self.device)

    def start(self) -> Iterator[Moment]:
        """Train from the beginning in a new folder."""
        session = Session(self)
        session.begin()
        return session.moments()

    def resume(self, changed: bool = False) -> Iterator[Moment]:
        """Go on from the newest checkpoint of `folder`, or from the start if there is none.

        Raises RunFolderError if files that the run was made of have other content than when it was
        started, unless it is to go on with what has `changed`.
        """
        session = Session(self)
        session.go_on(changed)
        return session.moments()


class Session:
    """One process's life of a run: the trainer, the folder and the time spent."""

    def __init__(self, run: Run) -> None:
        self.run, self.team = run, run.team()
        self.folder = RunFolder(run.folder)
        self.trainer = Trainer(
            run.model,
            run.objective,
            run.source,
            run.optimizer.planned(
                run.budget.rounds, run.source.geometry.updates, run.budget.evaluations is not None
            ),
            self.team,
            seed=run.seed,
            guidance=run.guidance,
            guards=run.guards,
        )
        self.seconds = 0.0  # of training
        self.earlier = 0.0  # wall time of interrupted sessions
        self.began = time.perf_counter()
        self.first: Mapping[str, float] = {}

    def begin(self) -> None:
        """Try everything once, then make the folder: what cannot run leaves none."""
        if self.team.leads:
            self.folder.check_free()
        if self.run.guards.preflight:
            preflight(self.run.evaluation, self.trainer)
        if self.team.leads:
            self.folder.create(about(self.run) | {"device": str(self.team.device)})
        self.team.wait()

    def go_on(self, changed: bool = False) -> None:
        """Load the newest checkpoint and forget what was recorded after it."""
        new = self._made_of(changed)
        if self.folder.about().get("status") == "finished":
            raise RunFolderError(
                f"{self.folder.path} holds a finished run; there is nothing to resume"
            )
        path = checkpoint.newest(self.folder.checkpoints)
        round = -1
        if path is not None:
            saved = checkpoint.load(path, self.trainer)
            round, self.seconds = saved.round, saved.seconds
            if new:  # what is known of each prompt is of other prompts or by another reward
                self.trainer.memory.pop(HISTORY, None)
        if self.team.leads:
            self.folder.rewind(round)
            self.folder.update(status="running", reason=None, **new)
        self.team.wait()
        rounds = self.folder.records("round")
        numbers = rounds[0].items() if rounds else ()
        self.first = {name: value for name, value in numbers if isinstance(value, float)}
        evaluated = self.folder.records("evaluation")
        self.earlier = evaluated[-1].get("wall", self.seconds) if evaluated else 0.0

    def _made_of(self, accepted: bool) -> dict[str, Any]:
        """What run.json is to say of the files the run is made of.  Raises RunFolderError."""
        about, now = self.folder.about(), self.run.origin.get("made_of")
        before = about.get("made_of")
        if not isinstance(before, dict) or now is None:  # of an earlier version, or from Python
            return {}
        different = changes({p: str(content) for p, content in before.items()}, now)
        if different and not accepted:
            raise RunFolderError(
                f"{self.folder.path} was started with other files: {'; '.join(different)}; put "
                "back what there was, or go on with what there is now: scoreward resume "
                f"{self.folder.path} --changed"
            )
        known = about.get("changed")
        earlier = known if isinstance(known, list) else []
        return {"made_of": dict(now), "changed": [*earlier, *different]} if different else {}

    def moments(self) -> Iterator[Moment]:
        """The loop.  Whatever stops it is recorded in run.json."""
        try:
            with stop_after_round() as stop:
                yield from self._loop(stop)
        except (RewardError, Diverged) as error:
            self._keep()
            if self.team.leads and isinstance(error, Diverged):
                with suppress(RunFolderError):
                    self.folder.append(self._line("failure", error.metrics))
            self._finish("failed", str(error))
            raise
        except Exception as error:
            self._finish("failed", str(error) or type(error).__name__)
            raise
        except GeneratorExit:
            self._keep()
            self._finish("stopped", "the loop was left before the budget was spent")
            raise
        except KeyboardInterrupt:
            self._finish("stopped", "interrupted in the middle of a round")
            raise

    def _loop(self, stop: Stop) -> Iterator[Moment]:
        evaluated = any(r["round"] == self.trainer.done for r in self.folder.records("evaluation"))
        if self._due() and not evaluated:  # it was where the run was interrupted after it
            yield self._moment({}, self._evaluate())
        while self._fraction() < 1:
            start = time.perf_counter()
            finished = self.trainer.step(self._fraction())
            # one clock and one decision for all processes, or some would wait for ever
            self.seconds = self.team.leader(self.seconds + time.perf_counter() - start)
            asked = self.team.total(float(stop.asked)) > 0 and self._fraction() < 1
            self.first = self.first or finished.metrics
            yield self._record(finished.metrics, asked)
            if asked:
                self._finish("stopped", "interrupted by the user")
                return
        self._summarise()
        self._finish("finished", None)

    def _record(self, metrics: Mapping[str, float], ending: bool) -> Moment:
        """Write a round's lines, evaluate and save where they are due."""
        done, evaluation = self.trainer.done, None
        if self.team.leads:
            self.folder.append(self._line("round", metrics))
        if self._due():
            evaluation = self._evaluate()
        moment = self._moment(metrics, evaluation)
        if self.team.leads:
            self.folder.append(*(self._line("health", vars(f)) for f in moment.findings))
        if ending or done % self.run.keeping.every == 0 or self._fraction() >= 1:
            self._save()
        return moment

    def _due(self) -> bool:
        """Whether the present weights are to be measured."""
        settings = self.run.evaluation
        if settings is None:
            return False
        return self.trainer.done % settings.every == 0 or self._fraction() >= 1

    def _moment(self, metrics: Mapping[str, float], evaluation: Mapping | None) -> Moment:
        findings = health.check_round(metrics, self.first) if metrics else []
        if evaluation is not None:
            findings += health.check_evaluations(self.folder.records("evaluation"))
        counted = Evaluations(**vars(self.trainer.evaluations))
        return Moment(
            round=self.trainer.done,
            fraction=min(1.0, self._fraction()),
            seconds=self.seconds,
            evaluations=counted,
            metrics=metrics,
            evaluation=evaluation,
            findings=findings,
        )

    def _evaluate(self) -> dict[str, Any] | None:
        """Measure the averaged weights, keep numbers and pictures."""
        settings = self.run.evaluation
        if settings is None:
            return None
        measured = settings.measure(self._subject())
        if self.team.leads:
            line = self._line("evaluation", measured.numbers) | {"wall": self._wall()}
            profile = self.trainer.clock.profile(self.seconds)
            self.folder.append(line, self._line("profile", profile))
            self.folder.append(*(self._line("gap", gap) for gap in measured.gaps))
            self.folder.keep(self.trainer.done, measured)
        self.team.wait()
        return measured.numbers

    def _subject(self) -> Subject:
        trainer = self.trainer
        now, first = (trainer.reading(name) for name in ("ema", "reference"))
        return Subject(
            model=self.run.model,
            now=now,
            first=first,
            weights=trainer.weights,
            team=self.team,
            memory=trainer.memory,
            round=trainer.done,
            last=self._fraction() >= 1,
        )

    def _keep(self) -> None:
        """Save what there is, if it is the state between two rounds; an error comes first."""
        if self.trainer.between_rounds:
            with suppress(RunFolderError):
                self._save()

    def _save(self) -> None:
        if self.team.leads:
            try:
                checkpoint.save(self.folder.checkpoints, self.trainer, self.seconds)
            except Exception as error:  # safetensors reports a full disk with its own class
                raise RunFolderError(
                    f"could not write a checkpoint in {self.folder.path}: {error}; the earlier "
                    "checkpoints are intact, so free space and resume"
                ) from error
            checkpoint.prune(self.folder.checkpoints, self.run.keeping.last)
        self.team.wait()

    def _summarise(self) -> None:
        evaluations = self.folder.records("evaluation")
        if not self.team.leads or not evaluations:
            return
        spent = self.trainer.evaluations
        summary = {
            "before": _samplers(evaluations[0]),
            "after": _samplers(evaluations[-1]),
            "seconds": {"total": self._wall(), "rl": self.seconds},
            "evaluations": {
                "behaviour": spent.behaviour,
                "training": spent.training_forward + 2 * spent.training_backward,
            },
        }
        self.folder.summarise(summary)

    def _line(self, kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
        done, spent = self.trainer.done, self.trainer.evaluations
        return record(kind, done, self.seconds, spent, content)

    def _fraction(self) -> float:
        spent = self.trainer.evaluations.total
        return self.run.budget.spent(self.trainer.done, self.seconds, spent)

    def _wall(self) -> float:
        return self.earlier + time.perf_counter() - self.began

    def _finish(self, status: str, reason: str | None) -> None:
        if self.team.leads:
            self.folder.finish(status, reason)


def _samplers(evaluation: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """The plain numbers of each sampler, or of whatever else was measured."""
    kept = {
        k: v
        for k, v in evaluation.items()
        if isinstance(v, dict) and k not in ("evaluations", "gap")
    }
    return {k: {n: x for n, x in v.items() if isinstance(x, float)} for k, v in kept.items()}
