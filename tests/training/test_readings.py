"""Frozen readings are frozen, for every objective in every precision; only the network is rounded.

What a reading must say is asked of a copy of the model made for the purpose, so nothing that the
trainer keeps or caches can answer for it.
"""

from pathlib import Path

import pytest
import torch

from tests.support.matrix import mostly_long
from tests.training.readings import (
    ALL_PRECISIONS,
    PICTURES,
    TEXTS,
    Spy,
    copied,
    question,
    spied,
    trainer,
)

FEW = (  # one of each way to ask other policies; the others are `make long`
    "portraits_vgrpo",
    "portraits_flow_grpo",
    "portraits_diffusion_nft",
    "portraits_draft",
    "portraits_diffusion_dpo",
    "portraits_spo",
    "text_dpo",
    "text_kto",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", mostly_long((*PICTURES, *TEXTS), FEW))
@pytest.mark.parametrize("weights", ["adapters", "all"])
@pytest.mark.parametrize("precision", ALL_PRECISIONS)
def test_the_reference_stays_the_first_model_and_old_the_policy_that_sampled(
    name: str, weights: str, precision: str, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    run = trainer(name, precision, weights == "adapters", tmp_path)
    asked = question(name, run.model)
    first = copied(run, precision)(*asked)
    run.step()
    spy = Spy(asked)
    run.objective = spied(run.objective, spy)
    run.work(1)  # brings the snapshots to the start of the round; twice would move averages
    old = copied(run, precision, run.weights.snapshot("old"))(*asked)
    live = copied(run, precision)(*asked)
    assert not torch.equal(live, first)
    run.step()
    heard = [(where, reading, v) for where, reading, v in spy.heard]
    assert {where for where, _, _ in heard} == {"prepare", "loss"}
    for where, reading, value in heard:
        wanted = {"reference": first, "old": old, "current": live}.get(reading)
        if wanted is not None and (reading != "old" or run.objective.old_decay(1) == 0):
            assert torch.equal(value, wanted), (where, reading)
    assert all(spy.plain)  # densities and losses in float32: autocast is around the network
