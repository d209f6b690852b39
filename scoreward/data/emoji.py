"""Emoji: 32 x 32 pictures of about a thousand things, each drawn by four designers.

A caption is the thing's name ("red apple"); the designer is never mentioned, so diversity lives
there. Three styles are for training, the fourth, `JUDGE_STYLE`, only for the judge. Captions are
split: no caption of "validation" or "test" is trained on, by a model or by a reward.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.data.packs import ASSETS, arrays, share_of_texts

FOLDER = ASSETS / "emoji"
SIDE = 32
STYLES = ("noto", "twemoji", "fluent")
JUDGE_STYLE = "openmoji"
HELD_OUT = 128  # captions of "validation", and of "test"
DIM = 384  # of a vector
VECTORS = 5  # of a prompt: the whole text, then at most four words


@dataclass(frozen=True)
class Emoji:
    """Pictures with their captions."""

    images: Float[Tensor, "n 3 32 32"]  # in [-1, 1]
    captions: list[str]

    def __len__(self) -> int:
        return len(self.captions)


def _pack() -> dict[str, np.ndarray]:
    return arrays(FOLDER / "pack.npz")


@cache
def every_caption() -> tuple[str, ...]:
    """All captions, in alphabetical order."""
    return tuple(str(caption) for caption in _pack()["captions"])


@cache
def captions(split: str) -> tuple[str, ...]:
    """The captions of "train", "validation" or "test" in a fixed random order."""
    return share_of_texts(every_caption(), split, HELD_OUT)


@cache
def _numbers() -> dict[str, int]:
    """Where each caption stands in the pack."""
    return {caption: i for i, caption in enumerate(every_caption())}


@cache
def drawings(style: str) -> Float[Tensor, "n 3 32 32"]:
    """All pictures of a style, in [-1, 1]; the files hold differences to the left neighbour."""
    if style == JUDGE_STYLE:
        steps = arrays(FOLDER / "openmoji" / "pack.npz")[JUDGE_STYLE]
    elif style in STYLES:
        steps = _pack()[style]
    else:
        known = ", ".join((*STYLES, JUDGE_STYLE))
        raise ValueError(f'unknown style "{style}"; choose one of {known}')
    pixels = np.cumsum(steps, axis=-1, dtype=np.uint8)  # wraps around, as the differences did
    return torch.from_numpy(pixels.astype(np.float32)) / 127.5 - 1


def load(split: str, styles: Sequence[str] = STYLES) -> Emoji:
    """The pictures of a split in some styles, style after style."""
    texts = captions(split)
    rows = [_numbers()[caption] for caption in texts]
    images = torch.cat([drawings(style)[rows] for style in styles])
    return Emoji(images, list(texts) * len(styles))


def cleaned(prompt: str) -> str:
    """Small letters and single blanks."""
    return " ".join(prompt.lower().split())


@cache
def _places() -> tuple[Tensor, np.ndarray]:
    """All vectors, and where each caption's begin and end."""
    ends = np.cumsum(_pack()["counts"].astype(np.int64))
    vectors = torch.from_numpy(_pack()["vectors"].astype(np.float32))
    return vectors, np.concatenate([[0], ends])


def known(prompt: str) -> Float[Tensor, "5 384"] | None:
    """What the text encoder says of a caption, as it was stored; None for any other prompt."""
    number = _numbers().get(cleaned(prompt))
    if number is None:
        return None
    vectors, ends = _places()
    return fitted(vectors[ends[number] : ends[number + 1]])


def fitted(vectors: Float[Tensor, "vectors 384"]) -> Float[Tensor, "5 384"]:
    """The whole text and four words; the last of them is the mean of all that are left."""
    words = vectors[1:]
    if len(words) > VECTORS - 1:
        rest = words[VECTORS - 2 :].mean(0, keepdim=True)
        words = torch.cat([words[: VECTORS - 2], rest])
    out = vectors.new_zeros(VECTORS, DIM)
    out[0], out[1 : 1 + len(words)] = vectors[0], words
    return out
