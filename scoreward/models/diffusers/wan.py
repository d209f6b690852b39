"""Wan 2.1 and 2.2: text to video."""

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
    latent_frames,
    normalised,
    said,
    sides,
)
from scoreward.models.diffusers.text import Text


class Wan(Family):
    """A flow over latent frames.  Wan 2.2 has a second network for low noise (`boundary`)."""

    pipelines: ClassVar = ("WanPipeline",)
    parts: ClassVar = ("transformer", "transformer_2")
    tokens: ClassVar = 512
    since: ClassVar = (0, 35)  # before, the second network was left out without an error

    def size(self, pipe: Upstream) -> Size:
        return Size(480, 832, 81)

    def shape(self, pipe: Upstream, size: Size) -> tuple[int, ...]:
        setting = pipe.transformer.config
        space, time = pipe.vae_scale_factor_spatial, pipe.vae_scale_factor_temporal
        frames = latent_frames(size.frames, time)
        return (setting.in_channels, frames, *sides(size, space, *setting.patch_size[1:]))

    def text(self, pipe: Upstream, prompts: Sequence[str], tokens: int) -> Text:
        try:
            states, _ = said(pipe, prompts, tokens)
        except NameError as error:  # diffusers 0.36 and older use it without asking
            if error.name != "ftfy":
                raise
            raise ImportError(
                "the Wan pipeline of this diffusers cannot read prompts without ftfy; install it "
                "with: pip install ftfy"
            ) from error
        return Text(states)

    def adjust(self, network: Network, pipe: Upstream) -> Network:
        network.boundary = pipe.config.boundary_ratio or 0.0
        network.per_token = bool(pipe.config.expand_timesteps)
        return network

    def call(self, network: Network, x_t: Tensor, t: Tensor, cond: Text) -> Tensor:
        late = t < network.boundary
        if len(network.parts) == 1 or not bool(late.any()):
            return self._ask(network, "transformer", x_t, t, cond)
        if bool(late.all()):
            return self._ask(network, "transformer_2", x_t, t, cond)
        order, answers = [], []  # joined, not written into x_t's like: autocast answers in bf16
        for part, rows in (("transformer", ~late), ("transformer_2", late)):
            answers.append(self._ask(network, part, x_t[rows], t[rows], cond[rows]))
            order.append(rows.nonzero()[:, 0])
        return torch.cat(answers)[torch.cat(order).argsort()]

    def _ask(self, network: Network, part: str, x_t: Tensor, t: Tensor, cond: Text) -> Tensor:
        times = t * 1000
        if network.per_token:  # one time per token of the sequence; Wan 2.2 5B
            times = times[:, None].expand(-1, x_t[0, 0, :, ::2, ::2].numel())
        return network.parts[part](
            hidden_states=x_t,
            timestep=times,
            encoder_hidden_states=cond.states,
            return_dict=False,
        )[0]

    def decode(self, pipe: Upstream, x0: Tensor) -> Tensor:
        return decoded(pipe.vae, denormalised(pipe.vae, x0))

    def latents(self, pipe: Upstream, media: Tensor) -> Tensor:
        return normalised(pipe.vae, encoded(pipe.vae, media))
