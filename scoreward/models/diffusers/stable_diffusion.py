"""Stable Diffusion 1.x, 2.x and SDXL: U-Nets that predict ε or v on a table of ᾱ."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from scoreward.models.diffusers.family import (
    Family,
    Network,
    Size,
    Upstream,
    decoded,
    denormalised,
    encoded,
    image_scale,
    normalised,
    sides,
    table_step,
)
from scoreward.models.diffusers.text import Text


class StableDiffusion(Family):
    """SD 1.x and 2.x."""

    pipelines: ClassVar = ("StableDiffusionPipeline",)
    parts: ClassVar = ("unet",)
    table: ClassVar = True

    def size(self, pipe: Upstream) -> Size:
        side = pipe.unet.config.sample_size * image_scale(pipe)
        return Size(side, side)

    def shape(self, pipe: Upstream, size: Size) -> tuple[int, ...]:
        setting = pipe.unet.config  # the U-Net halves its input between blocks
        least = 2 ** (len(setting.block_out_channels) - 1)
        return (setting.in_channels, *sides(size, image_scale(pipe), least))

    def text(self, pipe: Upstream, prompts: Sequence[str], tokens: int) -> Text:
        states, _ = pipe.encode_prompt(list(prompts), pipe.text_encoder.device, 1, False)
        return Text(states)

    def call(self, network: Network, x_t: Tensor, t: Tensor, cond: Text) -> Tensor:
        return network.main(x_t, table_step(t, network.steps), cond.states, return_dict=False)[0]


class StableDiffusionXL(StableDiffusion):
    """SDXL: two text encoders, a pooled vector, and the picture's size as an input."""

    pipelines: ClassVar = ("StableDiffusionXLPipeline",)

    def text(self, pipe: Upstream, prompts: Sequence[str], tokens: int) -> Text:
        device = pipe.text_encoder_2.device
        states, _, pooled, _ = pipe.encode_prompt(
            list(prompts), device=device, do_classifier_free_guidance=False
        )
        return Text(states, pooled)

    def nothing(self, pipe: Upstream, tokens: int) -> Text:
        empty = self.text(pipe, [""], tokens)
        if not pipe.config.force_zeros_for_empty_prompt or empty.pooled is None:
            return empty
        return Text(torch.zeros_like(empty.states), torch.zeros_like(empty.pooled))

    def call(self, network: Network, x_t: Tensor, t: Tensor, cond: Text) -> Tensor:
        size = network.size
        of_picture = [size.height, size.width, 0, 0, size.height, size.width]
        ids = torch.stack([x_t.new_full((len(x_t),), number) for number in of_picture], 1)
        added = {"text_embeds": cond.pooled, "time_ids": ids}
        answer = network.main(
            x_t,
            table_step(t, network.steps),
            cond.states,
            added_cond_kwargs=added,
            return_dict=False,
        )
        return answer[0]

    def decode(self, pipe: Upstream, x0: Tensor) -> Tensor:
        if pipe.vae.config.get("latents_mean") is None:
            return super().decode(pipe, x0)
        z = denormalised(pipe.vae, x0 / pipe.vae.config.scaling_factor)
        return decoded(pipe.vae, z)

    def latents(self, pipe: Upstream, media: Tensor) -> Tensor:
        if pipe.vae.config.get("latents_mean") is None:
            return super().latents(pipe, media)
        return normalised(pipe.vae, encoded(pipe.vae, media)) * pipe.vae.config.scaling_factor
