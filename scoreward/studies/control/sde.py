"""Environments as controlled SDEs, and how they are simulated.

    dX = b(X, a, t) dt + σ(X, a, t) dB,   objective E ∫₀ᵀ e^(−βt) (r − γ log π) dt + e^(−βT) g(X_T)

A new problem is a frozen dataclass derived from `Environment` with five methods: `sizes`, `drift`,
`diffusion`, `reward`, `start`. Time comes as an argument, one per path, so that problems with a
horizon need no extra state; stationary problems ignore it. `terminal` pays at the horizon, and
`confine` puts a state that left its constraint set back. A policy is any callable (x, t) → law with
`sample` and `log_prob`; bounded actions are a `Squashed` law, see `policies`.

A step is a law, as in `chain`: `step` returns N(x + b dt, σσᵀ dt), and whoever simulates draws from
it. Paths restart with probability 1 − e^(−β dt), so the states they visit follow the discounted
occupation law.  Noise is addressed by (purpose, step), one draw for all paths.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import exp, expm1, inf, isfinite

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.core.rows import Rows, join
from scoreward.studies.control.normal import Law, Normal

Policy = Callable[[Tensor, Tensor], Law]
"""(x [batch n], t [batch]) → law of the action [batch m]."""


@dataclass(frozen=True, kw_only=True)
class Environment(ABC):
    """A controlled SDE.  Rates are per unit time; the rest has the units of the problem."""

    discount: float  # β ≥ 0 per unit time; 0 without a horizon is the ergodic problem
    temperature: float = 0.0  # γ ≥ 0: the objective gets −γ log π per unit time
    horizon: float = inf  # T; at T `terminal` is paid and the path starts anew

    def __post_init__(self) -> None:
        if self.discount < 0 or self.temperature < 0 or not self.horizon > 0:
            raise ValueError(
                "expected discount >= 0, temperature >= 0 and horizon > 0, got "
                f"{self.discount}, {self.temperature} and {self.horizon}"
            )

    @property
    @abstractmethod
    def sizes(self) -> tuple[int, int, int]:
        """Numbers of states n, of actions m and of noise terms j."""

    @abstractmethod
    def drift(
        self, x: Float[Tensor, "batch n"], a: Float[Tensor, "batch m"], t: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch n"]:
        """b(x, a, t), per unit time."""

    @abstractmethod
    def diffusion(
        self, x: Float[Tensor, "batch n"], a: Float[Tensor, "batch m"], t: Float[Tensor, " batch"]
    ) -> Float[Tensor, "rows n j"]:
        """σ(x, a, t), per √time: column j is what the j-th noise moves; rows = batch or 1."""

    @abstractmethod
    def reward(
        self, x: Float[Tensor, "batch n"], a: Float[Tensor, "batch m"], t: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """r(x, a, t), per unit time, without the entropy term."""

    @abstractmethod
    def start(self, count: int, key: Key) -> Float[Tensor, "{count} n"]:
        """Independent draws of the start law μ, in float64."""

    def terminal(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, " batch"]:
        """g(x), paid at the horizon; 0 by default."""
        return torch.zeros_like(x[:, 0])

    def confine(
        self, x: Float[Tensor, "batch n"], t: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch n"]:
        """The nearest allowed state at time t; every state by default."""
        return x

    @property
    def ergodic(self) -> bool:
        """Whether the objective is a long-run average, without discount and without an end."""
        return self.discount == 0 and self.horizon == inf

    @property
    def mass(self) -> float:
        """∫₀ᵀ e^(−βt) dt, the total of the occupation measure; 1 for ergodic problems."""
        if self.ergodic:
            return 1.0
        if self.discount == 0:
            return self.horizon
        return -expm1(-self.discount * self.horizon) / self.discount


def step(
    env: Environment,
    x: Float[Tensor, "batch n"],
    a: Float[Tensor, "batch m"],
    t: Float[Tensor, " batch"],
    dt: float,
) -> Normal:
    """Law of the state after dt (Euler–Maruyama), before `confine`."""
    return Normal(x + env.drift(x, a, t) * dt, env.diffusion(x, a, t) * dt**0.5)


@dataclass(frozen=True)
class Paths(Rows):
    """Where parallel paths stand: state and age."""

    x: Float[Tensor, "paths n"]
    t: Float[Tensor, " paths"]


@dataclass(frozen=True)
class PathSteps(Rows):
    """Steps of paths.  `next` is the state before a possible restart: values are read there."""

    x: Float[Tensor, "rows n"]
    t: Float[Tensor, " rows"]
    dt: Float[Tensor, " rows"]
    action: Float[Tensor, "rows m"]
    log_prob: Float[Tensor, " rows"]  # of the action under the policy that drew it, nats
    reward: Float[Tensor, " rows"]  # r per unit time, without entropy
    next: Float[Tensor, "rows n"]
    ended: Bool[Tensor, " rows"]  # the horizon was reached
    bonus: Float[Tensor, " rows"]  # g(next) where it was, else 0
    cut: Bool[Tensor, " rows"]  # the path's next row starts anew: restarted, or ended


def begin(env: Environment, count: int, key: Key) -> Paths:
    """Paths of age 0 from the start law."""
    x = env.start(count, key / "start")
    return Paths(x, x.new_zeros(count))


def advance(
    env: Environment, policy: Policy, paths: Paths, dt: float, key: Key
) -> tuple[PathSteps, Paths]:
    """One step of every path, and where they go on: restarted or not.  [ct-policy-opt] (occupation)

    A restart with probability 1 − e^(−β dt), and at the horizon always, makes the visited (x, t)
    follow the law with density β e^(−βt) (or its analogue on [0, T]) over ages.
    """
    x, t, count = paths.x, paths.t, len(paths)
    _, actions, noises = env.sizes
    law = policy(x, t)
    a = law.sample((key / "action").normal(count, actions, dtype=x.dtype))
    moved = step(env, x, a, t, dt).sample((key / "noise").normal(count, noises, dtype=x.dtype))
    later = t + dt
    new = env.confine(moved, later)
    ended = later >= env.horizon - 1e-9
    again = ended
    if env.discount > 0:
        chance = (key / "restart").uniform(count, dtype=x.dtype)
        again = again | (chance < -expm1(-env.discount * dt))
    row = PathSteps(
        x=x,
        t=t,
        dt=torch.full_like(t, dt),
        action=a,
        log_prob=law.log_prob(a),
        reward=env.reward(x, a, t),
        next=new,
        ended=ended,
        bonus=torch.where(ended, env.terminal(new), torch.zeros_like(t)),
        cut=again,
    )
    if not bool(again.any()):
        return row, Paths(new, later)
    fresh = env.start(count, key / "start").to(x)
    return row, Paths(
        torch.where(again[:, None], fresh, new), torch.where(again, torch.zeros_like(t), later)
    )


@torch.no_grad()
def collect(
    env: Environment, policy: Policy, paths: Paths, steps: int, dt: float, key: Key
) -> tuple[PathSteps, Paths]:
    """`steps` steps of every path, time-major, and where the paths are then."""
    check_step(env, dt)
    parts = []
    for k in range(steps):
        row, paths = advance(env, policy, paths, dt, key / "step" / k)
        parts.append(row)
    return join(parts), paths


@torch.no_grad()
def returns(
    env: Environment, policy: Policy, paths: Paths, steps: int, dt: float, key: Key
) -> Float[Tensor, " paths"]:
    """Realised objective of each path over `steps` steps without restarts, entropy included.

    Discounted from the first step on. Without a horizon what comes after the last step is left out,
    about e^(−β steps dt) of the value; with one, `steps` · dt must reach it exactly or stay below.
    """
    check_step(env, dt)
    x, t, total = paths.x, paths.t, torch.zeros_like(paths.t)
    _, actions, noises = env.sizes
    for k in range(steps):
        law, here = policy(x, t), key / "step" / k
        a = law.sample((here / "action").normal(len(x), actions, dtype=x.dtype))
        rate = env.reward(x, a, t)
        if env.temperature > 0:
            rate = rate - env.temperature * law.log_prob(a)
        total = torch.add(total, rate, alpha=exp(-env.discount * k * dt) * dt)
        noise = (here / "noise").normal(len(x), noises, dtype=x.dtype)
        moved = step(env, x, a, t, dt).sample(noise)
        t = t + dt
        x = env.confine(moved, t)
    at_end = t >= env.horizon - 1e-9
    late = exp(-env.discount * steps * dt) * env.terminal(x)
    return total + torch.where(at_end, late, torch.zeros_like(t))


def check_step(env: Environment, dt: float) -> None:
    """ValueError unless dt > 0 divides the horizon."""
    if not dt > 0:
        raise ValueError(f"`dt` must be positive, got {dt}")
    if isfinite(env.horizon) and abs(env.horizon / dt - round(env.horizon / dt)) > 1e-6:
        raise ValueError(
            f"the horizon {env.horizon} is not a whole number of steps of {dt}; "
            f"take dt = {env.horizon / max(1, round(env.horizon / dt)):g}"
        )
