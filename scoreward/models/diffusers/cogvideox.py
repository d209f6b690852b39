"""CogVideoX."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from scoreward.models.diffusers.family import (
    Family,
    Network,
    Size,
    Upstream,
    divided,
    said,
    sides,
    table_step,
)
from scoreward.models.diffusers.text import Text


class CogVideoX(Family):
    """Predicts v on a table whose last step is pure noise.  Our latents have channels first."""

    pipelines: ClassVar = ("CogVideoXPipeline",)
    tokens: ClassVar = 226
    table: ClassVar = True

    def size(self, pipe: Upstream) -> Size:
        setting, scale = pipe.transformer.config, pipe.vae_scale_factor_spatial
        frames = setting.sample_frames
        return Size(setting.sample_height * scale, setting.sample_width * scale, frames)

    def shape(self, pipe: Upstream, size: Size) -> tuple[int, ...]:
        setting = pipe.transformer.config
        space, time = pipe.vae_scale_factor_spatial, pipe.vae_scale_factor_temporal
        frames = (size.frames - 1) // time + 1
        if setting.patch_size_t is not None:
            divided(frames, setting.patch_size_t, "latent frames")
        return (setting.in_channels, frames, *sides(size, space, setting.patch_size))

    def text(self, pipe: Upstream, prompts: Sequence[str], tokens: int) -> Text:
        states, _ = said(pipe, prompts, tokens)
        return Text(states)

    def call(self, network: Network, x_t: Tensor, t: Tensor, cond: Text) -> Tensor:
        answer = network.main(
            hidden_states=x_t.transpose(1, 2),
            encoder_hidden_states=cond.states,
            timestep=table_step(t, network.steps),
            image_rotary_emb=self._rotary(network, x_t),
            return_dict=False,
        )[0]
        return answer.transpose(1, 2)

    def _rotary(self, network: Network, x_t: Tensor) -> tuple[Tensor, Tensor] | None:
        """The pipeline's own rotary table for this size of latents."""
        from diffusers import CogVideoXPipeline

        setting = network.main.config
        if not setting.use_rotary_positional_embeddings:
            return None

        class Borrowed:  # what that method reads of its pipeline
            vae_scale_factor_spatial = 1
            transformer = network.main

        frames, height, width = x_t.shape[2:]
        method = CogVideoXPipeline._prepare_rotary_positional_embeddings
        return method(Borrowed(), height, width, frames, x_t.device)  # pyright: ignore
