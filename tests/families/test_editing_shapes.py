"""A picture to edit keeps its own shape, and rows with other shapes do not change each other."""

from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from torch import Tensor

from scoreward.core.denoiser import InPrecision
from scoreward.core.rows import join
from scoreward.data.prompts import Instruction
from scoreward.models.base import Model
from scoreward.models.diffusers import load
from scoreward.models.diffusers.prompts import Pictures, Prompts, own_shape
from scoreward.models.diffusers.text import Text
from tests.families import tiny, upstream

SHAPES = [(48, 32), (36, 36), (20, 64), (300, 290)]  # width and height; a run draws 48 x 32


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 6000))
def test_the_shape_fits_and_is_the_nearest(width: int, height: int, room: int) -> None:
    rows, columns = own_shape((width, height), room)
    assert 1 <= rows * columns <= room
    if room >= 1024 and 0.25 <= width / height <= 4:
        assert abs(log(columns / rows * height / width)) < 0.06
        assert rows * columns > 0.8 * room


def picture(folder: Path, size: tuple[int, int]) -> Path:
    path = folder / f"{size}.png"
    pixels = np.random.default_rng(size[0]).integers(0, 255, (size[1], size[0], 3))
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


@pytest.fixture
def model(saved: Callable[[str], Path]) -> Model:
    return load(saved("flux_kontext"), tiny.loading("flux_kontext"))


def seen(model: Model, cond: Text) -> Tensor:
    """What the network says of the same noise, one row a condition."""
    z = upstream.noise(model.shape, 1).expand(len(cond), *model.shape)
    with torch.no_grad():
        return model.denoiser(z, torch.full((len(cond),), 0.6), cond).x0


def test_rows_of_other_shapes_are_answered_as_if_alone(model: Model, tmp_path: Path) -> None:
    prompts = [Instruction("a red fox", picture(tmp_path, size)) for size in (*SHAPES, SHAPES[1])]
    together = model.encode(prompts)
    assert isinstance(together, Text)
    assert together.extent is not None
    assert together.extent.sides.tolist() == [[8, 12], [9, 9], [16, 5], [9, 9], [9, 9]]
    alone = torch.cat([seen(model, one) for one in together.split(1)])
    assert torch.allclose(seen(model, together), alone, atol=1e-5)
    assert not torch.allclose(alone[0], alone[1], atol=1e-4)
    assert torch.allclose(alone[1], alone[4], atol=1e-6)


def test_rows_that_were_encoded_apart_keep_their_shapes(model: Model, tmp_path: Path) -> None:
    """As guidance joins them, and as they are read from the disk in a later run."""
    prompts = [Instruction("a red fox", picture(tmp_path, size)) for size in SHAPES[:3]]
    apart = [cast(Text, model.encode([prompt])) for prompt in prompts]
    again = cast(Text, model.encode(prompts))
    alone = torch.cat([seen(model, one) for one in apart])
    assert torch.allclose(seen(model, join(apart)), alone, atol=1e-5)
    assert torch.allclose(seen(model, again), alone, atol=1e-5)
    assert torch.allclose(seen(model, join(apart)[torch.tensor([1])]), alone[1:2], atol=1e-5)


def test_other_shapes_are_answered_in_bf16_too(model: Model, tmp_path: Path) -> None:
    prompts = [Instruction("a red fox", picture(tmp_path, size)) for size in SHAPES[:3]]
    cond = cast(Text, model.encode(prompts))
    z = upstream.noise(model.shape, 1).expand(3, *model.shape)
    coarse, t = InPrecision(model.denoiser, torch.bfloat16), torch.full((3,), 0.6)
    with torch.no_grad():
        together = coarse(z, t, cond).x0
        parts = [coarse(z[i : i + 1], t[:1], cond[i : i + 1]).x0 for i in range(3)]
        exact = model.denoiser(z, t, cond).x0
    error = (torch.cat(parts) - together).abs().max()
    assert error < 0.02
    assert 1e-6 < (exact - together).abs().max() < 0.1


def test_the_network_is_asked_as_the_pipeline_asks_it(
    saved: Callable[[str], Path], model: Model, tmp_path: Path
) -> None:
    """A square picture, and a drawing that is wider than high."""
    import diffusers

    pipe: Any = diffusers.FluxKontextPipeline.from_pretrained(saved("flux_kontext"))
    pipe.set_progress_bar_config(disable=True)
    heard, z, path = (
        upstream.record(pipe),
        upstream.noise(model.shape, 1),
        picture(tmp_path, (36, 36)),
    )
    with torch.no_grad():
        pipe(
            Image.open(path),
            prompt="a red fox",
            height=32,
            width=48,
            num_inference_steps=2,
            latents=upstream.to_upstream("flux_kontext", pipe, z),
            max_sequence_length=tiny.tokens_of("flux_kontext"),
            max_area=32 * 48,
            _auto_resize=False,
        )
        cond = model.encode([Instruction("a red fox", path)])
        said = model.denoiser(z, torch.tensor([model.grid(2)[0]]), cond).as_(model.kind)
    mine = upstream.to_upstream("flux_kontext", pipe, said)
    assert torch.allclose(mine, heard.answers[0], atol=2e-4)


def test_a_circle_stays_round(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = Image.new("RGB", (600, 600), "white")
    ImageDraw.Draw(image).ellipse((150, 150, 450, 450), fill="black")
    image.save(tmp_path / "circle.png")
    shown: list[Tensor] = []
    latents = Pictures.latents
    monkeypatch.setattr(Pictures, "latents", lambda self, m: (shown.append(m), latents(self, m))[1])
    assert isinstance(model.encode, Prompts)
    model.encode([Instruction("a red fox", tmp_path / "circle.png")])
    dark = shown[0][0, 0] < 0.5
    assert dark.any(1).sum() == dark.any(0).sum() > 10
