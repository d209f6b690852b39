"""The second built-in model as a `Model`: words of two to five letters, 32 x 64 grey pixels."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scoreward.core.denoiser import Cond
from scoreward.core.process import RectifiedFlow
from scoreward.data.lettering import DIM, HEIGHT, WIDTH, encode
from scoreward.models.base import Model
from scoreward.models.builtin.transformer import NetworkSize, PatchTransformer, fresh, stored

PATH = Path(str(files("scoreward"))) / "assets" / "lettering" / "model.safetensors"
SHAPE = (1, HEIGHT, WIDTH)
SIZE = NetworkSize(depth=6, patch=8, text=DIM, places="waves")


def lettering(weights: Mapping[str, Tensor] | None = None, size: NetworkSize = SIZE) -> Model:
    """The lettering model with given weights, or with the ones that ship with the package."""
    network = PatchTransformer(SHAPE, size)
    network.load_state_dict(dict(shipped() if weights is None else weights))
    return around(network)


def untrained(size: NetworkSize = SIZE, seed: int = 0) -> Model:
    """The lettering model before any training."""
    return around(fresh(SHAPE, size, seed))


def around(network: nn.Module) -> Model:
    """Text encoding, decoding and process of lettering around a network."""
    return Model(network, RectifiedFlow(), "velocity", SHAPE, encode, pictures, nothing)


def shipped() -> dict[str, Tensor]:
    """The weights in the package."""
    return stored(PATH)


def pictures(
    x0: Float[Tensor, "batch 1 height width"],
) -> Float[Tensor, "batch 3 height width"]:
    """From grey in [-1, 1] to media in [0, 1], three equal channels as every reward expects."""
    return ((x0.clamp(-1, 1) + 1) / 2).expand(-1, 3, -1, -1)


def nothing(cond: Cond) -> Cond:
    """The unconditional condition: no letters."""
    if not isinstance(cond, Tensor):
        raise TypeError("the condition of the lettering model is a tensor of letter vectors")
    return torch.zeros_like(cond)
