"""What the built-in models of pictures share; each is a row in a module of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor, nn

from scoreward.core.denoiser import Cond
from scoreward.core.process import RectifiedFlow
from scoreward.models.base import Model
from scoreward.models.builtin.transformer import NetworkSize, PatchTransformer, fresh, stored


def pictures(x0: Tensor) -> Tensor:
    """From [-1, 1] to media in [0, 1]."""
    return (x0.clamp(-1, 1) + 1) / 2


@dataclass(frozen=True)
class PictureModel:
    """A model that ships with the package; called, it opens with those weights, or with others."""

    name: str  # of the folder of its weights, too
    shape: tuple[int, int, int]
    size: NetworkSize
    encode: Callable[[Sequence[str]], Tensor]  # a condition is vectors, and zeros say nothing
    vectors: str  # what those are of
    decode: Callable[[Tensor], Tensor] = pictures

    @property
    def path(self) -> Path:
        """The weights in the package."""
        return Path(str(files("scoreward"))) / "assets" / self.name / "model.safetensors"

    def __call__(
        self, weights: Mapping[str, Tensor] | None = None, size: NetworkSize | None = None
    ) -> Model:
        """The model with given weights, or with the ones that ship with the package."""
        network = PatchTransformer(self.shape, size or self.size)
        network.load_state_dict(dict(self.shipped() if weights is None else weights))
        return self.around(network)

    def untrained(self, size: NetworkSize | None = None, seed: int = 0) -> Model:
        """The model before any training."""
        return self.around(fresh(self.shape, size or self.size, seed))

    def around(self, network: nn.Module) -> Model:
        """Text encoding, decoding and process around a network."""
        coders = self.encode, self.decode, self.nothing
        return Model(network, RectifiedFlow(), "velocity", self.shape, *coders)

    def shipped(self) -> dict[str, Tensor]:
        """The weights in the package."""
        return stored(self.path)

    def nothing(self, cond: Cond) -> Cond:
        """The unconditional condition: no words."""
        if not isinstance(cond, Tensor):
            raise TypeError(
                f"the condition of the {self.name} model is a tensor of {self.vectors} vectors"
            )
        return torch.zeros_like(cond)
