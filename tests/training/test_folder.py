"""Files of a run folder: whole or absent, and pictures where they belong."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scoreward.training.evaluations.pictures import Measurement
from scoreward.training.folder import RunFolder, save_grid


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_pictures_lie_in_rows_of_eight_and_the_rest_is_white(tmp_path: Path) -> None:
    """Ten pictures of 4 × 2 pixels; each is grey of its own number, but for a red first pixel."""
    media = (torch.arange(10.0) / 255)[:, None, None, None].expand(10, 3, 4, 2).clone()
    media[:, :, 0, 0] = torch.tensor([1.0, 0.0, 0.0])
    save_grid(media, tmp_path / "grid.png")
    image = pixels(tmp_path / "grid.png")
    assert image.shape == (8, 16, 3)
    for i in range(10):
        tile = image[4 * (i // 8) :, 2 * (i % 8) :][:4, :2]
        assert tile[0, 0].tolist() == [255, 0, 0]
        assert tile[3, 1].tolist() == [i, i, i]
    assert (image[4:, 4:] == 255).all()


def test_pixels_are_rounded_and_cut_to_their_range(tmp_path: Path) -> None:
    media = torch.tensor([-1.0, 0.4 / 255, 0.6 / 255, 2.0]).reshape(4, 1, 1, 1).expand(4, 3, 1, 1)
    save_grid(media, tmp_path / "grid.png")
    assert pixels(tmp_path / "grid.png")[0, :4, 0].tolist() == [0, 0, 1, 255]


def measured(count: int) -> Measurement:
    media = torch.zeros(count, 3, 16, 16)
    return Measurement({}, {"ode": media}, {"ode": {"strict": [0.0, 1.0], "reward": [0.25, 0.75]}})


def test_the_index_tells_prompts_rounds_and_who_was_right(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.create({"status": "running"})
    for round in (0, 5, 5):
        folder.keep_pictures(round, measured(2), ["a", "b"])
    index = json.loads((tmp_path / "samples" / "index.json").read_text())
    assert (index["prompts"], index["rounds"], index["columns"]) == (["a", "b"], [0, 5], 8)
    assert index["tile"] == 16
    assert index["right"]["5"] == {"ode": [False, True]}
    assert index["scores"]["0"]["ode"]["reward"] == [0.25, 0.75]
    assert sorted(p.name for p in (tmp_path / "samples").glob("*.png")) == [
        "000000_ode.png",
        "000005_ode.png",
    ]


def test_vectors_are_not_saved_as_pictures(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.create({})
    folder.keep_pictures(0, Measurement({}, {"ode": torch.zeros(3, 2)}, {}), ["a"] * 3)
    assert not list((tmp_path / "samples").iterdir())


def test_rewinding_forgets_what_came_after_and_every_half_line(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.append(*({"kind": "round", "round": i, "value": 0.1 * i} for i in range(5)))
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"kind": "ro')
    folder.rewind(2)
    assert [r["round"] for r in folder.records("round")] == [0, 1, 2]
    assert folder.records()[1]["value"] == 0.1
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 3


@pytest.mark.parametrize("name", ["run.json", "summary.json"])
def test_json_that_cannot_be_written_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    folder = RunFolder(tmp_path)
    folder.write_json(name, {"old": 1})

    def full(path: Path, text: str) -> int:
        path.open("w").close()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        folder.write_json(name, {"new": 1})
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert json.loads((tmp_path / name).read_text()) == {"old": 1}
