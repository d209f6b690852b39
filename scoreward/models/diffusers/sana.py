"""Sana."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from scoreward.models.diffusers.family import (
    Family,
    Network,
    Size,
    Upstream,
    decoded,
    encoded,
    said,
    sides,
)
from scoreward.models.diffusers.text import Text

FLOOR = 1e-15  # under the normaliser of linear attention, diffusers


class ExactAttention:
    """Linear attention whose sums are float32, autocast or not: fp16 would overflow.  diffusers

    φ(q)ᵀ Σ φ(k) vᵀ / φ(q)ᵀ Σ φ(k) with φ = ReLU; diffusers' own casts to float32, which autocast
    undoes.
    """

    def __call__(self, attn: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
        def heads(x: Tensor) -> Tensor:
            return x.unflatten(2, (attn.heads, -1)).transpose(1, 2).float()

        query, key, value = (f(hidden_states) for f in (attn.to_q, attn.to_k, attn.to_v))
        query = query if attn.norm_q is None else attn.norm_q(query)
        key = key if attn.norm_k is None else attn.norm_k(key)
        with torch.autocast(hidden_states.device.type, enabled=False):
            query, key, value = heads(query).relu(), heads(key).relu(), heads(value)
            above = query @ (key.transpose(2, 3) @ value)
            below = query @ key.sum(2, keepdim=True).transpose(2, 3)
            answer = (above / (below + FLOOR)).transpose(1, 2).flatten(2)
        answer = attn.to_out[1](attn.to_out[0](answer.to(hidden_states.dtype)))
        most = torch.finfo(answer.dtype).max
        return answer.clip(-most, most)


class Sana(Family):
    """A flow in the latents of a deep-compression autoencoder, which has no randomness."""

    pipelines: ClassVar = ("SanaPipeline",)
    tokens: ClassVar = 300

    def size(self, pipe: Upstream) -> Size:
        side = pipe.transformer.config.sample_size * pipe.vae_scale_factor
        return Size(side, side)

    def shape(self, pipe: Upstream, size: Size) -> tuple[int, ...]:
        setting = pipe.transformer.config
        return (setting.in_channels, *sides(size, pipe.vae_scale_factor, setting.patch_size))

    def text(self, pipe: Upstream, prompts: Sequence[str], tokens: int) -> Text:
        # what the pipeline tells its language model to do with a prompt
        told = inspect.signature(type(pipe).__call__).parameters["complex_human_instruction"]
        return self._encoded(pipe, prompts, tokens, told.default)

    def away(self, pipe: Upstream, prompts: Sequence[str], tokens: int) -> Text:
        return self._encoded(pipe, prompts, tokens, None)  # the pipeline's, too, has no instruction

    def _encoded(
        self, pipe: Upstream, prompts: Sequence[str], tokens: int, instruction: list[str] | None
    ) -> Text:
        states, mask, *_ = said(pipe, prompts, tokens, complex_human_instruction=instruction)
        return Text(states, mask=mask.long())

    def adjust(self, network: Network, pipe: Upstream) -> Network:
        for block in network.main.transformer_blocks:
            block.attn1.set_processor(ExactAttention())
        return network

    def call(self, network: Network, x_t: Tensor, t: Tensor, cond: Text) -> Tensor:
        answer = network.main(
            x_t,
            encoder_hidden_states=cond.states,
            encoder_attention_mask=cond.mask,
            timestep=t * 1000 * network.main.config.timestep_scale,
            return_dict=False,
        )[0]
        return answer[:, : x_t.shape[1]]

    def decode(self, pipe: Upstream, x0: Tensor) -> Tensor:
        return decoded(pipe.vae, x0 / pipe.vae.config.scaling_factor)

    def latents(self, pipe: Upstream, media: Tensor) -> Tensor:
        return encoded(pipe.vae, media) * pipe.vae.config.scaling_factor
