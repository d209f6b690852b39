"""Environments for other libraries' agents, through Gymnasium (the extra `control`).

A step lasts dt and pays r dt, so that the return with `discount_per_step` is the Riemann sum of the
continuous objective. Entropy is the agent's own business. Episodes end at the horizon, which is a
true end; without one they are cut after `episode` units of time, which is not (`truncated`).
"""

from math import exp, isfinite
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.spaces import Box

from scoreward.core.keys import Key
from scoreward.studies.control.sde import Environment, Paths, begin, check_step, step

Observation = np.ndarray


class GymEnvironment(gymnasium.Env):
    """One path.  Observations are (x, t) with a horizon, x without; actions are a float32 Box."""

    def __init__(
        self,
        env: Environment,
        dt: float,
        episode: float = 10.0,
        low: float = -np.inf,
        high: float = np.inf,
        seed: int = 0,
    ) -> None:
        check_step(env, dt)
        if not episode >= dt:
            raise ValueError(f"an episode of {episode} holds no step of {dt}")
        self.env, self.dt, self.timed = env, dt, isfinite(env.horizon)
        self.steps = round((env.horizon if self.timed else episode) / dt)
        states, actions, _ = env.sizes
        self.observation_space = Box(-np.inf, np.inf, (states + self.timed,), np.float32)
        self.action_space = Box(low, high, (actions,), np.float32)
        self.key, self.episode = Key(("gym", seed)), 0
        self.paths, self.taken = begin(env, 1, self.key), 0

    @property
    def discount_per_step(self) -> float:
        """e^(−β dt): the γ to give to a discrete-time agent."""
        return exp(-self.env.discount * self.dt)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """A new path; with a seed, the same paths follow as after every reset with that seed."""
        super().reset(seed=seed)
        if seed is not None:
            self.key, self.episode = Key(("gym", seed)), 0
        self.episode += 1
        self.paths, self.taken = begin(self.env, 1, self.key / self.episode), 0
        return self._observe(), {}

    @torch.no_grad()
    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Hold the action for dt."""
        env, x, t = self.env, self.paths.x, self.paths.t
        a = torch.as_tensor(np.asarray(action), dtype=x.dtype).reshape(1, -1)
        key = self.key / self.episode / "step" / self.taken
        noise = key.normal(1, env.sizes[2], dtype=x.dtype)
        reward = env.reward(x, a, t).item() * self.dt
        moved = env.confine(step(env, x, a, t, self.dt).sample(noise), t + self.dt)
        self.paths, self.taken = Paths(moved, t + self.dt), self.taken + 1
        over = self.taken >= self.steps
        if over and self.timed:  # the last step is discounted like every later reward
            reward += self.discount_per_step * env.terminal(moved).item()
        return self._observe(), reward, over and self.timed, over and not self.timed, {}

    def _observe(self) -> Observation:
        parts = [self.paths.x[0]] + ([self.paths.t] if self.timed else [])
        return torch.cat(parts).numpy().astype(np.float32)
