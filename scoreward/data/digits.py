"""Handwritten digits, 8 x 8, and pictures in files of the MedMNIST layout.

1,797 digits by 13 writers (UCI, as scikit-learn ships them). Enlarged by repeating pixels they are
exactly sparse in Haar wavelets, which is why compressed sensing works on them; as they are, half of
their pixels are not 0 and it does not.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from scoreward.data.packs import ASSETS, arrays, number_of

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPLITS = ("train", "test")
TRAINING = 1400  # the first digits; the writers of the others are mostly different ones
SIDE = 8


@dataclass(frozen=True)
class Digits:
    """Pictures in [0, 1] with the digit of each."""

    images: Float[Tensor, "n 1 height width"]
    labels: Int[Tensor, " n"]

    @property
    def captions(self) -> list[str]:
        """The digit in words."""
        return [WORDS[label] for label in self.labels.tolist()]

    def __len__(self) -> int:
        return len(self.labels)


def load(split: str | None = None, enlarged: int = 1) -> Digits:
    """The digits of "train" or "test", or all of them in their published order for None.

    `enlarged` repeats every pixel so often along both sides.
    """
    if split is not None:
        number_of(split, SPLITS)
    if enlarged < 1:
        raise ValueError(f"`enlarged` must be at least 1, got {enlarged}")
    rows = {None: slice(None), "train": slice(TRAINING), "test": slice(TRAINING, None)}[split]
    pack = arrays(ASSETS / "digits" / "pack.npz")
    pixels = pack["pixels"].T.reshape(-1, SIDE, SIDE)[rows]
    images = torch.from_numpy(pixels.astype(np.float32) / 16)[:, None]
    for axis in (2, 3):
        images = images.repeat_interleave(enlarged, axis)
    return Digits(images, torch.from_numpy(pack["labels"][rows].astype(np.int64)))


def numbers(prompts: Sequence[str]) -> Int[Tensor, " batch"]:
    """The digit that each prompt names; ValueError for a prompt that is no digit's name."""
    if unknown := [prompt for prompt in prompts if prompt not in WORDS]:
        raise ValueError(f"unknown prompt {unknown[0]!r}; the digits are {', '.join(WORDS)}")
    return torch.tensor([WORDS.index(prompt) for prompt in prompts])


def read_pictures(path: Path, split: str = "train") -> Float[Tensor, "n channels height width"]:
    """Pictures in [0, 1] from an .npz file of the MedMNIST layout.

    It has arrays `train_images`, `val_images` and `test_images` of bytes, [n, height, width] or
    [n, height, width, 3].
    """
    name = f"{split}_images"
    if not zipfile.is_zipfile(path):
        raise ValueError(f"cannot read pictures from {path}: it is missing or no .npz file")
    with np.load(path) as file:
        if name not in file.files:
            have = ", ".join(n for n in file.files if n.endswith("_images")) or "none"
            raise ValueError(f"{path} has no array {name!r}; its arrays of pictures: {have}")
        pixels = file[name]
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4):
        raise ValueError(
            f"{name} of {path} should be bytes of shape [n, height, width] or "
            f"[n, height, width, 3], got {pixels.dtype} of shape {pixels.shape}"
        )
    pictures = torch.from_numpy(pixels).float() / 255
    return pictures[:, None] if pixels.ndim == 3 else pictures.permute(0, 3, 1, 2).contiguous()
