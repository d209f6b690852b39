"""What a round costs, by formula: T steps of rollout, N pairs or transitions, references."""

from dataclasses import replace

import pytest

from scoreward.core.chain import Sampler, windowed
from scoreward.core.kernel import EulerMaruyama, euler, flow_sde
from scoreward.objectives.base import Objective
from scoreward.objectives.paths.flow_grpo import FlowGRPO, FlowGRPOFast
from scoreward.objectives.samples.diffusion_nft import DiffusionNFT
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.training.geometry import Geometry
from tests.objectives.learning import GRID, ODE, SDE, trainer

SAMPLES, STEPS = 64, 8
WINDOW = windowed(euler(), EulerMaruyama(flow_sde(0.7, at_one=GRID[1])), 1, 3, GRID)


def per_sample(objective: Objective, sampler: Sampler, remember: int = 0) -> tuple[float, float]:
    """(behaviour, trained) evaluations of an ordinary round, per sample."""
    run, _ = trainer(objective, sampler, Geometry(4, 16, remember=remember))
    run.step()
    before = replace(run.evaluations)
    run.step()
    after = run.evaluations
    assert after.training_forward == after.training_backward
    return (
        (after.behaviour - before.behaviour) / SAMPLES,
        (after.training_forward - before.training_forward) / SAMPLES,
    )


@pytest.mark.parametrize(
    ("objective", "behaviour", "trained"),
    [
        (VGRPO(clip=None), STEPS, 4),
        (VGRPO(clip=None, pairs=2), STEPS, 2),
        (VGRPO(clip=None, anchor=0.1), STEPS + 4, 4),
        (DiffusionNFT(anchor=0.0, schedule="copy"), STEPS, STEPS - 1),
        (DiffusionNFT(anchor=0.0), STEPS + STEPS - 1, STEPS - 1),  # the old policy is another one
        (DiffusionNFT(), STEPS + 2 * (STEPS - 1), STEPS - 1),
        (DiffusionNFT(times="stratified", pairs=4), STEPS + 8, 4),
    ],
)
def test_a_forward_process_round(objective: Objective, behaviour: int, trained: int) -> None:
    assert per_sample(objective, ODE) == (behaviour, trained)


@pytest.mark.parametrize(
    ("objective", "sampler", "behaviour", "trained"),
    [
        (FlowGRPO(kl=0.0), SDE, STEPS, STEPS - 1),
        (FlowGRPO(), SDE, STEPS + STEPS - 1, STEPS - 1),
        (FlowGRPO(kl=0.0, last=True), SDE, STEPS, STEPS),
        (FlowGRPOFast(), WINDOW, STEPS, 3),
        (FlowGRPOFast(kl=0.1), WINDOW, STEPS + 3, 3),
    ],
)
def test_a_path_round(objective: Objective, sampler: Sampler, behaviour: int, trained: int) -> None:
    assert per_sample(objective, sampler) == (behaviour, trained)


def test_a_remembered_rollout_saves_the_second_forward_of_every_trained_step() -> None:
    assert per_sample(FlowGRPOFast(), WINDOW, remember=10_000) == (STEPS - 3, 3)
    assert per_sample(FlowGRPO(kl=0.0), SDE, remember=10_000) == (1, STEPS - 1)


def test_a_rollout_that_does_not_fit_is_not_remembered() -> None:
    bound = SAMPLES * 3
    assert per_sample(FlowGRPOFast(), WINDOW, remember=bound - 1) == (STEPS, 3)
    assert per_sample(FlowGRPOFast(), WINDOW, remember=bound) == (STEPS - 3, 3)
