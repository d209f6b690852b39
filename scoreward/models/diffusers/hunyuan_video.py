"""HunyuanVideo."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from scoreward.models.diffusers.family import (
    JOINT,
    Family,
    Network,
    Size,
    Upstream,
    latent_frames,
    sides,
)
from scoreward.models.diffusers.text import Text


class HunyuanVideo(Family):
    """A flow distilled to take its guidance as an input."""

    pipelines: ClassVar = ("HunyuanVideoPipeline",)
    targets: ClassVar = JOINT
    tokens: ClassVar = 256
    even: ClassVar = True

    def guidance(self, pipe: Upstream) -> float | None:
        return 6.0 if pipe.transformer.config.guidance_embeds else None

    def size(self, pipe: Upstream) -> Size:
        return Size(720, 1280, 129)

    def shape(self, pipe: Upstream, size: Size) -> tuple[int, ...]:
        setting = pipe.transformer.config
        space, time = pipe.vae_scale_factor_spatial, pipe.vae_scale_factor_temporal
        frames = latent_frames(size.frames, time)
        return (setting.in_channels, frames, *sides(size, space, setting.patch_size))

    def text(self, pipe: Upstream, prompts: Sequence[str], tokens: int) -> Text:
        states, pooled, mask = pipe.encode_prompt(
            list(prompts), device=pipe.text_encoder.device, max_sequence_length=tokens
        )
        return Text(states, pooled, mask.long())

    def call(self, network: Network, x_t: Tensor, t: Tensor, cond: Text) -> Tensor:
        scale = network.embedded_guidance(t)
        return network.main(
            hidden_states=x_t,
            timestep=(t * 1000).to(x_t.dtype),
            encoder_hidden_states=cond.states,
            encoder_attention_mask=None if cond.mask is None else cond.mask.to(x_t.dtype),
            pooled_projections=cond.pooled,
            guidance=None if scale is None else (scale * 1000).to(x_t.dtype),
            return_dict=False,
        )[0]
