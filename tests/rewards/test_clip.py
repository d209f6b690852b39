"""CLIP-like rewards on tiny models of the real classes, against their use in transformers."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from torch import Tensor
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from scoreward.rewards import clip
from scoreward.rewards.base import RewardError, differentiated, scored
from scoreward.rewards.catalogue import find
from scoreward.rewards.clip import Aesthetic, AestheticHead, Towers
from scoreward.rewards.pictures import CLIP_MEAN, CLIP_STD, Preparation
from scoreward.rewards.weights import filled
from tests.rewards.tiny import (
    as_files,
    clip_tokenizer,
    features,
    photograph,
    save_clip,
    save_siglip,
)

PROMPTS = ["a red circle", "two cat on the green square of some length", "a red circle"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("clip")
    save_clip(made)
    return made


@pytest.fixture(scope="module")
def siglip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("siglip")
    save_siglip(made)
    return made


def pictures(count: int = 3, height: int = 40, width: int = 52) -> Tensor:
    return torch.cat([photograph(height, width, seed) for seed in range(count)])


def logits(folder: Path, media: Tensor, prompts: list[str]) -> Tensor:
    """As the model's own documentation computes them."""
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    words = transformers.AutoTokenizer.from_pretrained(folder)
    ids = words(prompts, padding=True, truncation=True, max_length=16, return_tensors="pt")
    pixels = CLIPImageProcessorPil.from_pretrained(folder)(as_files(media), return_tensors="pt")
    with torch.no_grad():
        return model(**ids, **pixels).logits_per_image.diag()


@pytest.mark.parametrize(("name", "divisor"), [("clip_score", 100), ("pickscore", 26)])
def test_logits_are_those_of_transformers(folder: Path, name: str, divisor: float) -> None:
    reward, media = find(f"{name}={folder}"), pictures()
    expected = logits(folder, media, PROMPTS) / divisor
    value = scored(name, reward, media, PROMPTS)
    assert expected.std() > 0.01  # the tiny model does tell them apart
    torch.testing.assert_close(value, expected, atol=2e-3, rtol=0)


def test_without_a_processor_of_their_own_they_use_that_of_clip_h(
    folder: Path, tmp_path: Path
) -> None:
    transformers.CLIPModel.from_pretrained(folder).save_pretrained(tmp_path)
    for name in ("pickscore", "hpsv2"):
        with pytest.raises(RewardError, match="needs the weights 'laion/CLIP-ViT-H-14-laion2B"):
            scored(name, find(f"{name}={tmp_path}"), pictures(), PROMPTS)
        other = vars(clip)[name](str(tmp_path), str(folder))
        assert torch.equal(
            other(pictures(), PROMPTS), find(f"{name}={folder}")(pictures(), PROMPTS)
        )


