"""LTX-Video."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from scoreward.models.diffusers.family import (
    Family,
    Network,
    Size,
    Upstream,
    encoded,
    latent_frames,
    said,
    sides,
)
from scoreward.models.diffusers.text import Text

RATE = 25  # frames a second, the pipeline's default


class LTXVideo(Family):
    """A flow over tokens of a strongly compressed video.  Decoded at time 0 where that is asked."""

    pipelines: ClassVar = ("LTXPipeline",)
    tokens: ClassVar = 128
    even: ClassVar = True
    patch: ClassVar = 1

    def size(self, pipe: Upstream) -> Size:
        return Size(512, 704, 161)

    def shape(self, pipe: Upstream, size: Size) -> tuple[int, ...]:
        space, time = pipe.vae_spatial_compression_ratio, pipe.vae_temporal_compression_ratio
        frames = latent_frames(size.frames, time)
        return (pipe.transformer.config.in_channels, frames, *sides(size, space))

    def text(self, pipe: Upstream, prompts: Sequence[str], tokens: int) -> Text:
        states, mask, *_ = said(pipe, prompts, tokens)
        return Text(states, mask=mask.long())

    def call(self, network: Network, x_t: Tensor, t: Tensor, cond: Text) -> Tensor:
        frames, height, width = x_t.shape[2:]
        pixels = network.size.height // height
        time = 1 if frames == 1 else (network.size.frames - 1) // (frames - 1)
        answer = network.main(
            hidden_states=x_t.flatten(2).transpose(1, 2),
            encoder_hidden_states=cond.states,
            timestep=t * 1000,
            encoder_attention_mask=cond.mask,
            num_frames=frames,
            height=height,
            width=width,
            rope_interpolation_scale=(time / RATE, pixels, pixels),
            return_dict=False,
        )[0]
        return answer.transpose(1, 2).unflatten(2, (frames, height, width))

    def decode(self, pipe: Upstream, x0: Tensor) -> Tensor:
        vae = pipe.vae
        mean, std = (v.view(1, -1, 1, 1, 1).to(x0) for v in (vae.latents_mean, vae.latents_std))
        z = (x0 * std / vae.config.scaling_factor + mean).to(vae.dtype)
        time = z.new_zeros(len(z)) if vae.config.timestep_conditioning else None
        return vae.decode(z, time, return_dict=False)[0]

    def latents(self, pipe: Upstream, media: Tensor) -> Tensor:
        vae, z = pipe.vae, encoded(pipe.vae, media)
        mean, std = (v.view(1, -1, 1, 1, 1).to(z) for v in (vae.latents_mean, vae.latents_std))
        return (z - mean) * vae.config.scaling_factor / std
