"""Two processes in every precision: the reference stays, and both have the same weights."""

from pathlib import Path

import pytest
import torch

from tests.systems.launch import team
from tests.systems.precise import METHODS, PRECISIONS, outcome

pytestmark = [pytest.mark.slow, pytest.mark.long]


def test_two_processes_in_fewer_bits(tmp_path: Path) -> None:
    team(2, ["-m", "tests.systems.precise", str(tmp_path)])
    one, two = (torch.load(tmp_path / f"rank{r}.pt") for r in range(2))
    assert one.keys() == two.keys() == {f"{m} {p}" for m in METHODS for p in PRECISIONS}
    torch.set_num_threads(1)
    for name, found in one.items():
        assert torch.equal(found["weights"], two[name]["weights"]), name
        assert torch.equal(found["first"], found["after"]), name
        assert not torch.equal(found["first"], found["live"]), name
    for method in METHODS:  # in float32 a team makes the update of one, up to the order of sums
        alone = outcome(method, "no", tmp_path / "alone")["weights"]
        off = (one[f"{method} no"]["weights"] - alone).abs()
        assert (off > 1e-3).float().mean() < 0.02, method  # Adam turns a sign of noise into a step
