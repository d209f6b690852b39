"""Qwen-Image."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from scoreward.models.diffusers.family import (
    JOINT,
    Family,
    Network,
    Size,
    Upstream,
    decoded,
    denormalised,
    encoded,
    normalised,
    packed,
    sides,
    unpacked,
)
from scoreward.models.diffusers.text import Text, padded


class QwenImage(Family):
    """Packed latents of a video VAE with one frame.  Guidance here is plain, not rescaled."""

    pipelines: ClassVar = ("QwenImagePipeline",)
    folded: ClassVar = 4
    targets: ClassVar = JOINT
    tokens: ClassVar = 512
    even: ClassVar = True
    patch: ClassVar = 2
    since: ClassVar = (0, 37)  # before, an answer depends on the padding of its batch

    def size(self, pipe: Upstream) -> Size:
        side = pipe.default_sample_size * pipe.vae_scale_factor
        return Size(side, side)

    def shape(self, pipe: Upstream, size: Size) -> tuple[int, ...]:
        return (pipe.transformer.config.in_channels // 4, *sides(size, pipe.vae_scale_factor, 2))

    def text(self, pipe: Upstream, prompts: Sequence[str], tokens: int) -> Text:
        device, rows = pipe.text_encoder.device, []
        for prompt in prompts:  # one by one: then no row is padded, and no mask is left out
            states, _ = pipe.encode_prompt([prompt], device, max_sequence_length=tokens)
            rows.append(states[0])
        return padded(rows, tokens)

    def call(self, network: Network, x_t: Tensor, t: Tensor, cond: Text) -> Tensor:
        height, width = x_t.shape[-2:]
        text = cond.shortened()
        mask = text.mask
        if mask is not None and bool(mask.all()):
            mask = None
        answer = network.main(
            hidden_states=packed(x_t),
            timestep=t.to(x_t.dtype),
            encoder_hidden_states=text.states,
            encoder_hidden_states_mask=mask,
            img_shapes=[[(1, height // 2, width // 2)]] * len(x_t),
            return_dict=False,
        )[0]
        return unpacked(answer, height, width)

    def decode(self, pipe: Upstream, x0: Tensor) -> Tensor:
        return decoded(pipe.vae, denormalised(pipe.vae, x0[:, :, None]))[:, :, 0]

    def latents(self, pipe: Upstream, media: Tensor) -> Tensor:
        return normalised(pipe.vae, encoded(pipe.vae, media[:, :, None]))[:, :, 0]
