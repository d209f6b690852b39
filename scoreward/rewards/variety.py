"""A reward for differing from the other samples of the same prompt.

Rewards of single pictures have no opinion on variety, so a policy that maximises them may answer a
prompt with one picture. This one sees the group.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Variety:
    """Root mean square pixel distance to the samples of the same prompt, mean over them.

    A prompt that comes once in a call earns 0, so groups stay whole where they are scored.
    """

    of_groups: ClassVar[bool] = True  # it says nothing of one sample alone

    def __call__(
        self, media: Float[Tensor, "batch *shape"], prompts: Sequence[str]
    ) -> Float[Tensor, " batch"]:
        flat = media.flatten(1).float()
        value = flat.new_zeros(len(flat))
        for prompt in dict.fromkeys(prompts):
            mine = torch.tensor([i for i, p in enumerate(prompts) if p == prompt])
            if len(mine) > 1:
                distance = torch.cdist(flat[mine], flat[mine]) / flat.shape[1] ** 0.5
                value[mine] = distance.sum(1) / (len(mine) - 1)
        return value
