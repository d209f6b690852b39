"""Every family predicts and draws as its upstream pipeline does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from scoreward.core.chain import Sampler, draw
from scoreward.core.denoiser import Denoiser, Guided, InPrecision
from scoreward.core.kernel import ddim
from scoreward.core.keys import Key
from scoreward.models.base import Model
from scoreward.models.diffusers import load
from tests.families import tiny, upstream
from tests.support.matrix import mostly_long

STEPS = 4  # divides 1000: for others CogVideoX's scheduler rounds a step and its time apart
GUIDED = [n for n in tiny.PIPELINES if n not in ("qwen_image", "flux2_dev", "flux_kontext")]
"""Qwen-Image rescales its guided answer, FLUX.2 dev has guidance as an input only."""


def both(name: str, folder: Path) -> tuple[Any, Model]:
    """The pipeline as diffusers loads it, and ours."""
    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    return pipe, load(folder, tiny.loading(name))


@torch.no_grad()
def ours(model: Model, denoiser: Denoiser, z: Tensor, prompts: list[str], steps: int) -> Tensor:
    """Media by our deterministic chain on the pipeline's grid."""
    times = model.grid(steps)
    sampler = Sampler(times, (ddim(),) * (len(times) - 1))
    keys = [Key((i,)) for i in range(len(z))]
    return model.decode(draw(sampler, denoiser, z, keys, model.encode(prompts)))


@pytest.mark.parametrize("name", tiny.PIPELINES)
def test_the_same_predictions_and_the_same_pictures(
    name: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    pipe, model = both(name, saved(name))
    heard, z = upstream.record(pipe), upstream.noise(model.shape)
    theirs = upstream.drawn(name, pipe, z, STEPS, 1.0, tmp_path)
    prompts = upstream.prompts_of(name, tmp_path)
    times, cond = model.grid(STEPS), model.encode(prompts)
    assert len(times) == len(heard.times) + 1
    x, scale = z, 0.0
    with torch.no_grad():
        for k, (answer, state) in enumerate(zip(heard.answers, heard.states, strict=True)):
            t = torch.full((len(z),), times[k])
            prediction = model.denoiser(x, t, cond)
            mine = upstream.to_upstream(name, pipe, prediction.as_(model.kind))
            assert mine.shape == answer.shape
            assert torch.allclose(upstream.to_upstream(name, pipe, x), state, atol=2e-4)
            assert torch.allclose(mine, answer, atol=2e-4), (k, (mine - answer).abs().max())
            scale = max(scale, float(answer.std()))
            s = torch.full((len(z),), times[k + 1])
            x = ddim()(prediction, s).mean
    assert scale > 0.01  # a network of zeros would agree with anything
    media = ours(model, model.denoiser, z, prompts, STEPS)
    assert media.shape == theirs.shape
    assert media.std() > 0.003
    assert (media - theirs).abs().max() < 2e-4


@pytest.mark.parametrize("name", mostly_long(GUIDED, [n for n in tiny.FEW if n in GUIDED]))
def test_the_same_pictures_with_guidance(
    name: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    """[cfg] (6)"""
    pipe, model = both(name, saved(name))
    z = upstream.noise(model.shape)
    theirs = upstream.drawn(name, pipe, z, STEPS, 3.0, tmp_path)
    plain = ours(model, model.denoiser, z, upstream.PROMPTS, STEPS)
    guided = ours(model, Guided(model.denoiser, 3.0, model.null), z, upstream.PROMPTS, STEPS)
    assert (guided - theirs).abs().max() < 3e-4
    assert (guided - plain).abs().max() > 2e-3


@pytest.mark.parametrize("name", tiny.PIPELINES)
def test_rows_at_any_times_are_answered_together_in_fewer_bits(
    name: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    """Also where two networks share the times: both answer in one batch, and each its rows."""
    model = load(saved(name), tiny.loading(name))
    cond = model.encode(upstream.prompts_of(name, tmp_path)[:1] * 4)
    x, t = (
        upstream.noise(model.shape)[:1].repeat(4, *[1] * len(model.shape)),
        torch.tensor([0.95, 0.1, 0.9, 0.2]),
    )
    with torch.no_grad():
        whole = model.denoiser(x, t, cond).as_(model.kind)
        coarse = InPrecision(model.denoiser, torch.bfloat16)(x, t, cond).as_(model.kind)
    assert coarse.dtype == torch.float32
    apart = (coarse - whole).flatten(1).norm(dim=1) / whole.flatten(1).norm(dim=1)
    assert float(apart.max()) < 0.1, apart
