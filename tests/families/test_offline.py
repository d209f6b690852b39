"""Captioned pictures: latents computed once, and fine-tuning on them."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scoreward import cli
from scoreward.data.captioned import CaptionsError, captioned
from scoreward.data.disk_rows import DiskRows
from scoreward.data.preferences.records import ImagePair
from scoreward.models.diffusers import load
from scoreward.models.diffusers.prompts import PictureFiles
from scoreward.tasks.pairs import in_space
from tests.families import tiny
from tests.support.matrix import long

Folder = Callable[[str], Path]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twelve pictures with captions beside them."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(12):
        pixels = np.full((40 + i, 60, 3), 20 * i, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        (folder / f"{i}.txt").write_text(f"picture number {i}\n")
    return folder


def reader(name: str, saved: Folder) -> PictureFiles:
    read = load(saved(name), tiny.loading(name)).read
    assert isinstance(read, PictureFiles)
    return read


def test_latents_are_computed_once_and_belong_to_the_content(
    pictures: Path, saved: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [pictures / "3.png", pictures / "7.png"]
    first = reader("sd3", saved)(paths)
    assert first.shape == (2, 4, 16, 24)
    assert not torch.allclose(first[0], first[1])
    again = reader("sd3", saved)
    with monkeypatch.context() as patch:
        patch.setattr(PictureFiles, "_pixels", lambda self, path: pytest.fail("read again"))
        assert torch.equal(again(list(reversed(paths))), first.flip(0))
    (pictures / "3.png").write_bytes((pictures / "7.png").read_bytes())
    assert torch.equal(reader("sd3", saved)(paths)[0], first[1])


def test_latents_are_those_of_the_fitted_picture(pictures: Path, saved: Folder) -> None:
    read = reader("sd3", saved)
    grey = torch.full((1, 3, 32, 48), 140 / 255)
    expected = read.pictures.latents(grey)
    assert torch.allclose(read([pictures / "7.png"]), expected, atol=1e-5)


def test_a_picture_is_a_video_of_one_frame(pictures: Path, saved: Folder) -> None:
    with pytest.raises(ValueError, match=r"1.txt is not a picture of a kind that can"):
        reader("wan21", saved)([pictures / "1.txt"])
    size = {"height": 32, "width": 48, "frames": 1}
    read = load(saved("wan21"), tiny.loading("wan21", **size)).read
    assert read is not None
    assert read([pictures / "1.png"]).shape == (1, 4, 1, 4, 6)


def test_captions_are_beside_or_listed_and_missing_ones_named(pictures: Path) -> None:
    assert captioned(pictures)[0] == (pictures / "0.png", "picture number 0")
    lines = [{"file_name": f"{i}.png", "text": f"listed {i}"} for i in (4, 2)]
    (pictures / "metadata.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    assert [text for _, text in captioned(pictures)] == ["listed 4", "listed 2"]
    (pictures / "metadata.jsonl").write_text('{"file_name": "gone.png", "text": "a"}')
    with pytest.raises(CaptionsError, match=r"line 1 of .* names gone.png, which is not there"):
        captioned(pictures)
    (pictures / "metadata.jsonl").write_text('{"file": "a"}')
    with pytest.raises(CaptionsError, match=r'line 1 of .* has no "file_name"; it has file'):
        captioned(pictures)
    (pictures / "metadata.jsonl").unlink()
    (pictures / "5.txt").unlink()
    with pytest.raises(CaptionsError, match=r"5.png in .* has no caption 5.txt"):
        captioned(pictures)
    with pytest.raises(CaptionsError, match="there is no folder"):
        captioned(pictures / "nowhere")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sd3", long("sd15")])
def test_fine_tuning_lowers_the_loss_on_its_pictures(
    name: str, pictures: Path, saved: Folder, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    words = [
        *("--pictures", str(pictures), "--model", str(saved(name)), "--loading.dtype", "float32"),
        *("--loading.height", "32", "--loading.width", "48", "--loading.rank", "8"),
        *("--loading.no-lora", "--task.reward", "contrast", "--geometry.prompts", "16"),
        *("--optimizer.lr", "0.003", "--optimizer.warmup", "0", "--budget.rounds", "20"),
        *("--measured.every", "20", "--measured.steps", "2", "--measured.prompts", "2"),
        *("--measured.spread-prompts", "1", "--measured.noises", "2", "--folder", str(run)),
    ]
    assert cli.main(["train", "sd35_sft", *words]) == 0
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if line["kind"] == "round"]
    assert len(losses) == 20
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])


@pytest.mark.parametrize("cache", [True, False])
def test_what_is_not_to_be_kept_is_not_kept(cache: bool, saved: Folder, tmp_path: Path) -> None:
    """Rows of pairs lie in the cache, or go with the program."""
    model = load(saved("sd3"), replace(tiny.loading("sd3"), cache=cache))
    one, other = (Image.new("RGB", (48, 32), (level, 9, 9)) for level in (10, 200))
    data = in_space([ImagePair("a", one, other)], model)
    assert isinstance(data.winner, DiskRows)
    assert data.winner[[0]].shape == (1, 4, 16, 24)
    assert data.winner.path.is_relative_to(tmp_path / "cache") is cache
