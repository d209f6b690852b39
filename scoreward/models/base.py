"""A model is a network with the four things a sampler and a reward need around it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from scoreward.denoiser import Cond, Reading
from scoreward.prediction import Kind
from scoreward.process import Process


@dataclass(frozen=True)
class Model:
    """What a family adapter returns.

    `encode` turns prompts into a condition whose first axis is the batch, `decode` turns x0 into
    media in [0, 1], `null` gives the condition of guidance, `shape` is one sample's shape.
    """

    network: nn.Module
    process: Process
    kind: Kind
    shape: tuple[int, ...]
    encode: Callable[[Sequence[str]], Cond]
    decode: Callable[[Tensor], Tensor]
    null: Callable[[Cond], Cond]

    @property
    def denoiser(self) -> Reading:
        return Reading(self.network, self.process, self.kind)