def on_black(media: Tensor, side: int) -> Tensor:
    """HPSv2's own preparation in PIL: the longer side to `side`, then black on both sides."""
    made = []
    for image in as_files(media):
        scale = side / max(image.size)
        small = image.resize(tuple(round(s * scale) for s in image.size), Image.Resampling.BICUBIC)
        square = Image.new("RGB", (side, side))
        square.paste(small, tuple((side - s) // 2 for s in small.size))
        values = np.asarray(square).astype(np.float32) / 255
        made.append((values - CLIP_MEAN) / CLIP_STD)
    return torch.from_numpy(np.stack(made)).permute(0, 3, 1, 2).float()


SHAPES = [(40, 52), (90, 31), (31, 90), (64, 64), (28, 28), (28, 21), (20, 11), (40, 41)]


@pytest.mark.parametrize("shape", SHAPES)
def test_hpsv2_is_the_cosine_with_the_whole_picture_on_black(
    folder: Path, shape: tuple[int, int]
) -> None:
    """The released preparation; cut to a square, wide and tall pictures lost their ends."""
    reward, media = clip.hpsv2(str(folder), str(folder)), pictures(3, *shape)
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    words = transformers.AutoTokenizer.from_pretrained(folder)
    ids = words(PROMPTS, padding=True, truncation=True, max_length=16, return_tensors="pt")
    expected = on_black(media, 28)
    with torch.no_grad():
        logits = model(**ids, pixel_values=expected).logits_per_image.diag()
    cosine = logits / model.logit_scale.exp()
    value = scored("hpsv2", reward, media, PROMPTS)
    torch.testing.assert_close(value, cosine.detach(), atol=2e-3, rtol=0)
    mine = reward.towers.preparation(media)
    assert float(((mine - expected) * torch.tensor(CLIP_STD).reshape(3, 1, 1)).abs().max()) < (
        2.01 / 255
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["clip_score", "pickscore"])
def test_other_clips_look_at_the_middle_of_wide_and_tall_pictures(
    folder: Path, name: str, shape: tuple[int, int]
) -> None:
    media = pictures(3, *shape)
    expected = logits(folder, media, PROMPTS) / {"clip_score": 100, "pickscore": 26}[name]
    value = scored(name, find(f"{name}={folder}"), media, PROMPTS)
    torch.testing.assert_close(value, expected, atol=3e-3, rtol=0)


def test_siglip_is_the_cosine_of_texts_filled_up_without_a_mask(siglip_folder: Path) -> None:
    media = pictures()
    model = transformers.SiglipModel.from_pretrained(siglip_folder).eval()
    words = transformers.AutoTokenizer.from_pretrained(siglip_folder)
    ids = words(PROMPTS, padding="max_length", truncation=True, max_length=12, return_tensors="pt")
    pixels = SiglipImageProcessorPil.from_pretrained(siglip_folder)(
        as_files(media), return_tensors="pt"
    )
    with torch.no_grad():
        image = features(model.get_image_features(**pixels))
        text = features(model.get_text_features(input_ids=ids["input_ids"]))
    value = scored("siglip", find(f"siglip_score={siglip_folder}"), media, PROMPTS)
    torch.testing.assert_close(value, (image * text).sum(1), atol=2e-3, rtol=0)


PROCESSORS = {
    "clip": CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size=28),
    "clip with a margin": CLIPImageProcessorPil(size={"shortest_edge": 36}, crop_size=28),
    "siglip": SiglipImageProcessorPil(size={"height": 28, "width": 28}),
    "bilinear": SiglipImageProcessorPil(size={"height": 30, "width": 20}, resample=2),
}


@pytest.mark.parametrize("kind", list(PROCESSORS))
@pytest.mark.parametrize("shape", [(28, 28), (64, 64), (61, 90), (97, 50), (20, 23)])
def test_preparation_is_that_of_the_reference_processor(kind: str, shape: tuple[int, int]) -> None:
    """To 2/255 before the normalisation: PIL rounds to whole numbers after each pass."""
    reference = PROCESSORS[kind]
    media = pictures(2, *shape)
    expected = reference(as_files(media), return_tensors="pt")["pixel_values"]
    mine = Preparation.read(reference.to_dict())(media)
    assert mine.shape == expected.shape
    std = torch.tensor(reference.image_std).reshape(3, 1, 1)
    assert float(((mine - expected) * std).abs().max()) <= 2 / 255
    assert float(((mine - expected) * std).abs().mean()) <= 0.4 / 255


def test_old_files_that_give_sizes_as_bare_numbers() -> None:
    old = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "resample": 3, "size": 28}
    crop = Preparation.read({**old, "do_center_crop": True, "crop_size": 28})
    assert (crop.size, crop.crop) == (28, (28, 28))
    whole = Preparation.read({**old, "do_center_crop": False, "crop_size": 28})
    assert (whole.size, whole.crop) == ((28, 28), None)
    with pytest.raises(ValueError, match="resample is 1"):
        Preparation.read({**old, "resample": 1})


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_a_batch_is_judged_as_its_pictures_are_one_by_one(folder: Path, batch: int) -> None:
    reward = clip.ClipScore(Towers("test", str(folder), batch=batch))
    media = pictures(5)
    prompts = [*PROMPTS, "blue", "a cat"]
    one_by_one = torch.cat([reward(m[None], [p]) for m, p in zip(media, prompts)])
    again = clip.ClipScore(Towers("test", str(folder), batch=batch))
    torch.testing.assert_close(again(media, prompts), one_by_one, atol=1e-5, rtol=0)


def test_no_pictures_earn_no_rewards(folder: Path) -> None:
    assert clip.clip_score(str(folder))(torch.zeros(0, 3, 8, 8), []).shape == (0,)


def test_half_precision_is_close_and_answers_in_float32(folder: Path) -> None:
    media, whole = pictures(), find(f"clip_score={folder}")
    half = clip.clip_score(str(folder), dtype=torch.bfloat16)
    value = half(media, PROMPTS)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, whole(media, PROMPTS), atol=0.03, rtol=0)
    assert not torch.equal(value, whole(media, PROMPTS))
    assert whole(media.half(), PROMPTS).dtype == torch.float32  # half media, too


def test_the_gradient_reaches_the_media_and_not_the_weights(folder: Path) -> None:
    reward = clip.clip_score(str(folder))
    media = (0.9 * pictures() + 0.05).requires_grad_()  # a step ahead is still a picture
    value = differentiated("clip", reward, media, PROMPTS)
    (gradient,) = torch.autograd.grad(value.sum(), media)
    direction = torch.randn_like(media) * 1e-3
    with torch.no_grad():
        ahead, behind = (reward(media + s * direction, PROMPTS).sum() for s in (1, -1))
    slope = (gradient * direction).sum()
    assert float(slope) == pytest.approx(float(ahead - behind) / 2, rel=0.05, abs=2e-6)
    assert not any(p.requires_grad for p in reward.towers.model.parameters())


