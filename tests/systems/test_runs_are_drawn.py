"""`scoreward sample --run` draws with the weights of the run, whatever of them was trained."""

from pathlib import Path

import pytest
import torch

from scoreward.cli import main
from scoreward.commands.look import Which
from scoreward.models.builtin import portraits as builtin
from tests.support.matrix import long

PROMPT = "a happy person with a red hat"
TINY = [
    *("--geometry.prompts", "2", "--geometry.group", "2", "--budget.rounds", "1"),
    *("--held-out.prompts", "2", "--held-out.every", "1"),
]


@pytest.mark.slow
@pytest.mark.parametrize("options", [long([]), ["--model.lora"]], ids=["all weights", "adapters"])
def test_a_run_is_drawn_with_what_it_learned(options: list[str], tmp_path: Path) -> None:
    folder, picture = tmp_path / "run", tmp_path / "picture.png"
    command = ["train", "portraits_vgrpo", "--folder", str(folder), *TINY, *options]
    assert main(command) == 0
    assert main(["sample", PROMPT, "--run", str(folder), "--out", str(picture)]) == 0
    assert picture.exists()
    model, base = Which(run=folder).opened().model, builtin.portraits()
    x, t = torch.randn(2, *builtin.portraits.shape), torch.tensor([0.3, 0.7])
    cond = model.encode([PROMPT] * 2)
    with torch.no_grad():
        change = (model.denoiser(x, t, cond).x0 - base.denoiser(x, t, cond).x0).abs().max()
    assert 0 < change < 0.5  # one update moves the model, but not far


def test_a_toy_run_has_no_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "toy"
    assert main(["train", "toy_vgrpo", "--folder", str(folder), "--budget.rounds", "1"]) == 0
    assert main(["sample", "north east", "--run", str(folder)]) == 2
    assert "makes vectors" in capsys.readouterr().err
