"""What training leaves behind gives the same picture in plain diffusers."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from scoreward.core.chain import Sampler, draw
from scoreward.core.kernel import ddim
from scoreward.core.keys import Key
from scoreward.models.base import Model
from scoreward.models.diffusers import load
from scoreward.models.diffusers.export import ExportError
from tests.families import tiny, upstream
from tests.support.matrix import mostly_long

STEPS = 2
LOADABLE = [n for n in tiny.PIPELINES if n != "pixart"]


def changed(model: Model, amount: float = 0.3) -> dict[str, Tensor]:
    """The model with trained-looking weights, and those weights as a checkpoint has them."""
    weights = {n: p for n, p in model.network.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for i, (name, parameter) in enumerate(weights.items()):
            noise = (Key(("changed",)) / i).normal(*parameter.shape).float()
            if "lora" not in name:
                noise = 0.1 * parameter.std().nan_to_num(0) * noise
            parameter.add_(amount * noise)
    return {n: p.detach().clone() for n, p in weights.items()}


@torch.no_grad()
def ours(model: Model, z: Tensor, prompts: list[str]) -> Tensor:
    times = model.grid(STEPS)
    sampler = Sampler(times, (ddim(),) * (len(times) - 1))
    keys = [Key((i,)) for i in range(len(z))]
    return model.decode(draw(sampler, model.denoiser, z, keys, model.encode(prompts)))


def theirs(name: str, folder: Path, z: Tensor, adapters: Path | None, tmp_path: Path) -> Tensor:
    """The picture of plain diffusers."""
    pipe: Any = diffusers.DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    if adapters is not None:
        pipe.load_lora_weights(adapters)
        if name == "wan22":
            pipe.load_lora_weights(adapters / "transformer_2", load_into_transformer_2=True)
    return upstream.drawn(name, pipe, z, STEPS, 1.0, tmp_path)


@pytest.mark.parametrize("name", mostly_long(LOADABLE, tiny.FEW))
def test_adapters_are_read_by_load_lora_weights(
    name: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    model = load(saved(name), tiny.loading(name, alpha=3.0))
    z, prompts = upstream.noise(model.shape), upstream.prompts_of(name, tmp_path)
    before, weights = ours(model, z, prompts), changed(model)
    assert model.save is not None
    model.save(weights, tmp_path / "lora", False)
    after = ours(model, z, prompts)
    assert (after - before).abs().max() > 1e-3
    plain = theirs(name, saved(name), z, tmp_path / "lora", tmp_path)
    assert (plain - after).abs().max() < 3e-4


@pytest.mark.parametrize("name", mostly_long(tiny.PIPELINES, tiny.FEW))
def test_merged_adapters_are_a_whole_pipeline(
    name: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    model = load(saved(name), tiny.loading(name, alpha=3.0))
    weights, z = changed(model), upstream.noise(model.shape)
    assert model.save is not None
    model.save(weights, tmp_path / "whole", True)
    prompts = upstream.prompts_of(name, tmp_path)
    plain = theirs(name, tmp_path / "whole", z, None, tmp_path)
    assert (plain - ours(model, z, prompts)).abs().max() < 3e-4
    again = load(tmp_path / "whole", tiny.loading(name))
    assert (ours(again, z, prompts) - plain).abs().max() < 3e-4


@pytest.mark.parametrize("name", ["sd15", "sd3", "flux_dev", "wan22"])
def test_all_weights_are_a_whole_pipeline(
    name: str, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    model = load(saved(name), tiny.loading(name, lora=False))
    z = upstream.noise(model.shape)
    before, weights = ours(model, z, upstream.PROMPTS), changed(model)
    assert model.save is not None
    model.save(weights, tmp_path / "whole", False)
    after = ours(model, z, upstream.PROMPTS)
    assert (after - before).abs().max() > 1e-3
    plain = theirs(name, tmp_path / "whole", z, None, tmp_path)
    assert (plain - after).abs().max() < 3e-4


def kinds(folder: Path) -> dict[str, torch.dtype]:
    tensors = {}
    for file in folder.glob("*.safetensors"):
        tensors |= load_file(file)
    return {name: tensor.dtype for name, tensor in tensors.items()}


@pytest.mark.parametrize("lora", [True, False])
@pytest.mark.parametrize("name", ["sd15", "flux_dev"])
def test_whole_pipelines_have_the_kind_of_number_that_came_in(
    name: str, lora: bool, saved: Callable[[str], Path], tmp_path: Path
) -> None:
    """A model of 16 bits was written in 32: twice the size."""
    part = "unet" if name == "sd15" else "transformer"
    folder = tmp_path / "half"
    pipe: Any = diffusers.DiffusionPipeline.from_pretrained(saved(name), torch_dtype=torch.bfloat16)
    pipe.save_pretrained(folder)
    model = load(folder, tiny.loading(name, lora=lora))
    assert model.save is not None
    model.save(changed(model), tmp_path / "whole", True)
    assert kinds(tmp_path / "whole" / part) == kinds(folder / part)
    assert set(kinds(folder / part).values()) == {torch.bfloat16}
    again = load(tmp_path / "whole", tiny.loading(name))
    z = upstream.noise(model.shape)
    prompts = upstream.prompts_of(name, tmp_path)
    assert (ours(again, z, prompts) - ours(model, z, prompts)).abs().max() < 0.05


def test_a_family_without_lora_files_says_so(saved: Callable[[str], Path], tmp_path: Path) -> None:
    model = load(saved("pixart"), tiny.loading("pixart"))
    assert model.save is not None
    with pytest.raises(ExportError, match=r"no LoRA files for PixArtSigmaPipeline.*--merged"):
        model.save(changed(model), tmp_path / "lora", False)
    assert not (tmp_path / "lora").exists()


def test_the_original_is_not_touched(saved: Callable[[str], Path], tmp_path: Path) -> None:
    folder = saved("sd3")
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    model = load(folder, tiny.loading("sd3"))
    assert model.save is not None
    model.save(changed(model), tmp_path / "whole", True)
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_weights_of_other_precisions_are_not_carried_along(
    saved: Callable[[str], Path], tmp_path: Path
) -> None:
    """A folder may hold fp16 files beside the others; they would be the old model."""
    folder = tmp_path / "with variants"
    shutil.copytree(saved("sd3"), folder)
    one = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    shutil.copyfile(one, one.with_name("diffusion_pytorch_model.fp16.safetensors"))
    model = load(folder, tiny.loading("sd3"))
    assert model.save is not None
    model.save(changed(model), tmp_path / "whole", True)
    names = {p.name for p in (tmp_path / "whole" / "transformer").iterdir()}
    assert names == {"config.json", one.name}
    assert (tmp_path / "whole" / "vae" / one.name).is_file()
