"""The case with a known answer: Gaussian data, linear reward, path KL, one trained number a step.

Data N(0, 1), reward r(x) = x, DDPO at noise η with a path KL of weight β on the ten-step grid. The
network is exact but for a shift of its velocity, one number for each step. Its optimum is known
(`optimum`), and so are the means that the SDE and the ODE then reach; they are compared with what
training finds: gaussian.jsonl.

    python -m benchmarks.reward_gap.gaussian
"""

import argparse
import json
import shlex
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.online.tasks import online_source
from scoreward.commands.train import build
from scoreward.core.process import RectifiedFlow, time_grid
from scoreward.models.analytic import ExactDenoiser, Mixture
from scoreward.models.base import Model
from scoreward.tasks.builtin import HeldOut
from scoreward.training.evaluations.gap import Gap
from scoreward.training.evaluations.pictures import Evaluation, measure_gap
from scoreward.training.run import Run
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer

HERE = Path(__file__).parent
ETAS = (0.5, 1.0, 1.2, 1.5, 2.0)
STEPS, BETA, ROUNDS = 10, 0.5, 300
DATA = Mixture(torch.zeros(1, 1), torch.ones(1), torch.ones(1))


def reward(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """The sample itself."""
    return media[:, 0]


class Shifted(nn.Module):
    """Exact velocity plus one number for each step of the grid."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(STEPS))
        self.exact = ExactDenoiser(DATA, RectifiedFlow())

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        step = (STEPS * (1 - t)).round().long().clamp(0, STEPS - 1)
        return self.exact(x, t).as_("velocity") + self.shift[step][:, None]


def gains(eta: float) -> tuple[list[float], list[float], list[float]]:
    """Of each step: slope in the state, slope in a shift of the velocity, and std.

    x_s = (1 − s)(x − t u) + s (ρ (x + (1 − t) u) + √(1 − ρ²) z), and the exact velocity of N(0, 1)
    is u = x (2t − 1)/((1 − t)² + t²).
    """
    slopes, pushes, stds = [], [], []
    grid = time_grid(STEPS)
    for t, s in pairwise(grid):
        ratio = s * (1 - t) / ((1 - s) * t)
        rho = ratio ** (eta**2) if eta else 1.0
        push = -(1 - s) * t + s * rho * (1 - t)
        exact = (2 * t - 1) / ((1 - t) ** 2 + t**2)
        slopes.append((1 - s) + s * rho + push * exact)
        pushes.append(push)
        stds.append(s * (1 - rho**2) ** 0.5)
    return slopes, pushes, stds


def reached(shift: Sequence[float], eta: float) -> float:
    """Mean reward of a chain whose velocity is shifted by `shift`."""
    mean = 0.0
    for slope, push, one in zip(*gains(eta)[:2], shift, strict=True):
        mean = slope * mean + push * one
    return mean


def optimum(eta: float) -> list[float]:
    """Shifts that maximise E[r] − β KL of the path at noise η.

    Step k moves its mean by push·u; later steps carry that on with the product G of their slopes,
    and its KL is (push·u)²/(2 std²): so push·u = std² G/β. The last step has no noise and stays.
    """
    slopes, pushes, stds = gains(eta)
    shifts, gain = [], 1.0
    for slope, push, std in zip(*(reversed(v) for v in (slopes, pushes, stds)), strict=True):
        shifts.append(std**2 * gain / BETA / push if std else 0.0)
        gain *= slope
    return shifts[::-1]


def prepared(eta: float, seed: int) -> Run:
    """DDPO with a path KL; the advantage is the centred reward, so β is in units of the reward."""
    words = (
        f"--rollout.noise ddim --rollout.level {eta} --objective.kl {BETA} "
        "--objective.kl-form paper --advantages.scale none "
        f"--geometry.prompts 1 --geometry.group 256 --geometry.rollout-batch 256 "
        f"--geometry.micro-batch 4096 --optimizer.lr 0.1 --budget.rounds {ROUNDS}"
    )
    run, _ = build("portraits_ddpo", shlex.split(words), "benchmark")
    flow = RectifiedFlow()

    def encode(prompts: Sequence[str]) -> Tensor:
        return torch.zeros(len(prompts), 1)

    model = Model(Shifted(), flow, "velocity", (1,), encode, lambda x: x, lambda cond: cond)
    source = replace(online_source(run), prompts=[""], rewards={"reward": reward})
    return replace(run, model=model, source=source, seed=seed)


def trained(eta: float, seed: int) -> dict:
    """One line: what training found, and what it should."""
    run = prepared(eta, seed)
    planned = run.optimizer.planned(ROUNDS, run.source.geometry.updates, False)
    trainer = Trainer(run.model, run.objective, run.source, planned, Team(), seed=seed)
    for index in range(ROUNDS):
        trainer.step(index / ROUNDS)
    found, best = trainer.weights.snapshot("ema")["shift"].tolist(), optimum(eta)
    gap = Gap((eta,), (STEPS,), 0, prompts=2048, noises=1)
    evaluation = Evaluation(
        [""] * 2048, HeldOut().samplers(), {"reward": reward}, gap=gap, batch=2048
    )
    ode, sde = measure_gap(evaluation, run.model, trainer.reading("ema"), trainer.team)
    return {
        "eta": eta,
        "seed": seed,
        "sde": reached(found, eta),
        "ode": reached(found, 0.0),
        "sde_measured": [sde["mean"]["reward"][k] for k in ("value", "standard_error")],
        "ode_measured": [ode["mean"]["reward"][k] for k in ("value", "standard_error")],
        "sde_optimum": reached(best, eta),
        "ode_optimum": reached(best, 0.0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with (HERE / "gaussian.jsonl").open("w") as stream:
        for seed in range(options.seeds):
            for eta in ETAS:
                line = trained(eta, seed)
                stream.write(json.dumps(line) + "\n")
                print({k: v if isinstance(v, list) else round(v, 3) for k, v in line.items()})


if __name__ == "__main__":
    main()
