"""What the README.md beside exported weights says, and what it keeps to itself."""

import json
from pathlib import Path

from scoreward.report.run.card import model_card
from tests.report.conftest import FakeRun

SAID = {
    "recipe": "digits_compressed_vgrpo",
    "command": "scoreward train x --folder /disk/ann/runs/x --a.b=/disk/ann/b.npz --lr 1e-4/2",
    "settings": {"folder": "/disk/ann/runs/x", "files": ["/disk/ann/c", "d/e"], "seed": 3},
}


def test_no_folder_of_somebodys_machine_is_published(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(SAID))
    card = model_card(tmp_path, tmp_path, "weights")
    assert "ann" not in card
    assert "`scoreward train x --folder x --a.b=b.npz --lr 1e-4/2`" in card
    settings = json.loads(card.split("```json")[1].split("```")[0])
    assert settings == {"folder": "x", "files": ["c", "d/e"], "seed": 3}


def test_it_says_how_weights_are_given_to_a_recipe(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps(SAID))
    assert "as `--model.file` where" in model_card(tmp_path, tmp_path, "weights")
    assert "--model" not in model_card(tmp_path, tmp_path, "lora")


def test_a_change_has_its_interval_and_one_without_numbers_per_prompt_has_none(
    fake_run: FakeRun,
) -> None:
    run = fake_run(rounds=4)
    card = model_card(run, run, "weights")
    row = next(line for line in card.splitlines() if line.startswith("| ode | judge |"))
    assert row.startswith("| ode | judge | 0.921 | 0.967 | +0.046 [+0.04")
    assert row.endswith("128 prompts, 128 pictures: better |")
    old = fake_run("old", rounds=4, prompts=0)
    assert "| ode | judge | 0.921 | 0.967 |  |" in model_card(old, old, "weights")
