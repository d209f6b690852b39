"""Pairs for the analytic toy: samples of the first model, the one nearer to its corner wins."""

from dataclasses import replace
from pathlib import Path

import torch

from scoreward.core.keys import Key
from scoreward.methods.sampling import Sampling
from scoreward.objectives.base import Objective
from scoreward.objectives.pictures.diffusion_dpo import DiffusionDPO
from scoreward.tasks.toy import CORNERS, closeness, toy_model
from scoreward.training.evaluations.pictures import Evaluation
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.sources.pairs import HeldOutPairs, PairData, Preferences
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer

KEY = Key(("toy pairs",))


def pair_data(pairs: int = 64, name: str = "train", dtype: torch.dtype = torch.float32) -> PairData:
    """Two samples of N(0, 0.25 I) for each prompt in turn; the gap is that of their closeness."""
    prompts = [list(CORNERS)[i % len(CORNERS)] for i in range(pairs)]
    goal = torch.tensor([CORNERS[p] for p in prompts])
    noise = (KEY / name).normal(2, pairs, 2)
    one, other = 0.5 * noise  # what the flow of the first model makes of this noise
    close = [-(x - goal).square().sum(1) for x in (one, other)]
    first = (close[0] > close[1])[:, None]
    return PairData(
        torch.where(first, one, other).to(dtype),
        torch.where(first, other, one).to(dtype),
        prompts,
        (close[0] - close[1]).abs(),
        torch.where(first, noise[0], noise[1]).to(dtype),
        torch.where(first, noise[1], noise[0]).to(dtype),
    )


def paired_trainer(
    objective: Objective, data: PairData, geometry: Geometry, lr: float = 0.02
) -> Trainer:
    model = toy_model()
    model.network.to(data.winner.dtype)
    return Trainer(model, objective, Preferences(data, geometry, 0.0), Optimizer(lr=lr), Team())


def paired_run(
    folder: Path,
    objective: Objective | None = None,
    rounds: int = 3,
    geometry: Geometry | None = None,
    **changes: object,
) -> Run:
    """A run in float64; `changes` are fields of `Run`."""
    sizes = geometry or Geometry(prompts=7, group=2, minibatches=2, micro_batch=4)
    model = toy_model()
    model.network.double()
    run = Run(
        name="toy_pairs",
        model=model,
        objective=objective or DiffusionDPO(beta=20.0),
        source=Preferences(pair_data(24, dtype=torch.float64), sizes),
        optimizer=Optimizer(lr=0.02),
        budget=Budget(rounds=rounds),
        folder=folder,
        keeping=Keeping(every=1),
    )
    return replace(run, **changes)  # pyright: ignore


def probed(run: Run) -> Run:
    """The same run with implicit accuracies on held-out pairs."""
    probe = HeldOutPairs(pair_data(20, "held out", torch.float64))
    return replace(
        run,
        evaluation=Evaluation(
            list(CORNERS), {"ode": Sampling().sampler()}, {"reward": closeness},
            every=10, spread_prompts=2, probes={"pairs": probe},
        ),
    )  # fmt: skip
