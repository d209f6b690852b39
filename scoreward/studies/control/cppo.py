"""CPPO: proximal policy optimisation in continuous time.

[ct-policy-opt] arXiv:2305.18901. A round maximises

    (1/β) E [ π'/π (q − γ log π) ] − C E √KL(π'(·|x) ‖ π(·|x))

over several passes, then adapts C so that the mean √KL stays near a radius. The square root is the
paper's; it comes from a bound by total variation. KL is in closed form, where a public
implementation takes the root of a sampled mean; without the clipping of PPO.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scoreward.core.keys import Key
from scoreward.studies.control.learner import descend
from scoreward.studies.control.sde import Environment, PathSteps


@dataclass
class CPPO:
    """Settings, and the current penalty.  Numbers are those of a third-party implementation."""

    radius: float = 0.02  # δ, of the mean √KL per round
    slack: float = 0.1  # C changes where the mean √KL leaves (1 ± slack) δ
    factor: float = 1.5  # by this
    penalty: float = 1.0  # C at the start, then the current one
    limits: tuple[float, float] = (1e-8, 10.0)  # of C
    epochs: int = 10
    parts: int = 1  # minibatches per epoch; ours
    max_norm: float | None = 0.5
    stop: float | None = 1.0  # no more passes once the mean √KL is beyond this many radii; ours

    def __post_init__(self) -> None:
        if not (self.radius > 0 and self.factor > 1 and 0 <= self.slack < 1):
            raise ValueError(
                "expected radius > 0, factor > 1 and slack in [0, 1), got "
                f"{self.radius}, {self.factor} and {self.slack}"
            )

    def __call__(
        self,
        env: Environment,
        policy: nn.Module,
        optimizer: torch.optim.Optimizer,
        rows: PathSteps,
        advantage: Float[Tensor, " rows"],
        key: Key,
    ) -> dict[str, float]:
        old = deepcopy(policy).requires_grad_(False)
        norm, passes = 0.0, 0
        while passes < self.epochs:
            if self.stop is not None and distance(policy, old, rows) > self.stop * self.radius:
                break
            for part, weights in self._parts(rows, advantage, key / passes):
                norm = descend(optimizer, self.loss(env, policy, old, part, weights), self.max_norm)
            passes += 1
        return {"gradient/norm": norm, "passes": passes, **self._adapt(policy, old, rows)}

    def _parts(
        self, rows: PathSteps, advantage: Tensor, key: Key
    ) -> Iterator[tuple[PathSteps, Tensor]]:
        if self.parts == 1:
            yield rows, advantage
            return
        for index in key.permutation(len(rows)).chunk(self.parts):
            yield rows[index], advantage[index]

    def loss(
        self,
        env: Environment,
        policy: nn.Module,
        old: nn.Module,
        rows: PathSteps,
        advantage: Float[Tensor, " rows"],
    ) -> Float[Tensor, ""]:
        """Minus the penalised gain.  [ct-policy-opt] (CPPO)"""
        law = policy(rows.x, rows.t)
        ratio = (law.log_prob(rows.action) - rows.log_prob).exp()
        kl = law.kl(old(rows.x, rows.t))
        return self.penalty * root(kl).mean() - env.mass * (ratio * advantage).mean()

    def _adapt(self, policy: nn.Module, old: nn.Module, rows: PathSteps) -> dict[str, float]:
        """C grows where the policy moved too far, and shrinks where too little.

        [ct-policy-opt] (penalty)
        """
        moved, used = distance(policy, old, rows), self.penalty
        if moved > (1 + self.slack) * self.radius:
            self.penalty = min(self.penalty * self.factor, self.limits[1])
        elif moved < (1 - self.slack) * self.radius:
            self.penalty = max(self.penalty / self.factor, self.limits[0])
        return {"kl/root": moved, "kl/penalty": used}

    def state_dict(self) -> dict[str, float]:
        """The penalty is the only thing that changes."""
        return {"penalty": self.penalty}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """See `state_dict`."""
        self.penalty = state["penalty"]


@torch.no_grad()
def distance(policy: nn.Module, old: nn.Module, rows: PathSteps) -> float:
    """Mean √KL(policy ‖ old) over the visited states."""
    return root(policy(rows.x, rows.t).kl(old(rows.x, rows.t))).mean().item()


def root(kl: Float[Tensor, " rows"], floor: float = 1e-16) -> Float[Tensor, " rows"]:
    """√(KL + floor): at KL = 0 the root has no derivative, this has 0."""
    return (kl.clamp(min=0) + floor).sqrt()
