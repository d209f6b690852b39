"""The open-vocabulary built-in model as a `Model`: emoji of 32 x 32 pixels for any short text."""

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scoreward.core.denoiser import Cond
from scoreward.core.process import RectifiedFlow
from scoreward.data.emoji import DIM, SIDE, VECTORS, cleaned, fitted, known
from scoreward.models.base import Model
from scoreward.models.builtin.portraits import pictures
from scoreward.models.builtin.transformer import NetworkSize, PatchTransformer, fresh, stored
from scoreward.models.texts import minilm

PATH = Path(str(files("scoreward"))) / "assets" / "emoji" / "model.safetensors"
SHAPE = (3, SIDE, SIDE)
SIZE = NetworkSize(depth=6, patch=4, text=DIM, places="waves")


def emoji(weights: Mapping[str, Tensor] | None = None, size: NetworkSize = SIZE) -> Model:
    """The emoji model with given weights, or with the ones that ship with the package."""
    network = PatchTransformer(SHAPE, size)
    network.load_state_dict(dict(shipped() if weights is None else weights))
    return around(network)


def untrained(size: NetworkSize = SIZE, seed: int = 0) -> Model:
    """The emoji model before any training."""
    return around(fresh(SHAPE, size, seed))


def around(network: nn.Module) -> Model:
    """Text encoding, decoding and process of emoji around a network."""
    return Model(network, RectifiedFlow(), "velocity", SHAPE, encode, pictures, nothing)


def shipped() -> dict[str, Tensor]:
    """The weights in the package."""
    return stored(PATH)


def encode(prompts: Sequence[str]) -> Float[Tensor, "batch 5 384"]:
    """The whole text, then its words, as MiniLM sees them; zeros for an empty prompt.

    Captions of the pack are looked up; any other prompt loads MiniLM.
    """
    if isinstance(prompts, str):
        raise ValueError(
            f'expected a list of prompts, got the string "{prompts}"; put it in a list'
        )
    texts = [cleaned(prompt) for prompt in prompts]
    found = {text: known(text) if text else torch.zeros(VECTORS, DIM) for text in texts}
    new = [text for text, vectors in found.items() if vectors is None]
    if new:
        found |= {text: fitted(v) for text, v in zip(new, minilm.vectors(new))}
    rows = [vectors for text in texts if (vectors := found[text]) is not None]
    return torch.stack(rows) if rows else torch.zeros(0, VECTORS, DIM)


def whole(prompts: Sequence[str]) -> Float[Tensor, "batch 384"]:
    """One vector per prompt, for an image-text reward."""
    return encode(prompts)[:, 0]


def nothing(cond: Cond) -> Cond:
    """The unconditional condition: no words."""
    if not isinstance(cond, Tensor):
        raise TypeError("the condition of the emoji model is a tensor of word vectors")
    return torch.zeros_like(cond)
