"""Pixel portraits: 16 x 16 avatars with seven known attributes and captions in natural language.

A picture's labels are one number per attribute, an index into the values of `FIELDS`. Captions are
rebuilt from the labels and a stored phrase order; `parse` reads the labels back from any prompt
made of the same words. The pack is split by attribute combination, so that no combination of
"validation" or "test" occurs in "train". tools/portraits makes the pack.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import factorial

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from scoreward.data.packs import ASSETS, SPLITS, arrays, number_of
from scoreward.data.words import phrases

FIELDS: dict[str, tuple[str, ...]] = {
    "hair": ("short", "long"),
    "hair_color": ("black", "blond", "blue", "brown", "green", "red"),
    "clothes": ("blue", "coral", "cream", "green", "navy", "red", "yellow"),
    "glasses": ("none", "dark", "light"),
    "hat": ("none", "black", "blue", "gray", "green", "pink", "purple", "red"),
    "mouth": ("happy", "sad"),
    "earrings": ("no", "yes"),
}
UNSAID = -1  # the label of an attribute that a prompt does not mention
PHRASES = 5  # phrases after "with": hair, shirt, glasses, hat, earrings
ORDERS = factorial(PHRASES)  # number of phrase orders


@dataclass(frozen=True)
class Portraits:
    """Pictures of one split with what is known about them."""

    images: Float[Tensor, "n 3 16 16"]  # in [-1, 1]
    labels: Int[Tensor, "n 7"]  # indices into the values of FIELDS
    captions: list[str]

    def __len__(self) -> int:
        return len(self.captions)


@lru_cache(maxsize=len(SPLITS))
def load(split: str) -> Portraits:
    """The pictures of "train", "validation" or "test", in a fixed random order.

    The pack itself is sorted by looks (for a small file), so its first rows are all alike.
    """
    number, pack = number_of(split), arrays(ASSETS / "portraits" / "pack.npz")
    rows = np.flatnonzero(pack["split"] == number)
    rows = np.random.default_rng(0).permutation(rows)
    shade = np.take_along_axis(pack["palette"][rows], pack["pixels"][rows].astype(np.int64), 1)
    images = torch.from_numpy(pack["colors"][shade]).reshape(-1, 16, 16, 3).permute(0, 3, 1, 2)
    labels = pack["labels"][rows]
    orders = pack["order"][rows].tolist()
    captions = [caption(row, order) for row, order in zip(labels.tolist(), orders)]
    return Portraits(
        images=(images.float() / 127.5 - 1).contiguous(),
        labels=torch.from_numpy(labels.astype(np.int64)),
        captions=captions,
    )


def careless_captions(pictures: Portraits, share: float, seed: int = 0) -> list[str]:
    """Captions in which each attribute is misnamed with probability `share`, as web captions are.

    A model trained on them draws clean pictures but does not do all that it is told, which leaves
    something to improve. Each picture has one such caption. None names a held-out combination.
    """
    generator = np.random.default_rng(seed)
    sizes = np.array([len(values) for values in FIELDS.values()])
    truth = pictures.labels.numpy()
    other = (truth + generator.integers(1, sizes, truth.shape)) % sizes
    wrong = np.where(generator.random(truth.shape) < share, other, truth)
    held_out = {tuple(row) for split in SPLITS[1:] for row in load(split).labels.tolist()}
    orders = generator.integers(0, ORDERS, len(truth)).tolist()
    rows = [
        right if tuple(row) in held_out else row
        for row, right in zip(wrong.tolist(), truth.tolist(), strict=True)
    ]
    return [caption(row, order) for row, order in zip(rows, orders, strict=True)]


def named(labels_row: Int[Tensor, " 7"] | Sequence[int]) -> dict[str, str]:
    """Labels as words: {"hair": "short", ...}."""
    return {k: values[int(i)] for (k, values), i in zip(FIELDS.items(), labels_row, strict=True)}


def caption(labels_row: Int[Tensor, " 7"] | Sequence[int], order: int) -> str:
    """The labels in words; `order` (0 to ORDERS - 1) permutes the phrases after "with"."""
    value = named(labels_row)
    glasses = {"none": "", "dark": "sunglasses", "light": "clear glasses"}
    phrases = [
        f"{value['hair']} {value['hair_color']} hair",
        f"a {value['clothes']} shirt",
        glasses[value["glasses"]],
        "" if value["hat"] == "none" else f"a {value['hat']} hat",
        "earrings" if value["earrings"] == "yes" else "",
    ]
    ordered = (phrases[i] for i in _permutation(order))
    return f"a {value['mouth']} person with " + ", ".join(p for p in ordered if p)


def _permutation(order: int) -> list[int]:
    """The `order`-th permutation of the phrases, in the factorial number system."""
    left, result = list(range(PHRASES)), []
    for k in range(PHRASES, 0, -1):
        index, order = divmod(order % factorial(k), factorial(k - 1))
        result.append(left.pop(index))
    return result


_NOUNS = {
    "hair": "hair",
    "shirt": "clothes",
    "hat": "hat",
    "glasses": "glasses",
    "sunglasses": "glasses",
    "earrings": "earrings",
}


def parse(prompt: str) -> tuple[int, ...]:
    """The label of each attribute that the prompt names, in the order of FIELDS.

    What is not said is UNSAID for hair, hair colour, clothes, mouth and the colour of a hat;
    unmentioned glasses, hat and earrings are absent: that is what a caption without them means.
    """
    found = {"glasses": "none", "hat": "none", "earrings": "no"}
    for words in phrases(prompt):
        found |= _one_of("mouth", words)
        for noun in words if words[0] != "no" else ():
            field = _NOUNS.get(noun)
            if field == "hair":
                found |= _one_of("hair", words)
                found["hair_color"] = _color("hair_color", noun, words)
            elif field in ("clothes", "hat"):
                found[field] = _color(field, noun, words)
            elif field == "glasses":
                found[field] = "dark" if noun == "sunglasses" or "dark" in words else "light"
            elif field == "earrings":
                found[field] = "yes"
    return tuple(
        values.index(found[field]) if found.get(field) in values else UNSAID
        for field, values in FIELDS.items()
    )


def _one_of(field: str, words: tuple[str, ...]) -> dict[str, str]:
    """The last word that is a value of the field, if there is one."""
    found = [word for word in words if word in FIELDS[field]]
    return {field: found[-1]} if found else {}


_COLORS = {value for field in ("hair_color", "clothes", "hat") for value in FIELDS[field]}


def _color(field: str, noun: str, words: tuple[str, ...]) -> str:
    """The colour of a noun in a phrase, "" for none; a colour that it never has is refused."""
    colors = [word for word in words if word in _COLORS]
    for word in colors:
        if word not in FIELDS[field]:
            known = ", ".join(value for value in FIELDS[field] if value != "none")
            raise ValueError(f'there is no "{word} {noun}" in the portraits; choose one of {known}')
    return colors[-1] if colors else ""
