"""Two processes train a language model as one does, also where pairs meet across processes."""

from pathlib import Path

import pytest
import torch

from tests.systems.launch import team
from tests.systems.text_worker import NAMES, trained

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("texts")
    team(2, ["-m", "tests.systems.text_worker", str(path)])
    return path


@pytest.mark.parametrize("name", NAMES)
def test_two_processes_make_the_weights_of_one(name: str, folder: Path, tmp_path: Path) -> None:
    """Five pairs as 2 + 3, float64; KTO's baseline and BCO's shift are those of both.

    [kto] (baseline)
    """
    torch.set_num_threads(1)
    alone = trained(name, tmp_path)  # pyright: ignore[reportArgumentType]
    ranks = [torch.load(folder / f"rank{r}.pt")[name] for r in range(2)]
    for key, value in alone.items():
        torch.testing.assert_close(ranks[0][key], value, rtol=1e-6, atol=1e-7)
        assert torch.equal(ranks[0][key], ranks[1][key])
