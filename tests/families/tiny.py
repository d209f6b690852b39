"""Tiny random-weight pipelines of every family, text encoders included, built from config alone."""

from collections.abc import Callable
from typing import Any

import diffusers
import torch

from scoreward.models.diffusers import Loading, family_of
from tests.families import newer, pictures, video

TOKENS = 32  # of text
PIPELINES: dict[str, Callable[[], Any]] = {
    "sd15": pictures.sd15,
    "sd21": pictures.sd21,
    "sdxl": pictures.sdxl,
    "sd3": pictures.sd3,
    "flux_dev": pictures.flux_dev,
    "flux_schnell": pictures.flux_schnell,
    "flux_kontext": pictures.flux_kontext,
    "flux2_dev": newer.flux2_dev,
    "flux2_klein": newer.flux2_klein,
    "qwen_image": newer.qwen_image,
    "sana": newer.sana,
    "z_image": newer.z_image,
    "pixart": newer.pixart,
    "wan21": video.wan21,
    "wan22": video.wan22,
    "ltx": video.ltx,
    "hunyuan_video": video.hunyuan_video,
    "cogvideox": video.cogvideox,
}
FEW = ("sd15", "sd3", "flux_kontext", "qwen_image", "wan22", "cogvideox")
"""What make test tries where it does not try all: every kind of process, editing and video."""

CLASSES = {
    "sd15": "StableDiffusionPipeline",
    "sd21": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "sd3": "StableDiffusion3Pipeline",
    "flux_dev": "FluxPipeline",
    "flux_schnell": "FluxPipeline",
    "flux_kontext": "FluxKontextPipeline",
    "flux2_dev": "Flux2Pipeline",
    "flux2_klein": "Flux2KleinPipeline",
    "qwen_image": "QwenImagePipeline",
    "sana": "SanaPipeline",
    "z_image": "ZImagePipeline",
    "pixart": "PixArtSigmaPipeline",
    "wan21": "WanPipeline",
    "wan22": "WanPipeline",
    "ltx": "LTXPipeline",
    "hunyuan_video": "HunyuanVideoPipeline",
    "cogvideox": "CogVideoXPipeline",
}
"""The class in diffusers of each."""

SIZES: dict[str, dict[str, int]] = {
    "sd15": {"height": 32, "width": 48},
    "sdxl": {"height": 32, "width": 48},
    "wan21": {"height": 32, "width": 48, "frames": 9},
    "sana": {"height": 32, "width": 64},
    "ltx": {"height": 32, "width": 64, "frames": 9},
    "hunyuan_video": {"height": 32, "width": 48, "frames": 9},
    "cogvideox": {"height": 32, "width": 32, "frames": 9},
}
"""Where a family needs another than 32 x 48 pixels."""


def size_of(name: str) -> dict[str, int]:
    """Height, width and, for video, frames to test with."""
    if name == "wan22":
        return SIZES["wan21"]
    return SIZES.get(name, {"height": 32, "width": 48})


def tokens_of(name: str) -> int:
    """Of text.  Qwen-Image's template alone has 300 letters; prompts must differ in length."""
    return 512 if name == "qwen_image" else TOKENS


def loading(name: str, **more: Any) -> Loading:
    """Small sizes and adapters."""
    settings: dict[str, Any] = {"rank": 2, "alpha": 4.0, "tokens": tokens_of(name), **size_of(name)}
    return Loading(**settings | more)


def lacking(name: str) -> str | None:
    """Why the installed diffusers cannot have a pipeline, in a sentence; None if it can."""
    found, since = diffusers.__version__, family_of(CLASSES[name]).since
    kind = getattr(diffusers, CLASSES[name], None)
    if kind is None:
        return f"diffusers {found} has no {CLASSES[name]}"
    if tuple(int(piece) for piece in found.split(".")[:2]) < since:
        return f"the adapter of {CLASSES[name]} needs diffusers {since[0]}.{since[1]}, not {found}"
    return None


def build(name: str) -> Any:
    """A pipeline, the same each time, quiet."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        pipe = PIPELINES[name]()
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            part.eval().requires_grad_(False)
    pipe.set_progress_bar_config(disable=True)
    return pipe
