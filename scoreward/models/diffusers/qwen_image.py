"""Qwen-Image."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from scoreward.models.diffusers.family import (
    JOINT,
    Family,
    Network,
    Size,
    decoded,
    denormalised,
    divided,
    encoded,
    flow_grid,
    normalised,
    shift_of_tokens,
)
from scoreward.models.diffusers.packing import packed, unpacked
from scoreward.models.diffusers.text import Text, padded


class QwenImage(Family):
    """Packed latents of a video VAE with one frame.  Guidance here is plain, not rescaled."""

    pipelines: ClassVar = ("QwenImagePipeline",)
    targets: ClassVar = JOINT
    tokens: ClassVar = 512
    since: ClassVar = (0, 37)  # before, an answer depends on the padding of its batch

    def size(self, pipe: Any) -> Size:
        side = pipe.default_sample_size * pipe.vae_scale_factor
        return Size(side, side)

    def shape(self, pipe: Any, size: Size) -> tuple[int, ...]:
        least = 2 * pipe.vae_scale_factor
        height, width = divided(size.height, least, "heights"), divided(size.width, least, "widths")
        return (pipe.transformer.config.in_channels // 4, 2 * height, 2 * width)

    def grid(self, pipe: Any, steps: int, size: Size) -> tuple[float, ...]:
        _, height, width = self.shape(pipe, size)
        mu = shift_of_tokens(pipe.scheduler, height * width // 4)
        return flow_grid(pipe.scheduler, steps, mu, even=True)

    def text(self, pipe: Any, prompts: Sequence[str], tokens: int) -> Text:
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

    def decode(self, pipe: Any, x0: Tensor) -> Tensor:
        return decoded(pipe.vae, denormalised(pipe.vae, x0[:, :, None]))[:, :, 0]

    def latents(self, pipe: Any, media: Tensor) -> Tensor:
        return normalised(pipe.vae, encoded(pipe.vae, media[:, :, None]))[:, :, 0]
