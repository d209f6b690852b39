"""Sana."""

import inspect
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from scoreward.models.diffusers.family import Family, Network, Size, decoded, divided, encoded
from scoreward.models.diffusers.text import Text


class Sana(Family):
    """A flow in the latents of a deep-compression autoencoder, which has no randomness."""

    pipelines: ClassVar = ("SanaPipeline",)
    tokens: ClassVar = 300

    def size(self, pipe: Any) -> Size:
        side = pipe.transformer.config.sample_size * pipe.vae_scale_factor
        return Size(side, side)

    def shape(self, pipe: Any, size: Size) -> tuple[int, ...]:
        least = pipe.vae_scale_factor * pipe.transformer.config.patch_size
        for side, name in ((size.height, "heights"), (size.width, "widths")):
            divided(side, least, name)
        scale = pipe.vae_scale_factor
        return (pipe.transformer.config.in_channels, size.height // scale, size.width // scale)

    def text(self, pipe: Any, prompts: Sequence[str], tokens: int) -> Text:
        return self._encoded(pipe, prompts, tokens, self._instruction(pipe))

    def nothing(self, pipe: Any, tokens: int) -> Text:
        return self._encoded(pipe, [""], tokens, None)  # the pipeline's, too, has no instruction

    def _encoded(
        self, pipe: Any, prompts: Sequence[str], tokens: int, instruction: list[str] | None
    ) -> Text:
        states, mask, *_ = pipe.encode_prompt(
            list(prompts),
            do_classifier_free_guidance=False,
            device=pipe.text_encoder.device,
            max_sequence_length=tokens,
            complex_human_instruction=instruction,
        )
        return Text(states, mask=mask.long())

    def _instruction(self, pipe: Any) -> list[str]:
        """What the pipeline tells its language model to do with a prompt."""
        return (
            inspect.signature(type(pipe).__call__).parameters["complex_human_instruction"].default
        )

    def call(self, network: Network, x_t: Tensor, t: Tensor, cond: Text) -> Tensor:
        answer = network.main(
            x_t,
            encoder_hidden_states=cond.states,
            encoder_attention_mask=cond.mask,
            timestep=t * 1000 * network.main.config.timestep_scale,
            return_dict=False,
        )[0]
        return answer[:, : x_t.shape[1]]

    def decode(self, pipe: Any, x0: Tensor) -> Tensor:
        return decoded(pipe.vae, x0 / pipe.vae.config.scaling_factor)

    def latents(self, pipe: Any, media: Tensor) -> Tensor:
        return encoded(pipe.vae, media) * pipe.vae.config.scaling_factor
