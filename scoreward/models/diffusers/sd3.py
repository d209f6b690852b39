"""Stable Diffusion 3 and 3.5."""

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from scoreward.models.diffusers.family import (
    JOINT,
    Family,
    Network,
    Size,
    Upstream,
    image_scale,
    shift_of_tokens,
    sides,
)
from scoreward.models.diffusers.text import Text


class StableDiffusion3(Family):
    """A rectified flow with three text encoders, of which T5 may be left out."""

    pipelines: ClassVar = ("StableDiffusion3Pipeline",)
    targets: ClassVar = tuple(f"attn.{name}" for name in JOINT)  # Flow-GRPO's code; not attn2
    tokens: ClassVar = 256  # of T5

    def size(self, pipe: Upstream) -> Size:
        side = pipe.transformer.config.sample_size * image_scale(pipe)
        return Size(side, side)

    def shape(self, pipe: Upstream, size: Size) -> tuple[int, ...]:
        setting = pipe.transformer.config
        return (setting.in_channels, *sides(size, image_scale(pipe), setting.patch_size))

    def shift(self, pipe: Upstream, steps: int, size: Size) -> float | None:
        if not pipe.scheduler.config.get("use_dynamic_shifting", False):
            return None
        _, height, width = self.shape(pipe, size)
        patch = pipe.transformer.config.patch_size
        return shift_of_tokens(pipe.scheduler, (height // patch) * (width // patch))

    def text(self, pipe: Upstream, prompts: Sequence[str], tokens: int) -> Text:
        words, device = list(prompts), pipe.text_encoder.device
        states, _, pooled, _ = pipe.encode_prompt(
            words,
            words,
            words,
            device=device,
            do_classifier_free_guidance=False,
            max_sequence_length=tokens,
        )
        return Text(states, pooled)

    def call(self, network: Network, x_t: Tensor, t: Tensor, cond: Text) -> Tensor:
        answer = network.main(
            hidden_states=x_t,
            timestep=t * 1000,
            encoder_hidden_states=cond.states,
            pooled_projections=cond.pooled,
            return_dict=False,
        )
        return answer[0]
