"""A reward that compares the samples of a prompt sees all of them, whatever memory allows."""

import pytest
import torch

from scoreward.objectives.gradients.refl import ReFL
from scoreward.recipes import recipe
from scoreward.rewards.rules import Variety
from scoreward.training.geometry import Geometry
from scoreward.training.run import Run
from scoreward.training.sources.online import Online
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer


def trained(micro_batch: int, minibatches: int = 1) -> tuple[dict[str, float], torch.Tensor]:
    """Metrics of a round of ReFL on the toy whose only reward is variety, and the weights."""
    geometry = Geometry(prompts=3, group=4, minibatches=minibatches, micro_batch=micro_batch)
    run: Run = recipe("refl", on="toy").run(objective=ReFL(weight=1.0), geometry=geometry)
    source = run.source
    assert isinstance(source, Online)
    spread = Online(source.prompts, {"variety": Variety()}, source.rollout, geometry)
    assert spread.compares
    assert not source.compares
    made = Trainer(run.model, run.objective, spread, run.optimizer.planned(2, 1, False), Team())
    metrics = made.step().metrics
    return metrics, torch.cat([p.detach().flatten() for p in made.weights.parameters.values()])


@pytest.mark.parametrize("micro_batch", [1, 3, 5])
def test_a_gradient_of_variety_does_not_depend_on_memory(micro_batch: int) -> None:
    """Samples one by one have no variety: it had no gradient, or one of fewer samples."""
    whole, weights = trained(12)
    pieces, same = trained(micro_batch)
    assert whole["gradient/norm"] == pytest.approx(pieces["gradient/norm"], rel=1e-5)
    assert whole["loss"] == pytest.approx(pieces["loss"], rel=1e-5)
    torch.testing.assert_close(weights, same)


def test_an_update_holds_whole_groups() -> None:
    metrics, _ = trained(2, minibatches=3)
    assert metrics["gradient/norm"] > 0
