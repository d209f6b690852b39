"""Which adapter speaks for which diffusers pipeline."""

from importlib.metadata import version
from typing import Any

from scoreward.models.diffusers.cogvideox import CogVideoX
from scoreward.models.diffusers.family import Family
from scoreward.models.diffusers.flux import Flux, FluxKontext
from scoreward.models.diffusers.flux2 import Flux2
from scoreward.models.diffusers.hunyuan_video import HunyuanVideo
from scoreward.models.diffusers.ltx import LTXVideo
from scoreward.models.diffusers.pixart import PixArt
from scoreward.models.diffusers.qwen_image import QwenImage
from scoreward.models.diffusers.sana import Sana
from scoreward.models.diffusers.sd3 import StableDiffusion3
from scoreward.models.diffusers.stable_diffusion import StableDiffusion, StableDiffusionXL
from scoreward.models.diffusers.versions import quietly
from scoreward.models.diffusers.wan import Wan
from scoreward.models.diffusers.z_image import ZImage

FAMILIES: tuple[type[Family], ...] = (
    StableDiffusion,
    StableDiffusionXL,
    StableDiffusion3,
    Flux,
    FluxKontext,
    Flux2,
    QwenImage,
    Sana,
    ZImage,
    PixArt,
    Wan,
    LTXVideo,
    HunyuanVideo,
    CogVideoX,
)


class UnsupportedPipeline(ValueError):
    """A model for which there is no adapter; the sentence says what is missing."""


def family_of(name: str) -> Family:
    """The adapter of a pipeline class, by its name.  Raises UnsupportedPipeline."""
    for family in FAMILIES:
        if name in family.pipelines:
            return family()
    known = ", ".join(n for family in FAMILIES for n in family.pipelines)
    raise UnsupportedPipeline(
        f"there is no adapter for {name}; there are for {known}. What is missing is how its text "
        "encoders are called (`text`), how its network is called at our time (`call`), the shape "
        "of its latents (`shape`) and its usual size (`size`): "
        "docs/adapters.md shows how to write these in 60 lines and pass them to `load`"
    )


def pipeline_class(name: str) -> Any:
    """The class in the installed diffusers.  Raises UnsupportedPipeline where there is none."""
    import diffusers

    try:
        with quietly():
            found = getattr(diffusers, name, None)
    except RuntimeError as error:  # it is imported now, and with it its text encoders
        reason = str(error).strip().splitlines()[-1]
        raise UnsupportedPipeline(
            f"diffusers {diffusers.__version__} cannot import {name} with transformers "
            f"{version('transformers')} ({reason}); docs/compatibility.md lists versions that fit "
            "together; mostly this is enough: pip install -U transformers"
        ) from error
    if found is None:
        raise UnsupportedPipeline(
            f"diffusers {diffusers.__version__} has no {name}; install a newer one with: "
            "pip install -U diffusers"
        )
    return found
