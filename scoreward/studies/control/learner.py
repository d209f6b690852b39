"""The loop of control: collect transitions, fit the critic, update the policy.

A `Learner` is an iterator of rounds, as `Trainer` is for images; `CPG` and `CPPO` are its updates.
Everything follows from the seed. A round is a stretch of simulated time, paths · steps · dt; with
`steps` in proportion to 1/dt it means the same for every dt.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from scoreward.core.keys import Key
from scoreward.core.rounds import Round
from scoreward.studies.control.critics import Critic, excess, rates
from scoreward.studies.control.sde import Environment, Paths, PathSteps, begin, collect


@dataclass(frozen=True)
class PathSampling:
    """What a round simulates.  With a horizon, let steps · dt be the horizon."""

    paths: int = 2000
    steps: int = 40
    dt: float = 0.01

    def __post_init__(self) -> None:
        if self.paths < 1 or self.steps < 1 or not self.dt > 0:
            raise ValueError(
                "expected paths >= 1, steps >= 1 and dt > 0, got "
                f"{self.paths}, {self.steps} and {self.dt}"
            )


@runtime_checkable
class Update(Protocol):
    """One round's change of a policy from transitions and q̂ − γ log π; returns metrics."""

    def __call__(
        self,
        env: Environment,
        policy: nn.Module,
        optimizer: torch.optim.Optimizer,
        rows: PathSteps,
        advantage: Tensor,
        key: Key,
    ) -> dict[str, float]: ...

    def state_dict(self) -> dict[str, float]: ...
    def load_state_dict(self, state: dict[str, float]) -> None: ...


class Learner:
    """State of learning; `step()` is one round, iteration goes on for ever."""

    def __init__(
        self,
        env: Environment,
        policy: nn.Module,
        critic: Critic,
        update: Update,
        optimizer: torch.optim.Optimizer,
        sampling: PathSampling | None = None,
        seed: int = 0,
        schedule: Callable[[int], float] = lambda done: 1.0,
    ) -> None:
        """`schedule` gives the learning rate after so many rounds, relative to the optimiser's."""
        self.env, self.policy, self.critic, self.update = env, policy, critic, update
        self.optimizer, self.sampling = optimizer, sampling or PathSampling()
        self.key, self.schedule, self.done = Key(("control", seed)), schedule, 0
        self.first_rates = [group["lr"] for group in optimizer.param_groups]
        self.paths = begin(env, self.sampling.paths, self.key / "begin")

    def __iter__(self) -> Iterator[Round]:
        while True:
            yield self.step()

    def step(self) -> Round:
        """Collect, fit, update.  FloatingPointError where the numbers have left their range."""
        key, size = self.key / "round" / self.done, self.sampling
        rows, self.paths = collect(
            self.env, self.policy, self.paths, size.steps, size.dt, key / "collect"
        )
        if not bool(rows.next.isfinite().all()):
            raise FloatingPointError(
                f"a path left the finite numbers in round {self.done + 1}; take a smaller learning "
                "rate or a smaller dt"
            )
        self.critic.fit(self.env, rows, size.paths, key / "fit")
        advantage = excess(self.env, rows, self.critic)
        for group, rate in zip(self.optimizer.param_groups, self.first_rates):
            group["lr"] = rate * self.schedule(self.done)
        metrics = self.update(
            self.env, self.policy, self.optimizer, rows, advantage, key / "update"
        )
        self.done += 1
        total = rates(self.env, rows).mean() * self.env.mass
        told = {
            "objective/estimate": total.item(),  # η of the round's policy, entropy included
            "reward/mean": rows.reward.mean().item(),  # per unit time
            "entropy/nats": -rows.log_prob.mean().item(),
            "advantage/std": advantage.std().item(),  # per unit time; grows as 1/√dt
            "time/simulated": self.done * size.paths * size.steps * size.dt,
        }
        return Round(self.done, told | metrics)

    def state_dict(self) -> dict:
        """What a run needs to go on with the same numbers."""
        return {
            "policy": self.policy.state_dict(),
            "critic": self.critic.state_dict(),
            "update": self.update.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "paths": (self.paths.x, self.paths.t),
            "done": self.done,
        }

    def load_state_dict(self, state: dict) -> None:
        """Go on where `state_dict` was taken; the problem and the settings must be the same."""
        self.policy.load_state_dict(state["policy"])
        self.critic.load_state_dict(state["critic"])
        self.update.load_state_dict(state["update"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.paths, self.done = Paths(*state["paths"]), state["done"]


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, max_norm: float | None) -> float:
    """One optimiser step; returns the norm of the gradient before it was limited."""
    optimizer.zero_grad()
    loss.backward()
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    limit = float("inf") if max_norm is None else max_norm
    norm = nn.utils.clip_grad_norm_(parameters, limit)
    optimizer.step()
    return norm.item()
