"""Two critics that fit themselves to one round of transitions: linear by LSTD, and a network."""

from itertools import combinations_with_replacement
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scoreward.core import value
from scoreward.core.keys import Key
from scoreward.studies.control.policies import Features
from scoreward.studies.control.sde import Environment, PathSteps


@runtime_checkable
class Critic(Protocol):
    """(x, t) → value [batch]; `average` is the average reward of an ergodic problem, else 0."""

    average: Tensor

    def __call__(self, x: Tensor, t: Tensor) -> Tensor: ...
    def fit(self, env: Environment, rows: PathSteps, paths: int, key: Key) -> None: ...
    def state_dict(self) -> dict: ...
    def load_state_dict(self, state: dict) -> object: ...


def quadratic(x: Float[Tensor, "batch n"], t: Float[Tensor, " batch"]) -> Float[Tensor, "batch p"]:
    """1, x_i, and x_i x_j for i ≤ j."""
    pairs = combinations_with_replacement(range(x.shape[1]), 2)
    products = [x[:, i] * x[:, j] for i, j in pairs]
    return torch.cat([torch.ones_like(x[:, :1]), x, torch.stack(products, 1)], 1)


def rates(env: Environment, rows: PathSteps) -> Float[Tensor, " rows"]:
    """r − γ log π + what the horizon pays, per unit time."""
    # the terminal reward, discounted over the last step
    paid = (-env.discount * rows.dt).exp() * rows.bonus / rows.dt
    return rows.reward - env.temperature * rows.log_prob + paid


def excess(env: Environment, rows: PathSteps, critic: Critic) -> Float[Tensor, " rows"]:
    """q̂ − γ log π of each transition, per unit time: what policy gradients weigh log π with.

    [ct-policy-opt] (CPG)
    """
    with torch.no_grad():
        later = critic(rows.next, rows.t + rows.dt)
        later = torch.where(rows.ended, torch.zeros_like(later), later)
        here, rate = critic(rows.x, rows.t), rates(env, rows) - critic.average
        return value.advantage_rate(here, later, rate, env.discount, rows.dt)


class LinearCritic:
    """V = wᵀφ(x, t), solved by LSTD each round; the first feature must be the constant 1.

    `memory` keeps that share of the last rounds' equations, which lowers the noise while the policy
    moves slowly; 0 forgets them.
    """

    def __init__(self, features: Features = quadratic, memory: float = 0.0) -> None:
        if not 0 <= memory < 1:
            raise ValueError(f"`memory` must be in [0, 1), got {memory}")
        self.features, self.memory = features, memory
        self.weights: Tensor | None = None
        self.average = torch.zeros((), dtype=torch.float64)
        self.sums: tuple[Tensor, ...] = ()

    def __call__(self, x: Float[Tensor, "batch n"], t: Float[Tensor, " batch"]) -> Tensor:
        phi = self.features(x, t)
        return phi @ (phi.new_zeros(phi.shape[1]) if self.weights is None else self.weights)

    def fit(self, env: Environment, rows: PathSteps, paths: int, key: Key) -> None:
        """Solve the orthogonality conditions of these rows."""
        phi = self.features(rows.x, rows.t)
        later = self.features(rows.next, rows.t + rows.dt) * ~rows.ended[:, None]
        system, right = value.lstd_system(phi, later, rates(env, rows), env.discount, rows.dt)
        new = (system, right, phi.mean(0))
        kept = self.sums or tuple(torch.zeros_like(part) for part in new)
        self.sums = tuple(self.memory * a + (1 - self.memory) * b for a, b in zip(kept, new))
        self.weights, self.average = value.solve_lstd(*self.sums, ergodic=env.ergodic)

    def state_dict(self) -> dict:
        return {"weights": self.weights, "average": self.average, "sums": self.sums}

    def load_state_dict(self, state: dict) -> None:
        self.weights, self.average, self.sums = state["weights"], state["average"], state["sums"]


class NetworkCritic:
    """A network of (x, t), one output, trained by Adam on minibatches of the round.

    "martingale loss" regresses on returns to the end of each piece of path, with the value of the
    last round there; "orthogonality" takes semi-gradient steps on single increments.
    """

    def __init__(
        self,
        network: nn.Module,
        fit_to: Literal["martingale loss", "orthogonality"] = "martingale loss",
        lr: float = 1e-3,
        epochs: int = 5,
        parts: int = 8,
    ) -> None:
        self.network, self.fit_to, self.epochs, self.parts = network, fit_to, epochs, parts
        self.average = torch.zeros((), dtype=torch.float64)
        self.optimizer = torch.optim.Adam(network.parameters(), lr=lr)

    def __call__(self, x: Float[Tensor, "batch n"], t: Float[Tensor, " batch"]) -> Tensor:
        dtype = next(self.network.parameters()).dtype
        return self.network(torch.cat([x, t[:, None]], 1).to(dtype))[:, 0].to(x.dtype)

    def fit(self, env: Environment, rows: PathSteps, paths: int, key: Key) -> None:
        """`epochs` passes in `parts` minibatches each."""
        if env.ergodic:
            self.average = self.average.lerp(rates(env, rows).mean(), 0.1)
        target = self._targets(env, rows, paths)
        for epoch in range(self.epochs):
            order = (key / "critic" / epoch).permutation(len(rows))
            for index in order.chunk(self.parts):
                self.optimizer.zero_grad()
                self._loss(env, rows[index], target[index]).backward()
                self.optimizer.step()

    def _loss(self, env: Environment, rows: PathSteps, target: Tensor) -> Tensor:
        here = self(rows.x, rows.t)
        if self.fit_to == "martingale loss":
            return value.martingale_loss(here, target)
        later = self._later(rows)
        rate = rates(env, rows) - self.average
        return value.orthogonality_loss(here, later, rate, env.discount, rows.dt)

    @torch.no_grad()
    def _later(self, rows: PathSteps) -> Tensor:
        later = self(rows.next, rows.t + rows.dt)
        return torch.where(rows.ended, torch.zeros_like(later), later)

    @torch.no_grad()
    def _targets(self, env: Environment, rows: PathSteps, paths: int) -> Tensor:
        shape, dt = (-1, paths), rows.dt[0].item()
        rate = (rates(env, rows) - self.average).reshape(shape)
        later = self._later(rows).reshape(shape)
        cut = rows.cut.reshape(shape)
        return value.realised(rate, later, cut, env.discount, dt).flatten()

    def state_dict(self) -> dict:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
        }

    def load_state_dict(self, state: dict) -> None:
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average = state["average"]
