"""The pages about one's own models are followed word by word."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from scoreward.core.chain import Sampler, draw
from scoreward.core.denoiser import Guided
from scoreward.core.kernel import ddim
from scoreward.core.keys import Key
from scoreward.models.diffusers import Family, Loading, UnsupportedPipeline, load
from tests.families import upstream
from tests.families.coders import flow, vae
from tests.families.encoders import tokenizer, umt5
from tests.structure.source import ROOT

BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str) -> list[tuple[str, str]]:
    return BLOCK.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.long
def test_bring_your_own_is_followed_literally(saved: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "my-model").symlink_to(saved("sd3"))
    scoreward = tmp_path / "scoreward"
    scoreward.write_text(f'#!/bin/sh\nexec {sys.executable} -m scoreward "$@"\n')
    scoreward.chmod(0o755)
    settings = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    said = []
    for kind, block in blocks("bring_your_own.md"):
        if kind == "python":
            name = block.splitlines()[0].removeprefix("# ")
            (tmp_path / name).write_text(block)
            continue
        done = subprocess.run(
            ["sh", "-e", "-c", block], cwd=tmp_path, env=settings, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        said.append(done.stdout)
    assert "network evaluations" in " ".join(said[1].split())
    assert (tmp_path / "my-run" / "report.html").is_file()
    pipe: Any = diffusers.DiffusionPipeline.from_pretrained(tmp_path / "my-model")
    pipe.load_lora_weights(tmp_path / "my-lora")
    diffusers.DiffusionPipeline.from_pretrained(tmp_path / "my-pipeline")


def aura_flow(folder: Path) -> None:
    """A tiny pipeline of the class that docs/adapters.md writes an adapter for."""
    kinds: Any = diffusers
    torch.manual_seed(3)
    network = kinds.AuraFlowTransformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        num_mmdit_layers=1,
        num_single_dit_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=32,
        out_channels=4,
        pos_embed_max_size=256,
    )
    pipe = kinds.AuraFlowPipeline(
        tokenizer=tokenizer(256),
        text_encoder=umt5(),
        vae=vae(),
        transformer=network,
        scheduler=flow(1.73),
    )
    pipe.save_pretrained(folder)


def test_the_adapter_on_the_page_draws_as_upstream(tmp_path: Path) -> None:
    aura_flow(tmp_path)
    with pytest.raises(UnsupportedPipeline, match="no adapter for AuraFlowPipeline"):
        load(tmp_path)
    space: dict[str, Any] = {}
    code = "".join(block for kind, block in blocks("adapters.md") if kind == "python")
    assert code.count("\n") <= 60
    exec(code, space)
    family: Family = space["AuraFlow"]()
    loading = Loading(height=32, width=48, rank=2, alpha=4.0, tokens=32)
    model = load(tmp_path, loading, family)
    z, times = upstream.noise(model.shape), model.grid(4)
    sampler = Sampler(times, (ddim(),) * (len(times) - 1))
    keys = [Key((i,)) for i in range(len(z))]
    pipe: Any = diffusers.DiffusionPipeline.from_pretrained(tmp_path)
    pipe.set_progress_bar_config(disable=True)
    for scale in (1.0, 3.0):
        denoiser = Guided(model.denoiser, scale, model.null) if scale > 1 else model.denoiser
        with torch.no_grad():
            x0 = draw(sampler, denoiser, z, keys, model.encode(upstream.PROMPTS))
            ours = model.decode(x0)
        given = {"height": 32, "width": 48, "num_inference_steps": 4, "output_type": "pt"}
        theirs = pipe(
            prompt=list(upstream.PROMPTS),
            latents=z.clone(),
            guidance_scale=scale,
            max_sequence_length=32,
            **given,
        ).images
        assert (ours - theirs).abs().max() < 3e-4
        assert ours.std() > 0.003
