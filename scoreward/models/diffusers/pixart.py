"""PixArt-α and PixArt-Σ."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from scoreward.models.diffusers.family import (
    Family,
    Network,
    Size,
    Upstream,
    image_scale,
    said,
    sides,
    table_step,
)
from scoreward.models.diffusers.text import Text


class PixArt(Family):
    """A transformer that predicts ε on a linear table, and a variance that nobody uses."""

    pipelines: ClassVar = ("PixArtSigmaPipeline", "PixArtAlphaPipeline")
    tokens: ClassVar = 300  # 120 for PixArt-α
    table: ClassVar = True

    def size(self, pipe: Upstream) -> Size:
        side = pipe.transformer.config.sample_size * image_scale(pipe)
        return Size(side, side)

    def shape(self, pipe: Upstream, size: Size) -> tuple[int, ...]:
        setting = pipe.transformer.config
        return (setting.in_channels, *sides(size, image_scale(pipe), setting.patch_size))

    def text(self, pipe: Upstream, prompts: Sequence[str], tokens: int) -> Text:
        states, mask, *_ = said(pipe, prompts, tokens, clean_caption=True)
        return Text(states, mask=mask.long())

    def call(self, network: Network, x_t: Tensor, t: Tensor, cond: Text) -> Tensor:
        added: dict[str, Tensor | None] = {"resolution": None, "aspect_ratio": None}
        if network.main.use_additional_conditions:
            size = network.size
            added["resolution"] = x_t.new_tensor([[size.height, size.width]] * len(x_t))
            added["aspect_ratio"] = x_t.new_tensor([[size.height / size.width]] * len(x_t))
        answer = network.main(
            x_t,
            encoder_hidden_states=cond.states,
            encoder_attention_mask=cond.mask,
            timestep=table_step(t, network.steps),
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        return answer[:, : x_t.shape[1]]
