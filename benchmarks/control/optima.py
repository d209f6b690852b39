"""Learning curves of CPG and CPPO to the known optimum, on six problems.

    python -m benchmarks.control.optima        # fills optima.jsonl: eight minutes on one core

The distance is exact: policies are linear in their features, so their objective has a closed form.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from scoreward.studies.control import lq, problems
from scoreward.studies.control.cpg import CPG
from scoreward.studies.control.cppo import CPPO
from scoreward.studies.control.critics import LinearCritic, quadratic
from scoreward.studies.control.learner import Learner, PathSampling
from scoreward.studies.control.lq import LQ, LinearGaussian
from scoreward.studies.control.pairs import Bet, LogPairs, PowerPairs
from scoreward.studies.control.policies import LinearPolicy, affine
from scoreward.studies.control.sde import Environment

OUT = Path(__file__).parent / "optima.jsonl"
ROUNDS = 150


def spread_alone(x: Tensor, t: Tensor) -> Tensor:
    """(x, 1): the best bet does not depend on wealth."""
    return affine(x[:, :1], t)


def spread_in_time(x: Tensor, t: Tensor) -> Tensor:
    """(x, tx, t²x, t, t², 1): a bet linear in the spread, with coefficients that move."""
    spread, one = x[:, 0], torch.ones_like(t)
    return torch.stack([spread, t * spread, t**2 * spread, t, t**2, one], 1)


def utility_features(x: Tensor, t: Tensor) -> Tensor:
    """w^(−1) times a polynomial of degree 2 in the spread and in time."""
    spread, one = x[:, 0], torch.ones_like(t)
    rows = [s * u for s in (one, spread, spread**2) for u in (one, t, t**2)]
    return (-x[:, 1]).exp()[:, None] * torch.stack(rows, 1)


def linear(policy: LinearPolicy) -> LinearGaussian:
    weight, factor = policy.weight.detach(), policy.factor().detach()
    return LinearGaussian(weight[:, :-1], weight[:, -1], factor @ factor.T)


def lq_objective(env: LQ) -> Callable[[LinearPolicy], float]:
    return lambda policy: lq.objective(env, linear(policy)).item()


def log_objective(env: LogPairs) -> Callable[[LinearPolicy], float]:
    def earned(policy: LinearPolicy) -> float:
        slope, intercept = policy.weight[0].tolist()
        return env.objective(Bet(intercept, slope, policy.log_var.exp().item()))

    return earned


def power_objective(env: PowerPairs) -> Callable[[LinearPolicy], float]:
    """Of the mean bet: exploration is held fixed in learning and switched off here."""

    def earned(policy: LinearPolicy) -> float:
        a, b, c, d, e, f = policy.weight[0].tolist()
        return env.objective(lambda t: Bet(f + d * t + e * t**2, a + b * t + c * t**2, 0.0))

    return earned


@dataclass(frozen=True)
class Task:
    env: Environment
    policy: Callable[[], LinearPolicy]
    critic: Callable[[], LinearCritic]
    sampling: PathSampling
    objective: Callable[[LinearPolicy], float]
    best: float
    rate: float = (
        0.15  # of CPG's plain gradient steps; parameters of the pairs are ten times larger
    )


def lq_task(env: LQ) -> Task:
    n, m, _ = env.sizes
    best = lq.objective(env, lq.optimum(env)[1]).item()
    sampling = PathSampling(500, 20, 0.02)
    return Task(
        env, lambda: LinearPolicy(n + 1, m), LinearCritic, sampling, lq_objective(env), best
    )


def log_task() -> Task:
    env = LogPairs()
    return Task(
        env,
        lambda: LinearPolicy(2, 1, features=spread_alone),
        lambda: LinearCritic(quadratic, memory=0.8),
        PathSampling(500, 20, 0.02),
        log_objective(env),
        env.objective(env.best()),
        rate=1.5,
    )


def power_task() -> Task:
    env = PowerPairs(start_std=0.35)  # about the stationary spread, so that all of it is seen
    exact = PowerPairs()

    def policy() -> LinearPolicy:
        result = LinearPolicy(6, 1, 0.25, spread_in_time)
        result.log_var.requires_grad_(False)  # without entropy the best variance is 0
        return result

    return Task(
        env,
        policy,
        lambda: LinearCritic(utility_features, memory=0.8),
        PathSampling(200, 50, 0.02),
        power_objective(exact),
        exact.objective(exact.best),
        rate=1.5,
    )


TASKS: dict[str, Callable[[], Task]] = {
    "L1": lambda: lq_task(problems.l1()),
    "L2": lambda: lq_task(problems.l2()),
    "matrix": lambda: lq_task(problems.matrix()),
    "ergodic": lambda: lq_task(problems.ergodic()),
    "pairs, log": log_task,
    "pairs, power": power_task,
}


def learner(task: Task, method: str, seed: int) -> Learner:
    """One setting of each method for all problems, apart from CPG's rate."""
    policy = task.policy()
    free = [p for p in policy.parameters() if p.requires_grad]
    if method == "CPG":
        update, optimizer = CPG(max_norm=1.0), torch.optim.SGD(free, lr=task.rate)
    else:
        update, optimizer = (
            CPPO(radius=0.05, factor=2.0, max_norm=None),
            torch.optim.Adam(free, 0.02),
        )
    return Learner(
        task.env,
        policy,
        task.critic(),
        update,
        optimizer,
        task.sampling,
        seed,
        lambda done: (1 + done / 50) ** -0.5,
    )


def run(name: str, method: str, seed: int) -> dict:
    task, start = TASKS[name](), perf_counter()
    found, curve = learner(task, method, seed), []
    policy = found.policy
    assert isinstance(policy, LinearPolicy)  # noqa: S101
    curve.append([0, task.best - task.objective(policy)])
    for done in found:
        if done.index % 5 == 0:
            curve.append([done.index, task.best - task.objective(policy)])
        if done.index == ROUNDS:
            break
    curve = [[k, float(f"{gap:.5g}")] for k, gap in curve]
    return {
        "problem": name,
        "method": method,
        "seed": seed,
        "best": task.best,
        "seconds": round(perf_counter() - start, 1),
        "gap": curve,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = OUT.read_text().splitlines() if OUT.exists() else []
    done = {(r["problem"], r["method"], r["seed"]) for r in map(json.loads, lines)}
    with OUT.open("a") as file:
        for name in TASKS:
            for method in ("CPG", "CPPO"):
                for seed in range(options.seeds):
                    if (name, method, seed) in done:
                        continue
                    row = run(name, method, seed)
                    print(name, method, seed, row["gap"][6], row["gap"][-1], row["seconds"])
                    file.write(json.dumps(row) + "\n")
                    file.flush()


if __name__ == "__main__":
    main()
