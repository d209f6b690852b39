"""The squared TD error flattens the value as dt → 0; orthogonality does not.

    python -m benchmarks.control.trap        # trap.json, about ten seconds

L1 with the policy N(−0.2 x − 0.3, 1/e) and the exact features 1, x, x². Each fit sees the same
simulated time, 4000 paths of one unit, at every step.
"""

import json
from math import exp
from pathlib import Path

import torch
from torch import Tensor

from scoreward.core import value
from scoreward.core.keys import Key
from scoreward.studies.control import problems, scalar_lq
from scoreward.studies.control.critics import LinearCritic, quadratic, rates
from scoreward.studies.control.policies import LinearPolicy
from scoreward.studies.control.sde import begin, collect

STEPS = (0.1, 0.03, 0.01, 0.003)
GAIN, INTERCEPT, VARIANCE = -0.2, -0.3, exp(-1)


def coefficients(weights: Tensor) -> list[float]:
    """(k2, k1, k0) of V = k2/2 x² + k1 x + k0."""
    return [round(v, 4) for v in (2 * weights[2].item(), weights[1].item(), weights[0].item())]


def fit(dt: float, seed: int) -> dict:
    env, key = problems.l1(), Key(("trap", seed))
    policy = LinearPolicy(2, 1, VARIANCE)
    policy.weight.data = torch.tensor([[GAIN, INTERCEPT]], dtype=torch.float64)
    coarse = max(dt, 0.03)
    _, paths = collect(
        env, policy, begin(env, 4000, key), round(6 / coarse), coarse, key / "settle"
    )
    rows, _ = collect(env, policy, paths, round(1 / dt), dt, key / "rows")
    critic = LinearCritic()
    critic.fit(env, rows, 4000, key)
    assert critic.weights is not None  # noqa: S101
    phi, later = quadratic(rows.x, rows.t), quadratic(rows.next, rows.t)
    flat = value.squared_td_error_trap(phi, later, rates(env, rows), env.discount, dt)
    return {
        "dt": dt,
        "seed": seed,
        "orthogonality": coefficients(critic.weights),
        "squared_td_error": coefficients(flat),
    }


def main() -> None:
    torch.set_num_threads(1)
    moments = (torch.tensor(v, dtype=torch.float64) for v in (GAIN, INTERCEPT, VARIANCE))
    exact = scalar_lq.evaluate(problems.L1, scalar_lq.ScalarPolicy(*moments))
    numbers = [round(v.item(), 4) for v in (exact.k2, exact.k1, exact.k0)]
    rows = [fit(dt, seed) for dt in STEPS for seed in range(5)]
    lines = ",\n".join(json.dumps(row) for row in rows)
    text = f'{{"exact": {json.dumps(numbers)}, "fits": [\n{lines}\n]}}\n'
    (Path(__file__).parent / "trap.json").write_text(text)


if __name__ == "__main__":
    main()
