"""What both studies share: the task without entropy, networks, and exact or paired gaps."""

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from scoreward.core.keys import Key
from scoreward.studies.control import lq, problems
from scoreward.studies.control.lq import LQ
from scoreward.studies.control.normal import Normal
from scoreward.studies.control.sde import begin, returns

Mean = Callable[[Tensor], Tensor]
"""x [batch n] → action [batch m] without exploration."""


def plain(env: LQ) -> LQ:
    """The problem without entropy: its best policy is the mean of the soft one's."""
    return replace(env, temperature=0.0)


def best_mean(env: LQ) -> Mean:
    _, policy = lq.optimum(env)
    return lambda x: x @ policy.gain.T + policy.intercept


class Judge:
    """Discounted reward that a deterministic policy loses to the best one, on common noise.

    2000 paths of 8 time units at dt = 0.02, the same for every method, seed and step of training.
    """

    def __init__(self, env: LQ) -> None:
        self.env, self.key = plain(env), Key(("judge",))
        self.paths = begin(self.env, 2000, self.key)
        self.best = self.earned(best_mean(env))

    def earned(self, mean: Mean) -> float:
        def point(x: Tensor, t: Tensor) -> Normal:
            a = mean(x)
            return Normal(a, a.new_zeros(1, a.shape[1], a.shape[1]))

        total = returns(self.env, point, self.paths, 400, 0.02, self.key / "noise")
        return total.mean().item()

    def gap(self, mean: Mean) -> float:
        return self.best - self.earned(mean)


TASKS = {"L1": problems.l1, "L2": problems.l2}
