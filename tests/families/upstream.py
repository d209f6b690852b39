"""The upstream pipelines as the reference: their own pictures, and what they asked on the way."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.data.prompts import Instruction
from tests.families.tiny import size_of, tokens_of

PROMPTS = ["a red fox", "two blue birds on a wire"]
BINNED = ("pixart", "sana")
NO_TOKENS = ("sd15", "sd21", "sdxl")


@dataclass
class Recorded:
    """The calls of a scheduler: what the network answered, at which timestep, of which latents."""

    answers: list[Tensor] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)


def record(pipe: Any) -> Recorded:
    """Listen to the scheduler of a pipeline."""
    kept, step = Recorded(), pipe.scheduler.step

    def listening(answer: Tensor, t: Any, sample: Tensor, *rest: Any, **named: Any) -> Any:
        kept.answers.append(answer.clone())
        kept.times.append(float(t))
        kept.states.append(sample.clone())
        return step(answer, t, sample, *rest, **named)

    pipe.scheduler.step = listening
    return kept


def noise(shape: tuple[int, ...], count: int = len(PROMPTS)) -> Tensor:
    """Starting noise of our shape."""
    return torch.stack([(Key(("families",)) / i).normal(*shape) for i in range(count)]).float()


def to_upstream(name: str, pipe: Any, z: Tensor) -> Tensor:
    """Our latents as that pipeline lays them out while it samples."""
    if name.startswith(("flux_", "qwen")):
        return pipe._pack_latents(z, len(z), *z.shape[1:])
    if name.startswith("flux2"):
        return pipe._pack_latents(z)
    if name == "ltx":
        return pipe._pack_latents(z)
    if name == "cogvideox":
        return z.transpose(1, 2)
    return z


def picture(folder: Path) -> Path:
    """A picture to edit."""
    path = folder / "picture.png"
    pixels = np.arange(32 * 48 * 3).reshape(32, 48, 3) % 251
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path


def prompts_of(name: str, folder: Path) -> list[str]:
    """Prompts, or instructions about a picture for the editor."""
    if name != "flux_kontext":
        return PROMPTS
    return [Instruction(p, picture(folder)) for p in PROMPTS]


def drawn(name: str, pipe: Any, z: Tensor, steps: int, scale: float, folder: Path) -> Tensor:
    """The pipeline's own pictures or videos in [0, 1], from our noise; `scale` is guidance."""
    size = size_of(name)
    given: dict[str, Any] = {"height": size["height"], "width": size["width"]}
    if "frames" in size:
        given["num_frames"] = size["frames"]
    latents = z if name.startswith("flux2") else to_upstream(name, pipe, z)
    given |= {"num_inference_steps": steps, "latents": latents.clone(), "output_type": "pt"}
    if name not in NO_TOKENS:
        given["max_sequence_length"] = tokens_of(name)
    if name in BINNED:
        given["use_resolution_binning"] = False
    given |= guidance(name, scale)
    if name == "flux_kontext":
        given |= {"image": Image.open(picture(folder)), "max_area": 32 * 48, "_auto_resize": False}
        given["image"] = [given["image"]] * len(PROMPTS)
    with torch.no_grad():
        answer = pipe(prompt=list(PROMPTS), **given)
    media = answer.images if hasattr(answer, "images") else answer.frames
    return media.transpose(1, 2) if media.ndim == 5 else media


def guidance(name: str, scale: float) -> dict[str, Any]:
    """Guidance of our convention, in which 1 is none, in the pipeline's own words."""
    if name.startswith("flux_") or name == "hunyuan_video":
        if scale == 1:
            return {}
        return {"true_cfg_scale": scale, "negative_prompt": [""] * len(PROMPTS)}
    if name == "qwen_image":
        return {"true_cfg_scale": scale}
    if name == "flux2_dev":
        return {}
    if name == "z_image":
        return {"guidance_scale": scale - 1}
    return {"guidance_scale": scale}
