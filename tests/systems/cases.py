"""What several processes must agree on: run alone in a test, and by `worker.py` in a team.

Each case is a function of a folder to a run; `outcome` is what is compared.
"""

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scoreward.losses.diffusion import AutomaticBeta
from scoreward.methods.sampling import Forked, Noisy
from scoreward.objectives.base import Objective
from scoreward.objectives.paths.denoised_value import DenoisedValue
from scoreward.objectives.paths.flow_grpo import FlowGRPO
from scoreward.objectives.paths.score_as_action import ScoreAsAction
from scoreward.objectives.paths.temp_flow import TempFlowGRPO
from scoreward.objectives.pictures.diffusion_dpo import DiffusionDPO
from scoreward.objectives.pictures.diffusion_kto import DiffusionKTO
from scoreward.objectives.pictures.diffusion_rainbow_po import DiffusionRainbowPO
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.rewards.base import RewardError
from scoreward.tasks.toy import closeness
from scoreward.training.checkpoint import newest, read_snapshot
from scoreward.training.evaluations.pictures import evaluate
from scoreward.training.geometry import Geometry
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.team import Team
from tests.training.preferring import paired_run
from tests.training.toys import InFloat64, online, toy

OBJECTIVE = VGRPO(clip=0.01, proximal=0.3, anchor=0.1)
GEOMETRIES = {
    # name: 13 + 7 and so on; what the processes hold is told in the test
    "uneven": Geometry(prompts=4, group=5, minibatches=3, epochs=2, micro_batch=4, rollout_batch=3),
    "one_sample_minibatches": Geometry(prompts=2, group=3, minibatches=6),
    "fewer_samples_than_processes": Geometry(prompts=1, group=2, minibatches=2),
}


def double(run: Run) -> Run:
    """The same run with weights and samples in float64."""
    run.model.network.double()
    return replace(run, source=InFloat64(online(run.source.geometry)))


def geometry_case(name: str) -> Callable[[Path], Run]:
    def build(folder: Path) -> Run:
        run = toy(folder, 3, GEOMETRIES[name], objective=OBJECTIVE, keeping=Keeping(every=1))
        return double(run)

    return build


def remembered(folder: Path) -> Run:
    """A method of paths whose update starts from the rollout's own graphs."""
    geometry = Geometry(prompts=3, group=4, rollout_batch=3, micro_batch=5, remember=1000)
    source = online(geometry, rollout=Noisy("flow_sde", 0.7).sampler())
    return toy(folder, 3, objective=FlowGRPO(), source=source, keeping=Keeping(every=1))


def branched(folder: Path) -> Run:
    """Branches of trunks: 5 starts of 3 branches at 4 steps, in updates of whole series."""
    objective = TempFlowGRPO(kl=0.1)
    geometry = Geometry(prompts=5, group=3, minibatches=2, rollout_batch=7, micro_batch=5)
    rollout = Forked("flow_sde", 0.7, steps=5, branches=3)
    source = rollout.source(online(geometry, rollout=rollout.sampler()), objective)
    run = toy(folder, 3, objective=objective, source=source, keeping=Keeping(every=1))
    run.model.network.double()
    return run


def valued(folder: Path) -> Run:
    """A method that fits a value function and normalises advantages over all processes."""
    geometry = Geometry(prompts=3, group=5, minibatches=2, rollout_batch=4, micro_batch=7)
    source = online(geometry, rollout=Noisy("ddim", 1.0, steps=4).sampler())
    objective = ScoreAsAction(kl=0.1, value=DenoisedValue(hidden=8, first_passes=3))
    run = toy(folder, 3, objective=objective, source=source, keeping=Keeping(every=1))
    run.model.network.double()
    return replace(run, source=InFloat64(source))


PAIRED: dict[str, Objective] = {
    "pairs_rainbow": DiffusionRainbowPO(beta=20.0, alpha=0.9, gamma=0.01, phi="gap"),
    "pairs_kto": DiffusionKTO(beta=10.0),
    "pairs_automatic": DiffusionDPO(automatic=AutomaticBeta(high=5.0)),
}
"""Methods on pairs with something that is a sum over all processes."""


def paired_case(name: str) -> Callable[[Path], Run]:
    return lambda folder: paired_run(folder, PAIRED[name])


def unsynced(folder: Path) -> Run:
    """Every process keeps its own gradient, as without a sum over processes."""
    return toy(folder, 3, evaluation=None)


def by_seconds(folder: Path) -> Run:
    """Every process has its own clock; they must still make the same number of rounds."""
    budget = Budget(rounds=4000, seconds=0.3)
    return toy(folder, budget=budget, evaluation=None, keeping=Keeping(every=10000))


def interrupted(folder: Path) -> Run:
    """In round 2 the process that holds the last sample, and no other, is asked to stop."""
    return scored_by(toy(folder, 50, evaluation=None), 2, _interrupt)


def failing(folder: Path) -> Run:
    """In round 2 the reward raises in the process that holds the last sample, and in no other."""
    return scored_by(toy(folder, 50, evaluation=None), 2, _fail)


def scored_by(run: Run, at: int, act: Callable[[], None]) -> Run:
    calls = iter(range(1, 10**6))
    team = Team()

    def reward(media: Tensor, prompts: Sequence[str]) -> Tensor:
        if next(calls) == at and team.rank == team.size - 1:
            act()
        return closeness(media, prompts)

    return replace(run, source=online(run.source.geometry, rewards={"mine": reward}))


def _interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _fail() -> None:
    raise ConnectionError("the server is gone")


CASES: Mapping[str, Callable[[Path], Run]] = {
    **{name: geometry_case(name) for name in GEOMETRIES},
    **{name: paired_case(name) for name in PAIRED},
    "remembered": remembered,
    "valued": valued,
    "branched": branched,
    "unsynced": unsynced,
    "by_seconds": by_seconds,
    "interrupted": interrupted,
    "failing": failing,
}


def outcome(name: str, folder: Path) -> dict[str, Any]:
    """Train the case; the weights of this process, its metrics, and how it ended."""
    run, metrics, error = CASES[name](folder), [], None
    summed = Team.sum_gradients
    try:
        if name == "unsynced":
            Team.sum_gradients = lambda self, parameters: None
        metrics = [dict(moment.metrics) for moment in run.start()]
    except RewardError as caught:
        error = str(caught)
    finally:
        Team.sum_gradients = summed
    live = [p.detach().clone() for p in run.model.network.parameters()]
    return {"metrics": metrics, "live": live, "error": error}


def weights(folder: Path) -> dict[str, Tensor]:
    """Live weights, average and reference of the newest checkpoint."""
    path = newest(folder / "checkpoints")
    assert path is not None
    return {n: read_snapshot(path, n)["mean"] for n in ("live", "ema", "reference")}


def corners(media: Tensor, prompts: Sequence[str]) -> dict[str, float]:
    """A table that is not a mean over samples: northern prompts only."""
    north = [m for m, p in zip(media, prompts, strict=True) if p.startswith("north")]
    return {"north": float(torch.stack(north)[:, 1].double().mean()), "seen": float(len(prompts))}


def measured(folder: Path) -> dict[str, Any]:
    """An evaluation of seven prompts, two of them for diversity, of which five are shown."""
    run = toy(folder)
    assert run.evaluation is not None
    settings = replace(
        run.evaluation,
        prompts=list(run.evaluation.prompts)[:7],
        tables={"corners": corners},
        spread_prompts=2,
        shown=5,
    )
    done = evaluate(settings, run.model, run.model.denoiser, Team())
    return {"numbers": done.numbers, "pictures": done.pictures, "scores": done.scores}
