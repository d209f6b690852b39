"""The open-vocabulary built-in model as a `Model`: emoji of 32 x 32 pixels for any short text."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.data.emoji import DIM, SIDE, VECTORS, cleaned, fitted, known
from scoreward.models.builtin.pictures import PictureModel
from scoreward.models.builtin.transformer import NetworkSize
from scoreward.models.texts import minilm


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


emoji = PictureModel(
    "emoji",
    (3, SIDE, SIDE),
    NetworkSize(depth=6, patch=4, text=DIM, places="waves"),
    encode,
    "word",
)
