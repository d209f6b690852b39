"""FLUX.1 dev and schnell, and Kontext, which edits a picture."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from scoreward.models.diffusers.family import (
    JOINT,
    Family,
    Network,
    Size,
    Upstream,
    image_scale,
    packed,
    places,
    sides,
    unpacked,
)
from scoreward.models.diffusers.text import Text


class Flux(Family):
    """FLUX.1: dev takes its guidance as an input, schnell takes none."""

    pipelines: ClassVar = ("FluxPipeline",)
    targets: ClassVar = JOINT
    tokens: ClassVar = 512  # of T5; 256 for schnell
    even: ClassVar = True
    patch: ClassVar = 2

    def guidance(self, pipe: Upstream) -> float | None:
        return 3.5 if pipe.transformer.config.guidance_embeds else None

    def size(self, pipe: Upstream) -> Size:
        side = pipe.default_sample_size * image_scale(pipe)
        return Size(side, side)

    def shape(self, pipe: Upstream, size: Size) -> tuple[int, ...]:
        return (pipe.transformer.config.in_channels // 4, *sides(size, image_scale(pipe), 2))

    def text(self, pipe: Upstream, prompts: Sequence[str], tokens: int) -> Text:
        states, pooled, _ = pipe.encode_prompt(
            list(prompts), None, device=pipe.text_encoder.device, max_sequence_length=tokens
        )
        return Text(states, pooled)

    def call(self, network: Network, x_t: Tensor, t: Tensor, cond: Text) -> Tensor:
        height, width = x_t.shape[-2:]
        sequence, where = packed(x_t), places(height // 2, width // 2, 0, x_t)
        if cond.image is not None:
            h, w = cond.image.shape[-2:]
            sequence = torch.cat([sequence, packed(cond.image)], 1)
            where = torch.cat([where, places(h // 2, w // 2, 1, x_t)])
        answer = network.main(
            hidden_states=sequence,
            timestep=t.to(x_t.dtype),
            guidance=network.embedded_guidance(t),
            pooled_projections=cond.pooled,
            encoder_hidden_states=cond.states,
            txt_ids=where.new_zeros(cond.states.shape[1], 3),
            img_ids=where,
            return_dict=False,
        )[0]
        return unpacked(answer[:, : height * width // 4], height, width)


class FluxKontext(Flux):
    """The editor: prompts are `Instruction`s, and the picture's latents are more tokens."""

    pipelines: ClassVar = ("FluxKontextPipeline",)
    edits: ClassVar = True
