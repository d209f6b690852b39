"""Editing pipelines of diffusers, tiny and random, saved and loaded back.  [rpo] (edit)"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers as installed
import numpy as np
import pytest
import torch
from PIL import Image

from scoreward.core.keys import Key
from scoreward.curation.editors import ClipSimilarity, PipelineEditor
from scoreward.curation.records import Critique
from scoreward.curation.stages import Edit, Editor
from scoreward.models.diffusers.editing import CALLS, Call, Editing
from tests.families import pictures, tiny
from tests.families.coders import table, vae
from tests.families.encoders import clip, tokenizer
from tests.rewards.tiny import save_clip
from tests.support.matrix import mostly_long

diffusers: Any = installed


def networks(**more: Any) -> dict[str, Any]:
    return {
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "cross_attention_dim": 32,
        "attention_head_dim": 8,
        "norm_num_groups": 8,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        **more,
    }


def pix2pix() -> Any:
    """The picture comes in four more channels."""
    unet = diffusers.UNet2DConditionModel(
        **networks(in_channels=8, out_channels=4, sample_size=16),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )
    return diffusers.StableDiffusionInstructPix2PixPipeline(
        vae=vae(), text_encoder=clip(), tokenizer=tokenizer(), unet=unet, scheduler=table(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def control() -> Any:
    net = diffusers.ControlNetModel(
        **networks(in_channels=4, conditioning_embedding_out_channels=(16, 32))
    )
    zero = (net.controlnet_mid_block, *net.controlnet_down_blocks)
    for part in (*zero, net.controlnet_cond_embedding.conv_out):
        torch.nn.init.normal_(part.weight, std=0.3)  # zero in a fresh one, so it would do nothing
    return net


def controlled() -> Any:
    return diffusers.StableDiffusionControlNetPipeline(
        **pictures.sd15().components, controlnet=control(), requires_safety_checker=False
    )


BUILD: dict[str, Callable[[], Any]] = {
    "pix2pix": pix2pix,
    "controlnet": controlled,
    "kontext": pictures.flux_kontext,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("editors")

    def saved(name: str) -> Path:
        path = root / name
        if not path.exists():
            with torch.random.fork_rng():
                torch.manual_seed(3)
                BUILD[name]().save_pretrained(path)
        return path

    return saved


def edits(count: int = 2, told: tuple[str, ...] = ("make it blue",)) -> list[Edit]:
    noise = Key(("picture",)).integers(256, count, 32, 48, 3).numpy().astype(np.uint8)
    return [Edit(Image.fromarray(one), "a cat", Critique(()), told) for one in noise]


def keys(count: int = 2, seed: int = 0) -> list[Key]:
    return [Key((seed, i)) for i in range(count)]


def editor(path: Path, **more: Any) -> PipelineEditor:
    return PipelineEditor(Editing(str(path), steps=2, area=32 * 48, device="cpu", **more))


def far(one: list[Image.Image], other: list[Image.Image]) -> float:
    pairs = zip(one, other, strict=True)
    return float(np.mean([np.abs(np.asarray(a, float) - np.asarray(b, float)) for a, b in pairs]))


@pytest.mark.parametrize("name", mostly_long(BUILD, ("pix2pix", "kontext")))
def test_an_editor_uses_picture_instruction_and_seed(
    name: str, folder: Callable[[str], Path]
) -> None:
    one = editor(folder(name))
    assert isinstance(one, Editor)
    first = one(edits(), keys())
    assert [image.size for image in first] == [(48, 32)] * 2
    assert far(one(edits(), keys()), first) == 0
    assert far(one(edits(), keys(seed=1)), first) > 0
    assert far(one(edits(told=("something else entirely",)), keys()), first) > 0
    swapped = one(edits()[::-1], keys())
    assert far(swapped, first) > 0
    assert far(one(edits(1), keys(1)), first[:1]) == 0  # whoever else is edited


def test_the_result_is_that_of_the_pipeline_itself(folder: Callable[[str], Path]) -> None:
    """Called by hand with the same numbers, loaded by diffusers alone."""
    path = folder("pix2pix")
    pipe = diffusers.StableDiffusionInstructPix2PixPipeline.from_pretrained(
        path, safety_checker=None
    )
    pipe.set_progress_bar_config(disable=True)
    (one,), (key,) = edits(1), keys(1)
    expected = pipe(
        "make it blue. add a hat", one.image, 2, 7.5, 1.5, generator=key.generator()
    ).images
    told = ("make it blue.", "add a hat")
    assert far(editor(path)(edits(1, told), [key]), expected) == 0
    weaker = editor(path, image_guidance=1.1)(edits(1, told), [key])
    assert far(weaker, expected) > 0
    other = editor(path, guidance=2.0)(edits(1, told), [key])
    assert far(other, expected) > 0


def test_a_controlnet_is_added_to_a_model_that_draws(
    folder: Callable[[str], Path], tmp_path: Path
) -> None:
    """The same two parts saved as one pipeline, or apart."""
    whole = folder("controlnet")
    pipe = diffusers.StableDiffusionControlNetPipeline.from_pretrained(whole, safety_checker=None)
    pipe.controlnet.save_pretrained(tmp_path / "net")
    parts = {name: part for name, part in pipe.components.items() if name != "controlnet"}
    plain = diffusers.StableDiffusionPipeline(**parts, requires_safety_checker=False)
    plain.save_pretrained(tmp_path / "sd")
    apart = editor(tmp_path / "sd", controlnet=str(tmp_path / "net"))
    assert far(apart(edits(), keys()), editor(whole)(edits(), keys())) == 0
    off = editor(whole, image_guidance=0.0)
    assert far(off(edits(), keys()), off(edits()[::-1], keys())) == 0  # the picture is not seen
    assert str(tmp_path / "net") in apart.name


def test_evaluations_are_those_that_the_network_does(folder: Callable[[str], Path]) -> None:
    for name in ("pix2pix", "controlnet", "kontext"):
        one = editor(folder(name), guidance=3.0)
        pipe = one.editing._pipe
        network = pipe.transformer if name == "kontext" else pipe.unet
        seen: list[int] = []
        network.register_forward_pre_hook(
            lambda _, args, given, seen=seen: seen.append(len((*args, *given.values())[0])),
            with_kwargs=True,
        )
        one(edits(1), keys(1))
        assert sum(seen) == one.evaluations, name


def test_a_pipeline_that_cannot_edit_is_a_sentence(tmp_path: Path) -> None:
    tiny.build("sd15").save_pretrained(tmp_path)
    one = editor(tmp_path)
    with pytest.raises(ValueError, match="StableDiffusionPipeline is no editing pipeline that is"):
        one(edits(), keys())


def test_a_row_of_ones_own_serves_a_pipeline_that_has_none(
    folder: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder("pix2pix")
    expected = editor(path)(edits(), keys())
    mine = CALLS.pop("StableDiffusionInstructPix2PixPipeline")
    try:
        with pytest.raises(ValueError, match="known are StableDiffusionXLInstruct"):
            editor(path)(edits(), keys())
        call = Call("guidance_scale", 7.5, 9, "image_guidance_scale", 1.5)
        assert far(editor(path, call=call)(edits(), keys()), expected) == 0
    finally:
        CALLS["StableDiffusionInstructPix2PixPipeline"] = mine


def test_every_row_names_arguments_that_the_pipeline_has() -> None:
    import inspect

    for name, call in CALLS.items():
        kind = getattr(diffusers, name, None)
        if kind is None:
            continue  # an older diffusers
        known = set(inspect.signature(kind.__call__).parameters)
        needed = {"image", "prompt", "num_inference_steps", "generator", call.text}
        needed |= {call.picture} if call.picture else set()
        needed |= {"max_area", "_auto_resize"} if call.area else set()
        needed |= {"negative_prompt"} if call.negative else set()
        assert needed <= known, name


def test_pictures_are_alike_in_clips_space(tmp_path: Path) -> None:
    save_clip(tmp_path)
    alike = ClipSimilarity(str(tmp_path))
    a, b = (edit.image for edit in edits())
    same, other = alike([a, a], [a, b])
    assert same == pytest.approx(1.0, abs=1e-5)
    assert other < same
