"""CPG and CPPO with networks of the peer's shape."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from benchmarks.control.common import plain
from scoreward.studies.control.cpg import CPG
from scoreward.studies.control.cppo import CPPO
from scoreward.studies.control.critics import NetworkCritic
from scoreward.studies.control.learner import Learner, PathSampling
from scoreward.studies.control.lq import LQ
from scoreward.studies.control.policies import NetworkPolicy, mlp

WIDTH = 32
PATHS = 64
ROUND = 1.6  # time units per path and round


@dataclass(frozen=True)
class Settings:
    method: Literal["CPG", "CPPO"]
    lr: float
    radius: float = 0.05  # of CPPO
    critic_lr: float = 3e-3


def learn(
    env: LQ, settings: Settings, dt: float, time: float, seed: int, watch: Callable
) -> Callable[[Tensor], Tensor]:
    """The mean action after `time` simulated units."""
    env = plain(env)
    torch.manual_seed(seed)
    n, m, _ = env.sizes
    policy = NetworkPolicy(mlp(n + 1, m, WIDTH), m)
    critic = NetworkCritic(mlp(n + 1, 1, WIDTH), lr=settings.critic_lr, epochs=10, parts=4)
    update = CPG() if settings.method == "CPG" else CPPO(radius=settings.radius, factor=2.0)
    optimizer = torch.optim.Adam(policy.parameters(), lr=settings.lr)
    rounds = time / (PATHS * ROUND)
    learner = Learner(
        env, policy, critic, update, optimizer, sampling(dt), seed, lambda k: 1 - 0.9 * k / rounds
    )

    def mean(x: Tensor) -> Tensor:
        with torch.no_grad():
            return policy(x, torch.zeros_like(x[:, 0])).mean

    for done in learner:
        simulated = done.metrics["time/simulated"]
        watch(simulated, mean)
        if simulated >= time - 1e-6:
            return mean
    return mean


def sampling(dt: float) -> PathSampling:
    return PathSampling(PATHS, round(ROUND / dt), dt)
