"""Z-Image."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from scoreward.models.diffusers.family import (
    Family,
    Network,
    Size,
    divided,
    flow_grid,
    image_scale,
    shift_of_tokens,
)
from scoreward.models.diffusers.text import Text, padded


class ZImage(Family):
    """A flow whose network counts time from noise to data and predicts x0 − ε.

    Its pipeline's `guidance_scale` counts from 0 (no guidance); ours counts from 1, as for all.
    """

    pipelines: ClassVar = ("ZImagePipeline",)
    tokens: ClassVar = 512
    since: ClassVar = (0, 39)  # before, the pipeline spent its last step at t = 0

    def size(self, pipe: Any) -> Size:
        return Size(1024, 1024)

    def shape(self, pipe: Any, size: Size) -> tuple[int, ...]:
        least = 2 * image_scale(pipe)
        height, width = divided(size.height, least, "heights"), divided(size.width, least, "widths")
        return (pipe.transformer.config.in_channels, 2 * height, 2 * width)

    def grid(self, pipe: Any, steps: int, size: Size) -> tuple[float, ...]:
        _, height, width = self.shape(pipe, size)
        mu = shift_of_tokens(pipe.scheduler, height * width // 4)
        return flow_grid(pipe.scheduler, steps, mu, even=True)

    def text(self, pipe: Any, prompts: Sequence[str], tokens: int) -> Text:
        device = pipe.text_encoder.device
        rows, _ = pipe.encode_prompt(
            list(prompts), device, do_classifier_free_guidance=False, max_sequence_length=tokens
        )
        return padded(rows, tokens)

    def call(self, network: Network, x_t: Tensor, t: Tensor, cond: Text) -> Tensor:
        full = [cond.states.shape[1]] * len(x_t)
        lengths = full if cond.mask is None else cond.mask.sum(1).tolist()
        words = [row[:n] for row, n in zip(cond.states, lengths, strict=True)]
        answer = network.main(list(x_t[:, :, None]), 1 - t, words, return_dict=False)[0]
        return -torch.stack(list(answer)).squeeze(2)
