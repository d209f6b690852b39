"""ImageReward from a checkpoint in the published layout, against that network in plain torch."""

from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from scoreward.rewards import image_reward
from scoreward.rewards.base import RewardError, differentiated, scored
from scoreward.rewards.catalogue import find
from scoreward.rewards.image_reward import ImageReward, renamed
from tests.rewards import official
from tests.rewards.tiny import WORDS, as_files, photograph

PROMPTS = ["a red circle", "two cat on the green square", "blue"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as published, and a tokenizer of the class that reads its prompts."""
    made = tmp_path_factory.mktemp("image_reward")
    ends = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = transformers.BertTokenizer(vocab={w: i for i, w in enumerate([*ends, *WORDS])})
    words.save_pretrained(made)
    torch.save(official.blip_state(len(words)), made / "ImageReward.pt")
    return made


def pictures(count: int = 3, height: int = 48, width: int = 70) -> Tensor:
    return torch.cat([photograph(height, width, seed) for seed in range(count)])


def reward_in(folder: Path, dtype: torch.dtype = torch.float32, batch: int = 16) -> ImageReward:
    return ImageReward(str(folder), words=str(folder), dtype=dtype, batch=batch)


@pytest.mark.parametrize("shape", [(48, 70), (70, 48), (32, 90), (64, 64)])
def test_scores_are_those_of_the_published_network(folder: Path, shape: tuple[int, int]) -> None:
    media = pictures(3, *shape)
    words = transformers.AutoTokenizer.from_pretrained(folder)
    ids = words(PROMPTS, padding="max_length", truncation=True, max_length=35, return_tensors="pt")
    assert ids["input_ids"].shape == (3, 35)
    assert ids["input_ids"][0, 0] == 2  # [CLS]
    processor = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32)
    pixels = processor(as_files(media), return_tensors="pt")["pixel_values"]
    state = torch.load(folder / "ImageReward.pt")
    expected = official.image_reward(state, pixels, ids["input_ids"], ids["attention_mask"])
    value = scored("image_reward", reward_in(folder), media, PROMPTS)
    assert float(expected.std()) > 0.1
    torch.testing.assert_close(value, expected, atol=0.05 * float(expected.std()), rtol=0)
    # and with the same pixels, to rounding
    network = reward_in(folder)._network
    same = network(pixels, ids["input_ids"], ids["attention_mask"])
    torch.testing.assert_close(same, expected, atol=1e-4, rtol=1e-4)


def test_every_tensor_of_the_checkpoint_is_used_once(folder: Path) -> None:
    state = torch.load(folder / "ImageReward.pt")
    mapped = renamed(state)
    left = [k for k in state if k.startswith(("blip.vision_proj", "blip.text_proj"))]
    assert len(mapped) == len(state) - len(left) - 1  # and the numbers of the positions
    assert mapped.keys() == reward_in(folder)._network.state_dict().keys()


def test_a_batch_is_judged_as_its_pictures_are_one_by_one(folder: Path) -> None:
    media = pictures(5)
    prompts = [*PROMPTS, "cat", "a"]
    one_by_one = torch.cat([reward_in(folder)(m[None], [p]) for m, p in zip(media, prompts)])
    together = reward_in(folder, batch=2)(media, prompts)
    torch.testing.assert_close(together, one_by_one, atol=1e-4, rtol=1e-4)


def test_half_precision_is_close_and_answers_in_float32(folder: Path) -> None:
    whole = reward_in(folder)(pictures(), PROMPTS)
    half = reward_in(folder, torch.bfloat16)(pictures(), PROMPTS)
    assert half.dtype == torch.float32
    assert not torch.equal(half, whole)
    torch.testing.assert_close(half, whole, atol=0.3 * float(whole.std()), rtol=0)


def test_the_gradient_reaches_the_media(folder: Path) -> None:
    media = pictures().requires_grad_()
    value = differentiated("image_reward", reward_in(folder), media, PROMPTS)
    value.sum().backward()
    assert media.grad is not None
    assert (media.grad.flatten(1).abs().sum(1) > 0).all()


def test_missing_and_wrong_weights_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RewardError, match=r"the file ImageReward\.pt of 'THUDM/ImageReward'"):
        scored("image_reward", find("image_reward"), pictures(), PROMPTS)
    torch.save({"a": torch.zeros(1)}, tmp_path / "ImageReward.pt")
    with pytest.raises(ValueError, match=r"expected ImageReward\.pt of THUDM/ImageReward"):
        find(f"image_reward={tmp_path}")(pictures(), PROMPTS)
    state = torch.load(folder / "ImageReward.pt")
    del state["mlp.layers.7.bias"]
    torch.save(state, tmp_path / "ImageReward.pt")
    with pytest.raises(ValueError, match=r"has no 'head\.7\.bias'"):
        find(f"image_reward={tmp_path}")(pictures(), PROMPTS)
    torch.save(torch.load(folder / "ImageReward.pt"), tmp_path / "ImageReward.pt")
    with pytest.raises(RewardError, match="needs the weights 'google-bert/bert-base-uncased'"):
        scored("image_reward", find(f"image_reward={tmp_path}"), pictures(), PROMPTS)


def test_the_numbers_of_the_published_code() -> None:
    assert (image_reward.MEAN, image_reward.STD) == (0.16717362830052426, 1.0333394966054072)
    assert image_reward.LENGTH == 35
