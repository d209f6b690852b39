"""HPSv2's checkpoint layout becomes the same network in transformers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from scoreward.rewards import clip
from scoreward.rewards.base import scored
from scoreward.rewards.open_clip import HEADS, clip_of, renamed
from scoreward.rewards.pictures import CLIP_MEAN, CLIP_STD
from tests.rewards.official import clip_image, clip_state, clip_text
from tests.rewards.tiny import as_files, clip_tokenizer, photograph

PROMPTS = ["a red circle", "two cat on the green square of some length", "blue"]


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("processor")
    clip_tokenizer().save_pretrained(made)
    CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=28).save_pretrained(made)
    return made


def ids_of(prompts: list[str], length: int = 16) -> Tensor:
    """As open_clip fills them up: zeros after the end."""
    rows = [clip_tokenizer()(p, truncation=True, max_length=length)["input_ids"] for p in prompts]
    return torch.tensor([row + [0] * (length - len(row)) for row in rows])


def test_both_towers_are_those_of_the_checkpoint() -> None:
    state = clip_state(len(clip_tokenizer()))
    model: Any
    model, mapped = clip_of("hpsv2", state)
    assert mapped.keys() == model.state_dict().keys()
    model.eval().load_state_dict(mapped)
    pixels = torch.randn(2, 3, 28, 28)
    mine = clip._unit(model.get_image_features(pixel_values=pixels))
    expected = F.normalize(clip_image(state, pixels, HEADS), dim=-1)
    torch.testing.assert_close(mine, expected, atol=1e-5, rtol=0)
    ids = ids_of(PROMPTS)
    mask = (ids > 0).long()
    mine = clip._unit(model.get_text_features(input_ids=ids, attention_mask=mask))
    expected = F.normalize(clip_text(state, ids, HEADS), dim=-1)
    torch.testing.assert_close(mine, expected, atol=1e-5, rtol=0)


def test_every_tensor_is_used_once() -> None:
    state = clip_state(50)
    mapped = renamed(state)
    assert sum(v.numel() for v in mapped.values()) == sum(v.numel() for v in state.values())
    assert len(mapped) == len(state) + 2 * 2 * 2 * 2  # two tensors of each block became three


@pytest.mark.parametrize("as_folder", [True, False])
def test_hpsv2_reads_the_published_file(processor: Path, tmp_path: Path, as_folder: bool) -> None:
    state = clip_state(len(clip_tokenizer()))
    file = tmp_path / "HPS_v2.1_compressed.pt"
    torch.save({"epoch": 3, "state_dict": {k: v.half() for k, v in state.items()}}, file)
    media = torch.cat([photograph(40, 52, seed) for seed in range(3)])
    reward = clip.hpsv2(str(tmp_path if as_folder else file), str(processor))
    value = scored("hpsv2", reward, media, PROMPTS)
    small = media.new_zeros(3, 3, 28, 28)  # whole, on black
    processed = CLIPImageProcessorPil(size={"height": 22, "width": 28}, do_center_crop=False)
    seen = processed(as_files(media), do_normalize=False, return_tensors="pt")["pixel_values"]
    small[:, :, 3:25] = seen
    mean, std = (torch.tensor(v).reshape(3, 1, 1) for v in (CLIP_MEAN, CLIP_STD))
    pixels = (small - mean) / std
    half = {k: v.half().float() for k, v in state.items()}
    image = F.normalize(clip_image(half, pixels, HEADS), dim=-1)
    text = F.normalize(clip_text(half, ids_of(PROMPTS), HEADS), dim=-1)
    torch.testing.assert_close(value, (image * text).sum(1), atol=5e-3, rtol=0)


def test_other_checkpoints_are_refused(processor: Path, tmp_path: Path) -> None:
    file, media = tmp_path / "HPS_v2.1_compressed.pt", torch.rand(1, 3, 28, 28)
    reward = clip.hpsv2(str(tmp_path), str(processor))
    file.write_bytes(b"not a checkpoint")
    with pytest.raises(FileNotFoundError, match="not a checkpoint"):
        reward(media, ["a cat"])
    torch.save({"state_dict": {"weight": torch.zeros(2)}}, file)
    with pytest.raises(ValueError, match=r"has no 'visual\.proj'; expected open_clip's layout"):
        reward(media, ["a cat"])
    torch.save(clip_state(50) | {"extra": torch.zeros(2)}, file)
    with pytest.raises(ValueError, match="has an unknown 'extra'"):
        reward(media, ["a cat"])
