"""Pretraining on compressed digits, export, and V-GRPO on what was exported."""

from pathlib import Path

import pytest

from scoreward.cli import main
from scoreward.training.folder import RunFolder

pytestmark = pytest.mark.slow
SMALL = ["--held-out.prompts", "10", "--checked.every", "4"]


@pytest.mark.long
def test_a_compressed_model_is_pretrained_exported_and_rewarded(tmp_path: Path) -> None:
    first, out, second = (str(tmp_path / name) for name in ("first", "out", "second"))
    few = ["--geometry.prompts", "1280", "--geometry.minibatches", "10", "--budget.rounds", "4"]
    assert main(["train", "digits_compressed_pretrain", *few, *SMALL, "--folder", first]) == 0
    found = [r["sde"]["nearest"] for r in RunFolder(Path(first)).records("evaluation")]
    assert found[-1] < 0.8 * found[0]
    assert main(["export", first, "--to", out]) == 0
    file = ["--model.file", f"{out}/model.safetensors"]
    few = ["--geometry.prompts", "4", "--geometry.group", "4", "--budget.rounds", "2"]
    assert main(["train", "digits_compressed_vgrpo", *file, *few, *SMALL, "--folder", second]) == 0
    rounds = RunFolder(Path(second)).records("round")
    assert len(rounds) == 2
    assert all(r["gradient/norm"] > 0 for r in rounds)


def test_without_a_file_it_starts_from_the_shipped_model(tmp_path: Path) -> None:
    few = ["--geometry.prompts", "4", "--geometry.group", "4", "--budget.rounds", "1"]
    folder = tmp_path / "run"
    assert main(["train", "digits_compressed_vgrpo", *few, *SMALL, "--folder", str(folder)]) == 0
    assert RunFolder(folder).records("evaluation")[0]["ode"]["judge"] > 0.6


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model.file", str(tmp_path / "none"), "--folder", str(tmp_path / "x")]
    assert main(["train", "digits_compressed_vgrpo", *words]) != 0
    assert "cannot read a compressed model" in "".join(capsys.readouterr())
