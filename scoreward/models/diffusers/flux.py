"""FLUX.1 dev and schnell, and Kontext, which edits a picture."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import torch
from jaxtyping import Int
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
from scoreward.models.diffusers.text import Extent, Text


class Flux(Family):
    """FLUX.1: dev takes its guidance as an input, schnell takes none."""

    pipelines: ClassVar = ("FluxPipeline",)
    folded: ClassVar = 4
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
        if cond.image is not None and cond.extent is not None:
            if len(cond.extent.known) > 1:  # of one shape at a time: no row waits for another's
                return self._each_shape(network, x_t, t, cond, cond.extent.sides)
            ((h, w),) = cond.extent.known
            sequence = torch.cat([sequence, cond.image[:, : h * w]], 1)
            where = torch.cat([where, places(h, w, 1, x_t)])
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

    def _each_shape(
        self, network: Network, x_t: Tensor, t: Tensor, cond: Text, sides: Int[Tensor, "batch 2"]
    ) -> Tensor:
        """Rows with pictures to edit of one shape together, in the order they came."""
        rows: dict[tuple[int, int], list[int]] = {}
        for row, (h, w) in enumerate(sides.tolist()):
            rows.setdefault((h, w), []).append(row)
        at = [torch.tensor(some, device=x_t.device) for some in rows.values()]
        asked = [
            replace(cond[i], extent=Extent(sides[i], frozenset([shape])))
            for i, shape in zip(at, rows, strict=True)
        ]
        found = [self.call(network, x_t[i], t[i], c) for i, c in zip(at, asked, strict=True)]
        return torch.cat(found)[torch.cat(at).argsort()]


class FluxKontext(Flux):
    """The editor: prompts are `Instruction`s, and the picture's latents are more tokens."""

    pipelines: ClassVar = ("FluxKontextPipeline",)
    edits: ClassVar = True

    def reference(self, pipe: Upstream, z: Tensor) -> Tensor:
        return packed(z)

    def token(self, pipe: Upstream) -> int:
        return 2 * image_scale(pipe)
