"""Flow-GRPO and its fast form: published steps, gradients, and learning."""

import pytest
import torch

from scoreward.core.chain import windowed
from scoreward.core.kernel import DDIM, coefficients_preserving, euler
from scoreward.objectives.paths.flow_grpo import FlowGRPO, FlowGRPOFast
from scoreward.training.geometry import Geometry
from tests.objectives.learning import GRID, SDE, START, learned, trainer

FAST = windowed(euler(), DDIM(coefficients_preserving(0.8)), 2, 3, GRID)


def test_flow_grpo_learns_the_toy() -> None:
    assert learned(FlowGRPO(kl=0.0), SDE).max() < 0.5 * START


@pytest.mark.long
def test_the_fast_form_learns_the_toy() -> None:
    assert learned(FlowGRPOFast(), FAST).max() < 0.5 * START


@pytest.mark.long
def test_a_strong_kl_holds_the_policy_at_its_start() -> None:
    held = learned(FlowGRPO(kl=100.0, kl_form="paper"), SDE)
    assert held.min() > 0.9 * START


def test_an_update_from_the_rollouts_own_graph_is_the_update_that_asks_again() -> None:
    """Round 5 is a check round, so one run remembers four rounds of five and the other none."""
    runs = []
    for remember in (0, 10_000):
        geometry = Geometry(4, 16, rollout_batch=24, micro_batch=20, remember=remember)
        run, model = trainer(FlowGRPO(), SDE, geometry)
        for _ in range(5):
            run.step()
        runs.append((torch.cat([p.detach() for p in model.network.parameters()]), run.evaluations))
    (asked, cost), (kept, saved) = runs
    torch.testing.assert_close(kept, asked, rtol=1e-5, atol=1e-6)
    assert saved.training_forward == cost.training_forward == 5 * 64 * 7
    assert cost.behaviour == 5 * 64 * (8 + 7)  # a rollout of 8 steps, and the reference on 7
    assert saved.behaviour == cost.behaviour - 4 * 64 * 7
