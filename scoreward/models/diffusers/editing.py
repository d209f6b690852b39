"""Editing pipelines of diffusers: a picture and an instruction in, the edited picture out.

InstructPix2Pix, a ControlNet that was trained to follow instructions, and the current editors
that take the picture as context. They differ in what their arguments are called; `CALLS` has a row
for each, and a pipeline without one needs a row of your own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image

from scoreward.core.device import chosen
from scoreward.data.pictures import rgb
from scoreward.models.diffusers.families import pipeline_class
from scoreward.models.diffusers.pretrained import DTYPES, class_name, found, index_of
from scoreward.models.diffusers.versions import check_diffusers, quietly


@dataclass(frozen=True)
class Call:
    """How a pipeline is asked: what its strengths are called, and what is usual for it."""

    text: str  # argument for the strength of the instruction
    guidance: float
    steps: int
    picture: str = ""  # argument for the strength of the picture
    image_guidance: float = 0.0
    passes: int = 1  # network evaluations of a step
    area: bool = False  # takes the number of pixels to draw at
    negative: str | None = None  # what to lead away from, where guidance needs it


CALLS: dict[str, Call] = {
    "StableDiffusionInstructPix2PixPipeline": Call(
        "guidance_scale", 7.5, 30, "image_guidance_scale", 1.5, passes=3
    ),
    "StableDiffusionXLInstructPix2PixPipeline": Call(
        "guidance_scale", 7.5, 30, "image_guidance_scale", 1.5, passes=3
    ),
    "StableDiffusionControlNetPipeline": Call(
        "guidance_scale", 7.5, 30, "controlnet_conditioning_scale", 1.0, passes=2
    ),
    "FluxKontextPipeline": Call("guidance_scale", 2.5, 28, area=True),
    "QwenImageEditPipeline": Call("true_cfg_scale", 4.0, 50, passes=2, negative=" "),
    "QwenImageEditPlusPipeline": Call("true_cfg_scale", 4.0, 40, passes=2, negative=" "),
}
"""Strengths and steps as in the pipelines' own examples; not tuned by us."""


@dataclass(frozen=True)
class Editing:
    """An editing pipeline and its settings; None is what is usual for the pipeline."""

    path: str  # a folder, or an identifier on the hub
    controlnet: str = ""  # a folder or identifier, for a text-to-image pipeline to edit with it
    guidance: float | None = None  # strength of the instruction
    image_guidance: float | None = None  # strength of the picture
    steps: int | None = None
    area: int | None = None  # pixels to draw at, where the pipeline can be told; default: its own
    dtype: Literal["float32", "bf16", "fp16"] = "float32"
    device: str = "auto"  # the accelerator if there is one
    call: Call | None = None  # for a pipeline that has no row in CALLS

    @property
    def evaluations(self) -> int:
        """Network evaluations of one edited picture."""
        call = self._call
        return call.steps * call.passes

    @property
    def name(self) -> str:
        call = self._call
        strengths = f"guidance {call.guidance}, of the picture {call.image_guidance}"
        with_ = f" with {self.controlnet}" if self.controlnet else ""
        return f"{self.path}{with_}, {call.steps} steps, {strengths}, {self.dtype}"

    def __call__(
        self,
        images: Sequence[Image.Image],
        instructions: Sequence[str],
        generators: Sequence[torch.Generator],
    ) -> list[Image.Image]:
        """One edited picture each, of the size of the given one.  Raises ImportError, ValueError.

        One at a time: not every pipeline takes several pictures, and the result then does not
        depend on how many are edited together.
        """
        rows = zip(images, instructions, generators, strict=True)
        return [self._one(*row) for row in rows]

    @torch.no_grad()
    def _one(self, image: Image.Image, told: str, generator: torch.Generator) -> Image.Image:
        call, image = self._call, rgb(image)
        given: dict[str, Any] = {
            "image": image,
            "prompt": told,
            call.text: call.guidance,
            "num_inference_steps": call.steps,
            "generator": generator,
        }
        if call.picture:
            given[call.picture] = call.image_guidance
        if call.negative is not None:
            given["negative_prompt"] = call.negative
        if call.area and self.area is not None:
            given |= {"max_area": self.area, "_auto_resize": False}
        edited = rgb(self._pipe(**given).images[0])
        if edited.size != image.size:
            edited = edited.resize(image.size, Image.Resampling.LANCZOS)
        return edited

    @cached_property
    def _folder(self) -> Path:
        check_diffusers()
        return found(self.path)

    @cached_property
    def _kind(self) -> str:
        return "StableDiffusionControlNetPipeline" if self.controlnet else class_name(self._folder)

    @cached_property
    def _call(self) -> Call:
        usual = self.call or CALLS.get(self._kind)
        if usual is None:
            raise ValueError(
                f"{self._kind} is no editing pipeline that is known here; known are "
                f"{', '.join(CALLS)}; say how it is asked with `call`"
            )
        wanted = {
            "guidance": self.guidance,
            "image_guidance": self.image_guidance,
            "steps": self.steps,
        }
        return replace(usual, **{k: v for k, v in wanted.items() if v is not None})

    @cached_property
    def _pipe(self) -> Any:
        import diffusers

        dtype = DTYPES[self.dtype]
        given: dict[str, Any] = {"torch_dtype": dtype}
        if "safety_checker" in index_of(self._folder):  # it would paint pictures black
            given["safety_checker"] = None
        with quietly():
            if self.controlnet:
                part = diffusers.ControlNetModel.from_pretrained(self.controlnet, torch_dtype=dtype)
                given["controlnet"] = part
            pipe = pipeline_class(self._kind).from_pretrained(self._folder, **given)
        pipe.set_progress_bar_config(disable=True)
        return pipe.to(chosen(self.device))
