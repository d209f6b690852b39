"""PixArt-α and PixArt-Σ."""

from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from scoreward.core.prediction import Kind
from scoreward.core.process import Process
from scoreward.models.diffusers.family import (
    Family,
    Network,
    Size,
    divided,
    image_scale,
    table_grid,
    table_kind,
    table_process,
    table_step,
)
from scoreward.models.diffusers.text import Text


class PixArt(Family):
    """A transformer that predicts ε on a linear table, and a variance that nobody uses."""

    pipelines: ClassVar = ("PixArtSigmaPipeline", "PixArtAlphaPipeline")
    tokens: ClassVar = 300  # 120 for PixArt-α

    def process(self, pipe: Any) -> Process:
        return table_process(pipe.scheduler)

    def kind(self, pipe: Any) -> Kind:
        return table_kind(pipe.scheduler)

    def size(self, pipe: Any) -> Size:
        side = pipe.transformer.config.sample_size * image_scale(pipe)
        return Size(side, side)

    def shape(self, pipe: Any, size: Size) -> tuple[int, ...]:
        patch = pipe.transformer.config.patch_size
        least = image_scale(pipe) * patch
        height, width = divided(size.height, least, "heights"), divided(size.width, least, "widths")
        return (pipe.transformer.config.in_channels, height * patch, width * patch)

    def grid(self, pipe: Any, steps: int, size: Size) -> tuple[float, ...]:
        return table_grid(pipe.scheduler, steps)

    def text(self, pipe: Any, prompts: Sequence[str], tokens: int) -> Text:
        states, mask, *_ = pipe.encode_prompt(
            list(prompts),
            do_classifier_free_guidance=False,
            device=pipe.text_encoder.device,
            clean_caption=True,
            max_sequence_length=tokens,
        )
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
            timestep=table_step(t),
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        return answer[:, : x_t.shape[1]]
