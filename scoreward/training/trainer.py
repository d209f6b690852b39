"""The loop: collect, prepare, update.  One for every objective, online and offline.

A `Trainer` is an iterator of rounds without hooks; evaluation, logging and stopping are ordinary
statements in the caller's `for`. The gradient of a minibatch is the sum over its rows on all
processes divided by their number, so micro-batches and processes cannot change it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, isfinite
from typing import Generic

import torch
from torch import Tensor

from scoreward.core.denoiser import Asked, InBatches, InPrecision, JoinedT, NetworkReading
from scoreward.core.keys import Key
from scoreward.core.policy import Policy, Rollout
from scoreward.core.rounds import Round
from scoreward.models.base import RoundFacts, Trainable
from scoreward.models.weights import Snapshot, Weights
from scoreward.objectives.base import GivenT, Objective, PolicyT, RowsT, Samples
from scoreward.training.clock import Clock, Watched
from scoreward.training.gradients import GradientParts, moved
from scoreward.training.guards import Diverged, Guards
from scoreward.training.optimizer import Optimizer, updates_made
from scoreward.training.precision import LEAST, rounding_of, scaler_of, tolerance
from scoreward.training.remembering import finish_backward
from scoreward.training.sources.combining import combined, detached
from scoreward.training.sources.online import Collected, Source, Work
from scoreward.training.team import Team


@dataclass
class Evaluations:
    """Network evaluations so far, over all processes; a backward pass costs two forwards."""

    behaviour: int = 0
    training_forward: int = 0
    training_backward: int = 0

    @property
    def total(self) -> int:
        """Behaviour forwards + 3 × trained evaluations."""
        return self.behaviour + self.training_forward + 2 * self.training_backward


class Trainer(Generic[Asked, JoinedT, PolicyT, GivenT, RowsT]):
    """State of training: live weights, snapshots, optimiser, counters.  `step()` is one round.

    >>> import scoreward as sw
    >>> run = sw.recipe("vgrpo", on="toy").run()
    >>> parts = run.model, run.objective, run.source, run.optimizer, run.team()
    >>> trainer = sw.Trainer(*parts)
    >>> done = trainer.step()
    >>> done.index, "reward/mean" in done.metrics
    (1, True)
    """

    def __init__(
        self,
        model: Trainable[Asked, JoinedT, PolicyT],
        objective: Objective[GivenT, RowsT, PolicyT],
        source: Source[PolicyT, GivenT],
        optimizer: Optimizer,
        team: Team,
        seed: int = 0,
        guidance: float = 1.0,
        guards: Guards | None = None,
    ) -> None:
        sizes, needs = source.geometry, objective.needs
        if needs.everyone and sizes.samples // sizes.unit(needs.whole_groups) < team.size:
            raise ValueError(
                f"this objective adds up over processes, so a round of {sizes.prompts} prompts x "
                f"{sizes.group} samples is too small for {team.size} processes; raise "
                "`geometry.prompts`"
            )
        model.network.to(team.device).eval()
        self.model, self.objective, self.source, self.team = model, objective, source, team
        self.optimizer, self.guards = optimizer, guards or Guards()
        self.key = Key(("scoreward", seed))
        self.weights = Weights(model.network)
        for name in ("reference", "old", "ema"):
            self.weights.commit(name)
        self.clock, self.evaluations, self.done = Clock(device=team.device), Evaluations(), 0
        precision = model.network, team.precision, team.device
        self.rounding, self.scaler = rounding_of(*precision), scaler_of(*precision)
        given = self.guards.ratio_tolerance
        self.tolerance = LEAST if given is None else given
        self.torch_optimizer = optimizer.build(self.weights.parameters.values())
        self.guidance, self.between_rounds = guidance, True
        self.memory: dict[str, Tensor] = {}
        self.fresh, self.spent = True, 0.0  # old is a copy of the live weights; share of the budget

    def __iter__(self) -> Iterator[Round]:
        while True:
            yield self.step()

    def reading(self, name: str) -> NetworkReading[Asked, JoinedT]:
        """The (guided) reading with a snapshot's weights: "reference", "old" or "ema"."""
        return self.model.guided(self._through(name), self.guidance)

    def backward(self, loss: Tensor) -> None:
        """Gradients of a loss, times the scale that fp16 needs; `_apply` takes it out again."""
        self.scaler.scale(loss).backward()

    def step(self, spent: float = 0.0) -> Round:
        """Collect a round, prepare it, make its updates.  Raises Diverged or RewardError.

        `spent` is the fraction of the budget so far, which a decay of the learning rate may follow.

        If it raises before its first update, `between_rounds` says that nothing has changed.
        """
        index, needs, self.spent = self.done, self.objective.needs, spent
        work, watched = self.work(index)
        collected, rows, policy = self._prepared(index, work, watched)
        samples = collected.samples
        if self.guards.ratio_tolerance is None:
            elements = max(1, samples.x0[:1].numel()) if isinstance(samples, Samples) else 1
            self.tolerance = tolerance(self.rounding, self.guidance, elements, needs.sums)
        metrics = dict(collected.metrics)
        epochs = range(self.source.geometry.epochs)
        for part in (part for epoch in epochs for part in self._pass(index, epoch)):
            update = self._update(rows, part, policy, collected.rollout)
            if update is None:
                metrics["updates/skipped"] = metrics.get("updates/skipped", 0.0) + 1
                continue
            if "loss" not in metrics:  # the last update's numbers stay, and the first's ratios
                first = {f"first/{k}": v for k, v in update.items() if k.startswith("ratio/")}
                metrics |= first | (self._allowed() if first else {})
            metrics |= update
        trained = watched["current"].trained
        behaviour = sum(w.count for w in watched.values()) - trained
        self.evaluations.behaviour += int(self.team.total(behaviour))
        self.evaluations.training_forward += int(self.team.total(trained))
        self.evaluations.training_backward += int(self.team.total(trained))
        self.clock.settle()
        self.done, self.between_rounds = self.done + 1, True
        return Round(self.done, metrics)

    def _prepared(
        self, index: int, work: Work[PolicyT], watched: dict[str, Watched[Asked, JoinedT]]
    ) -> tuple[Collected[GivenT], RowsT | None, PolicyT]:
        """A round's samples, the rows that it trains on, and the policy that they are scored by."""
        needs = self.objective.needs
        rows = None  # of a process without samples
        with torch.no_grad():
            collected = self.source.collect(index, self.key, work)
            samples, given = collected.samples, self.objective.given()
            if given is not None and not isinstance(samples, given):
                raise ValueError(
                    f"{type(self.objective).__name__} learns from {given.__name__}, and "
                    f"{type(self.source).__name__} gives {type(samples).__name__}; take an "
                    "objective and a source that belong together"
                )
            policy = self._policy(index, watched, collected.rollout)
            if len(samples):
                rows = self.objective.prepare(samples, policy, self.key / "round" / index)
            if needs.answers and rows is not None and len(rows):
                # asked in the batches of the first pass, so that equal networks give equal numbers
                direct = self._policy(index, watched, collected.rollout, in_batches=False)
                pieces = [m for part in self._pass(index, 0) for m in self._micro(rows, part)]
                answered = [self.objective.answered(piece, direct) for piece in pieces]
                rows = answered[0].joined(answered)
                del pieces, answered  # copies of all rows, which the updates have no use for
        return collected, rows, policy

    def rehearse(self, source: Source[PolicyT, GivenT]) -> None:
        """One micro-batch of a round of `source` forward and back, with no step.

        Whatever the trainer holds is afterwards what it was.
        """
        usual, clock = self.source, self.clock
        memory = {name: value.clone() for name, value in self.memory.items()}
        self.source, self.clock = source, Clock(device=self.team.device)
        try:
            work, watched = self.work(self.done)
            _, rows, policy = self._prepared(self.done, work, watched)
            for micro in self._micro(rows, self._pass(self.done, 0)[0])[:1]:
                self.backward(self.objective.loss(micro, policy)[0])
        finally:
            self.source, self.clock = usual, clock
            self.torch_optimizer.zero_grad(set_to_none=True)
            self.memory.clear()
            self.memory.update(memory)

    def work(self, index: int) -> tuple[Work[PolicyT], dict[str, Watched[Asked, JoinedT]]]:
        """What a source needs to collect a round, its snapshots brought to the round's start."""
        self._behave(index)
        # below any guidance, so that both of its evaluations are counted
        names = [*(n for n in self.weights.names() if n != "ema"), "current"]
        watched = {name: Watched(self._through(name), self.clock) for name in names}
        policy, needs = self._policy(index, watched), self.objective.needs
        return Work(self.model, policy, self.team, self.clock, needs, self.weights), watched

    def _behave(self, index: int) -> None:
        """Bring the snapshots that the objective asks for to the start of a round."""
        made = updates_made(self.torch_optimizer)
        decay = self.objective.old_decay(made)
        self.weights.commit("old", decay)
        self.fresh = decay == 0 or index == 0
        slow = self.objective.slow_decay(made)
        if slow is not None:
            self.weights.commit("slow", slow)

    def _pass(self, index: int, epoch: int) -> list[Tensor]:
        """The samples of each update of one pass over a round."""
        geometry = self.source.geometry
        key = self.key / "round" / index / "epoch" / epoch
        whole = self.objective.needs.whole_groups or self.source.compares
        return geometry.parts(key, geometry.unit(whole))

    def _micro(self, rows: RowsT | None, part: Tensor) -> list[RowsT]:
        """The rows of this process for one update, as many at once as memory allows."""
        if rows is None:
            return []
        local = rows[torch.isin(rows.sample, part.to(rows.sample.device))]
        return list(local.split(self.source.micro(self.objective.needs)))

    def _through(self, name: str) -> NetworkReading[Asked, JoinedT]:
        """A reading of the network as it is ("current") or with a snapshot's weights."""
        inside = self.model.reading
        if name != "current":
            inside = Snapshot(inside, self.weights, name)
        return InPrecision(inside, self.team.precision)

    def _policy(
        self,
        index: int,
        watched: dict[str, Watched[Asked, JoinedT]],
        rollout: Rollout = Rollout(),
        in_batches: bool = True,
    ) -> PolicyT:
        """What the objective sees; frozen readings answer in batches, or all at once."""
        geometry, all_at_once = self.source.geometry, {}
        single = geometry.updates == 1
        for name, reading in watched.items():
            all_at_once[name] = self.model.guided(reading, self.guidance)
        frozen: dict[str, NetworkReading[Asked, JoinedT]] = {
            name: InBatches(reading, geometry.rollout_batch) if in_batches else reading
            for name, reading in all_at_once.items()
        }
        readings = Policy(
            all_at_once["current"],
            frozen["old"],
            frozen["reference"],
            memory=self.memory,
            total=self.team.summed,
        )
        asking = RoundFacts(
            self.source.sampler(index),
            single and self.fresh and index % self.guards.verify_every != 0,
            self.rounding,
            rollout,
        )
        return self.model.policy(readings, frozen.get("slow"), asking)

    def _update(
        self, rows: RowsT | None, part: Tensor, policy: PolicyT, rollout: Rollout
    ) -> dict[str, float] | None:
        """One optimiser step on the rows whose sample is in `part`; None if nobody has any.

        A step without rows would still move the weights, by momentum and weight decay.
        """
        pieces = self._micro(rows, part)
        total = self.team.total(sum(map(len, pieces)))
        if not total:
            return None
        # signal is told from noise where there are micro-batches to compare
        apart = len(pieces) > 1 and self.team.size == 1 and rollout.leaf is None
        apart = apart and self._verifying()
        parts = GradientParts(list(self.weights.parameters.values()) if apart else [])
        answers = []
        for micro in pieces:
            loss, metrics = self.objective.loss(micro, policy)
            answers.append((len(micro), {"loss": loss.detach()} | metrics))
            with self.clock.section("backward"):
                self.backward(loss * (len(micro) / total))
            parts.add()
        if rollout.leaf is not None:
            with self.clock.section("backward"):
                finish_backward(rollout.graphs, rollout.leaf)
        metrics = combined(self.team.gather(detached(answers))) | parts.metrics()
        with self.clock.section("optimiser"):
            metrics["gradient/norm"] = self._apply(metrics)
        metrics["learning_rate"] = self.torch_optimizer.param_groups[0]["lr"]
        return metrics

    def _apply(self, metrics: dict[str, float]) -> float:
        """Sum over processes, clip, step; refuses to step on broken numbers."""
        parameters = list(self.weights.parameters.values())
        self.team.sum_gradients(parameters)
        if self.scaler.is_enabled():
            self.scaler.unscale_(self.torch_optimizer)
        norm = float(torch.nn.utils.clip_grad_norm_(parameters, self.optimizer.max_norm or inf))
        before = [p.detach().clone() for p in parameters] if self._verifying() else []
        try:
            if self.scaler.is_enabled():
                norm = self._unscaled(norm, metrics)
            self._refuse(metrics, norm)
            self._check_ratio(metrics)
            self.between_rounds = False
            self.optimizer.schedule(self.torch_optimizer, self.spent)
            self.scaler.step(self.torch_optimizer)
            self.scaler.update()
        finally:
            self.torch_optimizer.zero_grad(set_to_none=True)
        if before:
            metrics |= moved(before, parameters, self.team)
        self.weights.stepped()
        self.weights.commit("ema", self.optimizer.ema_decay(self.torch_optimizer))
        return norm

    def _unscaled(self, norm: float, metrics: dict[str, float]) -> float:
        """The norm of an update in fp16: 0 where gradients overflowed and it will be skipped."""
        scale = self.scaler.get_scale()
        metrics |= {"loss/scale": scale, "gradient/overflowed": float(not isfinite(norm))}
        if isfinite(norm):
            return norm
        if scale <= 1:
            raise Diverged(
                f"gradients overflow fp16 in round {self.done + 1} although the loss is no longer "
                "scaled up; use bf16 or float32",
                metrics,
            )
        return 0.0

    def _verifying(self) -> bool:
        """Whether this is the first update of a round in which more is measured."""
        return self.between_rounds and self.done % self.guards.verify_every == 0

    def _refuse(self, metrics: dict[str, float], norm: float) -> None:
        """Raise Diverged, naming the first number that is broken."""
        for name, value in [*metrics.items(), ("gradient/norm", norm)]:
            if not isfinite(value):
                raise Diverged(
                    f"{name} became {value} in round {self.done + 1}; lower the learning rate, "
                    "or look at the rewards and the ratio of the rounds before",
                    metrics,
                )

    def _check_ratio(self, metrics: dict[str, float]) -> None:
        """ρ ≡ 1 before the first update of a round, and not far from it later."""
        low, high = metrics.get("ratio/min", 1.0), metrics.get("ratio/max", 1.0)
        worst = max(abs(low - 1), abs(high - 1))
        if self.between_rounds and self.fresh and worst > self.tolerance:
            raise Diverged(
                f"the ratio before the first update of round {self.done + 1} is off 1 by "
                f"{worst:.3g}, where rounding explains {self.tolerance:.3g}; it must be 1, so the "
                "old and the new pass see different networks (dropout, guidance or stale weights); "
                "where you know better, raise guards.ratio_tolerance",
                metrics | {"before_update": 1.0} | self._allowed(),
            )
        mean, limit = metrics.get("ratio/mean", 1.0), self.guards.ratio_limit
        if high > limit or mean < 1 / limit:
            raise Diverged(
                f"the likelihood ratio exploded in round {self.done + 1}: mean {mean:.3g}, largest "
                f"{high:.3g}, where {1 / limit:.3g} to {limit:.3g} is allowed; the policy has left "
                "its rollouts: lower the learning rate, or make fewer updates per round",
                metrics,
            )

    def _allowed(self) -> dict[str, float]:
        """The tolerance of the first ratio, where it is another than in float32."""
        return {"first/ratio/tolerance": self.tolerance} if self.tolerance > LEAST else {}
