"""Pictures that ship with the package: arrays in packs, and how lists are split."""

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np

ASSETS = Path(str(files("scoreward"))) / "assets"
SPLITS = ("train", "validation", "test")


@cache
def arrays(path: Path) -> dict[str, np.ndarray]:
    """Every array of a pack by its name."""
    with np.load(path) as pack:
        return dict(pack)


def number_of(split: str, splits: Sequence[str] = SPLITS) -> int:
    """Which of the splits it is.  Raises ValueError."""
    if split not in splits:
        raise ValueError(f'unknown split "{split}"; choose one of {", ".join(splits)}')
    return splits.index(split)


def share_of_texts(texts: Sequence[str], split: str, held_out: int) -> tuple[str, ...]:
    """The texts of a split in a fixed random order, `held_out` in each of the last two."""
    number = number_of(split)
    every = np.random.default_rng(0).permutation(np.array(texts))
    parts = np.split(every, [len(every) - 2 * held_out, len(every) - held_out])
    return tuple(str(text) for text in parts[number])
