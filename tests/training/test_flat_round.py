"""A round whose rewards have no spread ends well: some objectives; all of them are `make long`."""

from math import isfinite
from pathlib import Path

import pytest
import torch

from tests.systems.flat import ROUNDS, everything

FEW = (
    "flow_grpo_kl-flat-two",
    "flow_grpo_kl-flat-remembered",
    "dpok_kl-flat-one",
    "vgrpo-flat-two",
    "spo-flat-two",
    "diffusion_dpo-flat-two",
)


@pytest.mark.parametrize("name", FEW)
def test_it_ends_with_finite_numbers(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    found = everything(tmp_path, [name])[name]
    assert "error" not in found, found.get("error")
    assert len(found["metrics"]) == ROUNDS
    assert all(isfinite(v) for metrics in found["metrics"] for v in metrics.values())
