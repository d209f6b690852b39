"""Every online recipe on the portraits makes rounds that reach the network."""

import math

import pytest
import torch

from scoreward.commands.train import build
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer
from tests.support.matrix import mostly_long
from tests.support.recipes import BUILT_IN, ON_PAIRS

PAIRED = [f"portraits_{method}" for method in ON_PAIRS]
OFFLINE = ["portraits_pretrain", *PAIRED]
ONLINE = [r for r in BUILT_IN if r.startswith("portraits_") and r not in OFFLINE]
SIZES = {
    "portraits_branch_grpo": ["--geometry.prompts", "1", "--geometry.group", "8"],
    "portraits_fdfo": ["--geometry.prompts", "3", "--geometry.group", "2"],
}
FEW = tuple(f"portraits_{m}" for m in ("vgrpo", "flow_grpo", "mixgrpo", "diffusion_nft", "fdfo"))
USUAL = ["--geometry.prompts", "2", "--geometry.group", "3"]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", mostly_long(ONLINE, FEW))
def test_a_recipe_makes_two_rounds_that_change_the_network(recipe: str) -> None:
    torch.set_num_threads(1)
    run, _ = build(recipe, SIZES.get(recipe, USUAL), "test")
    trainer = Trainer(run.model, run.objective, run.source, run.optimizer, Team())
    before = {n: p.detach().clone() for n, p in trainer.weights.parameters.items()}
    rounds = [trainer.step() for _ in range(2)]
    assert all(math.isfinite(v) for r in rounds for v in r.metrics.values())
    assert {"reward/mean", "gradient/norm"} <= rounds[-1].metrics.keys()
    moved = [not torch.equal(p, before[n]) for n, p in trainer.weights.parameters.items()]
    assert sum(moved) > 0.9 * len(moved)
    assert trainer.evaluations.training_backward > 0


def test_every_online_method_has_a_page_and_a_row_in_the_map() -> None:
    from tests.structure.source import ROOT

    table = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    missing = [r for r in ONLINE if f"`{r.removeprefix('portraits_')}`" not in table]
    assert not missing
