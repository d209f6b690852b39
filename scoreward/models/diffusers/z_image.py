"""Z-Image."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from scoreward.models.diffusers.family import Family, Network, Size, Upstream, image_scale, sides
from scoreward.models.diffusers.text import Text, padded


class ZImage(Family):
    """A flow whose network counts time from noise to data and predicts x0 − ε.

    Its pipeline's `guidance_scale` counts from 0 (no guidance); ours counts from 1, as for all.
    """

    pipelines: ClassVar = ("ZImagePipeline",)
    tokens: ClassVar = 512
    even: ClassVar = True
    patch: ClassVar = 2
    since: ClassVar = (0, 39)  # before, the pipeline spent its last step at t = 0

    def size(self, pipe: Upstream) -> Size:
        return Size(1024, 1024)

    def shape(self, pipe: Upstream, size: Size) -> tuple[int, ...]:
        return (pipe.transformer.config.in_channels, *sides(size, image_scale(pipe), 2))

    def text(self, pipe: Upstream, prompts: Sequence[str], tokens: int) -> Text:
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
