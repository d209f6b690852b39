"""CPG and CPPO on stake trading, whose optimum is known: python benchmarks/stake/run.py [SEEDS]

Writes curves.jsonl beside itself, one line for each problem, method and seed; figure.py draws it.
"""

import json
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.studies.control.cpg import CPG
from scoreward.studies.control.cppo import CPPO
from scoreward.studies.control.critics import LinearCritic
from scoreward.studies.control.learner import Learner, PathSampling, Update
from scoreward.studies.control.policies import LinearPolicy, mean_action
from scoreward.studies.control.sde import begin
from scoreward.studies.stake.environment import StakeTrading
from scoreward.studies.stake.optimum import solve
from scoreward.studies.stake.paths import performance
from scoreward.studies.stake.proof_of_stake import (
    GeometricPrice,
    PowerIssuance,
    Utility,
    linear,
    square,
)

HERE = Path(__file__).parent
ROUNDS = {"L1": 60, "L2": 30, "L3": 30, "C4": 100}  # the easy ones are soon done
EVERY = 5
SAMPLING = PathSampling(paths=256, steps=100, dt=0.05)
FINE = 1000  # steps with which a learned policy is measured
HORIZON, START = 5.0, 0.2  # and the share at time 0


def problem(price: float, growth: float, utility: Utility, spread: float = 1.0) -> StakeTrading:
    """N(t) = 10 + t, β = 0.1, ν̄ = 0.2, from 2 of 10 stakes, in training 2 ± spread.

    Without spread the slope of the value in the share is hardly seen. For quadratic utility the
    optimum depends on the share, more than a mean that is linear in it can follow, so it is small.
    """
    return StakeTrading(
        issuance=PowerIssuance(10.0, 1.0),
        price=GeometricPrice(price, growth),
        utility=utility,
        stakes=2.0,
        rate=0.2,
        horizon=HORIZON,
        discount=0.1,
        settle=SAMPLING.dt,
        spread=spread,
    )


PROBLEMS = {
    "L1, buy then sell": problem(0.8, 0.1, Utility(0.08, 0.9, linear)),
    "L2, buy": problem(0.5, 0.1, Utility(0.08, 0.9, linear)),
    "L3, sell": problem(1.5, 0.1, Utility(0.08, 0.9, linear)),
    "C4, quadratic utility": problem(0.8, 0.2, Utility(0.03, 0.10, square), 0.2),
}


def method(name: str) -> Update:
    return CPG() if name == "CPG" else CPPO(radius=0.1)


def powers(t: Tensor) -> Tensor:
    return torch.stack([(t / HORIZON) ** k for k in range(4)], 1)


def seen(x: Tensor, t: Tensor) -> Tensor:
    """What the policy sees: Legendre polynomials of time up to the third, and the share.

    With plain powers all weights move together, so that selling late drags buying early along
    until the limit cuts it, where there is no gradient.
    """
    u = 2 * t / HORIZON - 1
    waves = [torch.ones_like(u), u, (3 * u**2 - 1) / 2, (5 * u**3 - 3 * u) / 2]
    return torch.cat([torch.stack(waves, 1), x[:, :1] / START - 1], 1)


def judged(x: Tensor, t: Tensor) -> Tensor:
    """What the critic sees: powers of time times powers of the share."""
    return torch.cat([powers(t) * (x[:, :1] / START) ** k for k in range(3)], 1)


@torch.no_grad()
def measured(env: StakeTrading, policy: LinearPolicy) -> tuple[float, float]:
    """J of the policy without exploration, by quadrature, and when it last turns to selling."""
    dt = HORIZON / FINE
    still = StakeTrading(**{**vars(env), "settle": dt, "spread": 0.0})
    path = begin(still, 1, Key((0,)))
    rates = []
    for _ in range(FINE):
        rates.append(still.traded(path.x, mean_action(policy)(path.x, path.t).mean, path.t))
        move = torch.stack([rates[-1] / still.issuance.total(path.t)], 1) * dt
        path = type(path)(still.confine(path.x + move, path.t), path.t + dt)
    trade, edges = torch.cat(rates), torch.linspace(0, HORIZON, FINE + 1, dtype=torch.float64)
    value = performance(env.problem, env.utility, env.stakes, edges, trade)
    buying = (trade > 0).nonzero()
    return value, float(edges[int(buying[-1]) + 1]) if len(buying) else 0.0


def run(name: str, how: str, seed: int) -> dict:
    """One curve of regrets."""
    env = PROBLEMS[name]
    best = solve(env.problem, env.utility, env.stakes)
    policy = LinearPolicy(5, 1, variance=(2 * env.rate) ** 2, features=seen)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.05)
    learner = Learner(
        env, policy, LinearCritic(judged, memory=0.8), method(how), optimizer, SAMPLING, seed
    )
    rounds, values, switches = [0], [measured(env, policy)[0]], []
    begun = time.process_time()
    for done in learner:
        if done.index % EVERY == 0:
            value, switch = measured(env, policy)
            rounds.append(done.index)
            values.append(value)
            switches.append(switch)
        if done.index == ROUNDS[name[:2]]:
            break
    return {
        "problem": name,
        "method": how,
        "seed": seed,
        "optimum": best.value,
        "optimal_switches": best.switch_times,
        "rounds": rounds,
        "regret": [round(best.value - value, 8) for value in values],
        "last_switch": switches[-1],
        "cpu_seconds": round(time.process_time() - begun, 1),
    }


def main() -> None:
    torch.set_num_threads(1)
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    with (HERE / "curves.jsonl").open("w", encoding="utf-8") as file:
        for name in PROBLEMS:
            for how in ("CPG", "CPPO"):
                for seed in range(seeds):
                    line = run(name, how, seed)
                    file.write(json.dumps(line) + "\n")
                    file.flush()
                    told = (line["regret"][0], line["regret"][-1], line["last_switch"])
                    print(name, how, seed, *told, f"{line['cpu_seconds']} s", flush=True)


if __name__ == "__main__":
    main()