def test_prompts_are_encoded_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reward = clip.clip_score(str(folder))
    asked: list[str] = []
    encode = Towers._encoded

    def counted(self: Towers, prompts: list[str], device: torch.device) -> Tensor:
        asked.extend(prompts)
        return encode(self, prompts, device)

    monkeypatch.setattr(Towers, "_encoded", counted)
    first = reward(pictures(), PROMPTS)
    assert asked == PROMPTS[:2]
    torch.testing.assert_close(reward(pictures(), PROMPTS), first)
    assert len(asked) == 2
    monkeypatch.setattr(clip, "REMEMBERED", 2)
    torch.testing.assert_close(reward(pictures(), [PROMPTS[0], "cat", "blue"])[0], first[0])
    assert asked[2:] == [PROMPTS[0], "cat", "blue"]  # forgotten, then encoded anew


def test_the_aesthetic_score_is_the_head_on_the_unit_vector(folder: Path, tmp_path: Path) -> None:
    weights = AestheticHead(24).state_dict()
    torch.save(weights, tmp_path / "aesthetic-model.pth")
    reward = Aesthetic(str(tmp_path), Towers("aesthetic", str(folder)))
    media = pictures()
    vector = features(
        transformers.CLIPModel.from_pretrained(folder).get_image_features(
            **CLIPImageProcessorPil.from_pretrained(folder)(as_files(media), return_tensors="pt")
        )
    )
    for i in (0, 2, 4, 6, 7):
        vector = vector @ weights[f"layers.{i}.weight"].T + weights[f"layers.{i}.bias"]
    value = scored("aesthetic", reward, media, PROMPTS)
    torch.testing.assert_close(value, vector[:, 0].detach(), atol=1e-4, rtol=0)
    again = Aesthetic(str(tmp_path / "aesthetic-model.pth"), Towers("aesthetic", str(folder)))
    assert torch.equal(again(media, PROMPTS), value)  # no dropout
    assert [tuple(p.shape) for p in AestheticHead().parameters()][::2] == [
        (1024, 768), (128, 1024), (64, 128), (16, 64), (1, 16)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("pickscore", "needs the weights 'yuvalkirstain/PickScore_v1'.*hf download yuvalkirstain"),
        ("clip_score", "needs the weights 'openai/clip-vit-large-patch14'.*clip_score=FOLDER"),
        ("siglip_score", "needs the weights 'google/siglip-so400m-patch14-384'"),
        ("hpsv2", r"needs the file HPS_v2\.1_compressed\.pt of 'xswu/HPSv2'.*hf download xswu"),
        ("aesthetic", "needs the weights 'openai/clip-vit-large-patch14'"),
        ("pickscore=no/such/folder", "there is no folder 'no/such/folder'"),
    ],
)
def test_missing_weights_are_one_sentence(name: str, sentence: str) -> None:
    """Offline, as all tests are."""
    with pytest.raises(RewardError, match=sentence) as caught:
        scored(name, find(name), pictures(), PROMPTS)
    assert "\n" not in str(caught.value)


def test_a_folder_with_something_else_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="reward 'clip_score' cannot use"):
        find(f"clip_score={tmp_path}")(pictures(), PROMPTS)
    vision = transformers.CLIPModel.from_pretrained(folder).vision_model
    only_vision = transformers.CLIPVisionModel(vision.config)
    only_vision.save_pretrained(tmp_path)
    transformers.CLIPModel.from_pretrained(folder).config.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="have no 'logit_scale'"):
        find(f"clip_score={tmp_path}")(pictures(), PROMPTS)
    clip_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no preprocessor_config\.json"):
        clip.clip_score(str(tmp_path)).towers.preparation  # noqa: B018


def test_a_head_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has shape \(1024, 24\); expected \(1024, 768\)"):
        filled("aesthetic", AestheticHead(), AestheticHead(24).state_dict(), "head.pth")
    with pytest.raises(ValueError, match=r"'head\.pth' has no 'layers\.0\.bias' \(10 such\)"):
        filled("aesthetic", AestheticHead(), {}, "head.pth")


def test_transformers_waits_until_weights_are_read() -> None:
    """In a fresh interpreter; building the rewards reads no weights either."""
    probe = "import sys; from scoreward.rewards.catalogue import NAMES, find; "
    probe += "[find(n) for n, e in NAMES.items() if e.takes not in ('URL', 'NUMBER')]; "
    probe += "print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    rewards = {"clip", "detection", "hpsv3", "image_reward"}
    assert {f"scoreward.rewards.{name}" for name in rewards} <= loaded
    heavy = {"transformers", "tokenizers", "huggingface_hub", "onnxruntime"}
    assert not loaded & (heavy | {"efficientnet_lite_pytorch"})


def test_the_scale_is_the_exponential_of_the_learned_number(folder: Path) -> None:
    towers = Towers("test", str(folder))
    assert towers.scale == pytest.approx(math.exp(2.6592), rel=1e-4)
