"""Step transfer where every expected reward is exact: Gaussian data, an affine score, 50 steps.

    python -m benchmarks.score_as_action.analytic

The same question as transfer.py on a model that trains in seconds, so that there are ten seeds and
no noise in what is measured. Both arms see the same starts and noises, train all noisy steps with
one update a round, and choose their rate by the exact reward of 50 SDE steps with a seed of its
own. Writes analytic.json.
"""

import json
from dataclasses import replace
from pathlib import Path

import torch

from scoreward.core.chain import Sampler
from scoreward.core.keys import Key
from scoreward.objectives.paths.ddpo import DDPO
from scoreward.objectives.paths.denoised_value import DenoisedValue
from scoreward.objectives.paths.score_as_action import ScoreAsAction
from tests.core.laws import F64, real
from tests.objectives import p1

FILE = Path(__file__).parent / "analytic.json"
ROUNDS, SAMPLES, SEEDS, RATES, STEPS = 40, 64, 10, (0.03, 0.1, 0.3), (25, 50, 100, 400)


def expected(module: torch.nn.Module, sampler: Sampler) -> float:
    """E r of a chain with an affine score, from the moments of its affine steps."""
    mean, variance, probe, score = 0.0, 1.0, real(0.0, 1.0)[:, None], p1.reading(module)
    for i, kernel in enumerate(sampler.kernels):
        t, s = (torch.full((2,), time, dtype=F64) for time in sampler.times[i : i + 2])
        with torch.no_grad():
            law = kernel(score(probe, t, None), s)
        low, high = law.mean[:, 0].tolist()
        mean = low + (high - low) * mean
        variance = (high - low) ** 2 * variance + float(law.std[0]) ** 2
    return -p1.KAPPA / 2 * ((mean - p1.GOAL) ** 2 + variance)


def trained(arm: str, rate: float, seed: int) -> torch.nn.Module:
    """An affine score after forty rounds of 64 paths."""
    module = p1.Affine()
    policy = p1.acting(module, p1.chain(1.0, 50))
    value = DenoisedValue(hidden=32, batches=2, rate=3e-3)
    actions = ScoreAsAction(clip=None, value=value)
    optimizer = torch.optim.Adam(module.parameters(), lr=rate)
    for number in range(ROUNDS):
        optimizer.param_groups[0]["lr"] = rate * (1 - number / ROUNDS)
        key = Key(("analytic", seed, number))
        samples, paths = p1.drawn(policy, SAMPLES, key)
        earned = samples.reward
        samples = replace(samples, advantage=(earned - earned.mean()) / earned.std())
        objective = actions if arm == "score_as_action" else DDPO(clip=None)
        with torch.no_grad():
            walked = replace(policy.rollout, paths=paths)
            rows = objective.ready(samples, replace(policy, rollout=walked), key)
        optimizer.zero_grad()
        objective.loss(rows, policy)[0].backward()
        optimizer.step()
    return module


def main() -> None:
    torch.set_num_threads(1)
    start, found = p1.Affine(), {"rates": {}, "gains": {}, "chosen": {}}
    chains = {f"{k} {n}": p1.chain(e, n) for k, e in (("sde", 1.0), ("ode", 0.0)) for n in STEPS}
    base = {name: expected(start, chain) for name, chain in chains.items()}
    for arm in ("score_as_action", "ddpo"):
        tried = {
            r: expected(trained(arm, r, 100), chains["sde 50"]) - base["sde 50"] for r in RATES
        }
        best = max(tried, key=lambda r: tried[r])
        found["rates"][arm], found["chosen"][arm] = tried, best
        found["gains"][arm] = {name: [] for name in chains}
        for seed in range(SEEDS):
            module = trained(arm, best, seed)
            for name, chain in chains.items():
                found["gains"][arm][name].append(round(expected(module, chain) - base[name], 6))
            print(arm, best, seed, [found["gains"][arm][n][-1] for n in chains], flush=True)
    FILE.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
