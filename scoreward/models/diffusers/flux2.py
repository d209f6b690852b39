"""FLUX.2 dev and klein."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.models.diffusers.family import (
    JOINT,
    Family,
    Network,
    Size,
    Upstream,
    decoded,
    encoded,
    image_scale,
    packed,
    sides,
    unpacked,
)
from scoreward.models.diffusers.text import Text

QKV = ("to_qkv_mlp_proj",)  # of the blocks that are both attention and feed-forward


class Flux2(Family):
    """Latents are patches of the VAE's, normalised by running statistics."""

    pipelines: ClassVar = ("Flux2Pipeline", "Flux2KleinPipeline")
    folded: ClassVar = 4
    targets: ClassVar = (*JOINT, *QKV)
    tokens: ClassVar = 512
    even: ClassVar = True
    since: ClassVar = (0, 37)  # before, a network did not say whether it takes its guidance

    def guidance(self, pipe: Upstream) -> float | None:
        return 4.0 if pipe.transformer.config.guidance_embeds else None

    def size(self, pipe: Upstream) -> Size:
        side = pipe.default_sample_size * image_scale(pipe)
        return Size(side, side)

    def shape(self, pipe: Upstream, size: Size) -> tuple[int, ...]:
        return (pipe.transformer.config.in_channels, *sides(size, 2 * image_scale(pipe)))

    def shift(self, pipe: Upstream, steps: int, size: Size) -> float:
        _, height, width = self.shape(pipe, size)
        return empirical_mu(height * width, steps)

    def text(self, pipe: Upstream, prompts: Sequence[str], tokens: int) -> Text:
        device = pipe.text_encoder.device
        states, _ = pipe.encode_prompt(list(prompts), device, max_sequence_length=tokens)
        return Text(states)

    def call(self, network: Network, x_t: Tensor, t: Tensor, cond: Text) -> Tensor:
        batch, _, height, width = x_t.shape
        tokens = cond.states.shape[1]
        answer = network.main(
            hidden_states=x_t.flatten(2).transpose(1, 2),
            timestep=t.to(x_t.dtype),
            guidance=network.embedded_guidance(t),
            encoder_hidden_states=cond.states,
            txt_ids=four(1, 1, tokens, x_t).expand(batch, -1, -1),
            img_ids=four(height, width, 1, x_t).expand(batch, -1, -1),
            return_dict=False,
        )[0]
        return answer.transpose(1, 2).unflatten(2, (height, width))

    def decode(self, pipe: Upstream, x0: Tensor) -> Tensor:
        mean, std = statistics(pipe.vae, x0)
        return decoded(pipe.vae, unpatched(x0 * std + mean))

    def latents(self, pipe: Upstream, media: Tensor) -> Tensor:
        patches = patched(encoded(pipe.vae, media))
        mean, std = statistics(pipe.vae, patches)
        return (patches - mean) / std


def four(height: int, width: int, layers: int, like: Tensor) -> Float[Tensor, "1 tokens 4"]:
    """(time, row, column, place in the text) of each token."""
    ranges = [torch.arange(n) for n in (1, height, width, layers)]
    return torch.cartesian_prod(*ranges).to(like)[None]


def empirical_mu(tokens: int, steps: int) -> float:
    """The shift of FLUX.2's public code: a fit over the numbers of tokens and steps."""
    many = 0.00016927 * tokens + 0.45666666  # at 200 steps
    if tokens > 4300:
        return many
    few = 8.73809524e-05 * tokens + 1.89833333  # at 10 steps
    return many + (many - few) / 190 * (steps - 200)


def statistics(vae: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the VAE's batch normalisation, one per channel of a patch."""
    norm = vae.bn
    std = (norm.running_var + vae.config.batch_norm_eps).sqrt()
    return tuple(v.view(1, -1, 1, 1).to(like) for v in (norm.running_mean, std))  # pyright: ignore


def patched(z: Float[Tensor, "batch channels height width"]) -> Tensor:
    """2 × 2 pixels of a channel as four channels."""
    _, _, height, width = z.shape
    return packed(z).transpose(1, 2).unflatten(2, (height // 2, width // 2))


def unpatched(z: Float[Tensor, "batch channels height width"]) -> Tensor:
    """The inverse of `patched`."""
    _, _, height, width = z.shape
    return unpacked(z.flatten(2).transpose(1, 2), 2 * height, 2 * width)
