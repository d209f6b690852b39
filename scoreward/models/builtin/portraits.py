"""The built-in text-to-image model as a `Model`: pixel portraits, 16 × 16, on a CPU."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor, nn

from scoreward.core.denoiser import Cond
from scoreward.core.process import RectifiedFlow
from scoreward.data.words import encode
from scoreward.models.base import Model
from scoreward.models.builtin.transformer import NetworkSize, PatchTransformer, fresh, stored

PATH = Path(str(files("scoreward"))) / "assets" / "portraits" / "model.safetensors"
TOKENS = 6
SHAPE = (3, 16, 16)


def portraits(
    weights: Mapping[str, Tensor] | None = None, size: NetworkSize | None = None
) -> Model:
    """The portraits model with given weights, or with the ones that ship with the package."""
    network = PatchTransformer(SHAPE, size or NetworkSize())
    network.load_state_dict(dict(shipped() if weights is None else weights))
    return around(network)


def untrained(size: NetworkSize | None = None, seed: int = 0) -> Model:
    """The portraits model before any training."""
    return around(fresh(SHAPE, size or NetworkSize(), seed))


def around(network: nn.Module) -> Model:
    """Text encoding, decoding and process of the portraits around a network."""
    return Model(network, RectifiedFlow(), "velocity", SHAPE, words, pictures, nothing)


def shipped() -> dict[str, Tensor]:
    """The weights in the package."""
    return stored(PATH)


def words(prompts: Sequence[str]) -> Tensor:
    """[batch, 6, 256]: one averaged word vector per phrase."""
    return encode(prompts, TOKENS)


def pictures(x0: Tensor) -> Tensor:
    """From [-1, 1] to media in [0, 1]."""
    return (x0.clamp(-1, 1) + 1) / 2


def nothing(cond: Cond) -> Cond:
    """The unconditional condition: no words."""
    if not isinstance(cond, Tensor):
        raise TypeError("the condition of the portraits model is a tensor of word vectors")
    return torch.zeros_like(cond)
