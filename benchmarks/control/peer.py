"""Stable-Baselines3's PPO on the same problem, its paths stepped in one batch for speed.

The package is not a dependency: `pip install -r benchmarks/control/requirements-peer.txt`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from benchmarks.control.common import plain
from scoreward.core.keys import Key
from scoreward.studies.control.lq import LQ
from scoreward.studies.control.sde import begin, step

WIDTH = 32
PATHS = 64
ROUND = 1.6  # time units per path and rollout at the coarsest step
COARSE = 0.1
EPISODE = 8.0  # time units, after which a path is cut (`TimeLimit.truncated`)


class Batch(VecEnv):
    """Parallel paths of one environment."""

    def __init__(self, env: LQ, dt: float, seed: int) -> None:
        n, m, _ = env.sizes
        self.env, self.dt, self.key, self.count = env, dt, Key(("peer", seed)), 0
        self.render_mode = None
        super().__init__(
            PATHS, Box(-np.inf, np.inf, (n,), np.float32), Box(-10, 10, (m,), np.float32)
        )
        self.limit = round(EPISODE / dt)

    def reset(self) -> np.ndarray:
        self.x = begin(self.env, PATHS, self.key / "first").x
        # ages differ from the start, so that cuts do not come all at once
        self.age = np.arange(PATHS) * self.limit // PATHS
        return self.x.numpy().astype(np.float32)

    def step_async(self, actions: np.ndarray) -> None:
        self.actions = torch.as_tensor(actions, dtype=torch.float64)

    @torch.no_grad()
    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict]]:
        key, t = self.key / self.count, torch.zeros(PATHS, dtype=torch.float64)
        self.count += 1
        noise = (key / "noise").normal(PATHS, self.env.sizes[2], dtype=torch.float64)
        reward = self.env.reward(self.x, self.actions, t) * self.dt
        self.x = step(self.env, self.x, self.actions, t, self.dt).sample(noise)
        self.age += 1
        done, infos = self.age >= self.limit, [{} for _ in range(PATHS)]
        seen = self.x.numpy().astype(np.float32)
        if done.any():
            for i in np.flatnonzero(done):
                infos[i] = {"TimeLimit.truncated": True, "terminal_observation": seen[i].copy()}
            fresh = begin(self.env, PATHS, key).x
            self.x = torch.where(torch.from_numpy(done)[:, None], fresh, self.x)
            self.age[done] = 0
            seen = self.x.numpy().astype(np.float32)
        return seen, reward.numpy().astype(np.float32), done, infos

    def close(self) -> None: ...

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self, attr_name)] * PATHS

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        setattr(self, attr_name, value)

    def env_method(self, name: str, *args: Any, indices: Any = None, **rest: Any) -> list[Any]:
        raise NotImplementedError(name)

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        return [False] * PATHS

    def seed(self, seed: int | None = None) -> Sequence[None]:
        return [None] * PATHS


@dataclass(frozen=True)
class Settings:
    """`scaled` keeps rollouts, minibatches and the memory of GAE fixed in time, not in steps."""

    lr: float
    gae: float  # λ at the coarsest step
    scaled: bool = False
    epochs: int = 5
    batch: int = 256  # at the coarsest step


class Look(BaseCallback):
    """Tells the study when a rollout has been learned from."""

    def __init__(self, dt: float, look: Callable[[float], None]) -> None:
        super().__init__()
        self.dt, self.look = dt, look

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self.num_timesteps:
            self.look(self.num_timesteps * self.dt)


def learn(
    env: LQ, settings: Settings, dt: float, time: float, seed: int, watch: Callable
) -> Callable[[Tensor], Tensor]:
    """The mean action after `time` simulated units."""
    env = plain(env)
    finer = COARSE / dt if settings.scaled else 1.0
    model = PPO(
        "MlpPolicy",
        Batch(env, dt, seed),
        learning_rate=lambda left: settings.lr * (0.1 + 0.9 * left),
        n_steps=round(ROUND / COARSE * finer),
        batch_size=round(settings.batch * finer),
        n_epochs=settings.epochs,
        gamma=exp(-env.discount * dt),
        gae_lambda=settings.gae ** (1 / finer),
        policy_kwargs={"net_arch": [WIDTH, WIDTH]},
        seed=seed,
        device="cpu",
    )

    def mean(x: Tensor) -> Tensor:
        with torch.no_grad():
            answer = model.policy.get_distribution(x.float()).mode()
        return answer.clamp(-10, 10).to(x.dtype)

    model.learn(round(time / dt), callback=Look(dt, lambda done: watch(done, mean)))
    return mean
