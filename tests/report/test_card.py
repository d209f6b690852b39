"""What the README.md beside exported weights says, and what it keeps to itself."""

import json
from pathlib import Path

from scoreward.report.run.card import model_card

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
