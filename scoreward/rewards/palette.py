"""Checks of the portraits that need no network, so that fooling a verifier does not fool them.

The pictures are drawn in few exact colours. `PaletteCheck` looks up every pixel of the shirt's, the
hair's and the hat's place in the list of those colours and lets the pixels vote. The other two
numbers say whether pictures still look like the training pictures, and like one another.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scoreward.data.portraits import FIELDS, UNSAID, load
from scoreward.rewards.pictures import least_distance
from scoreward.rewards.portraits import labels_of

CHECKED = ("hair_color", "clothes", "hat")
TOLERANCE = 36 / 255  # largest distance in RGB to a palette colour; ours, about 3 % noise a channel
NOT_FOUND = -2  # what `found` says where too few pixels have a colour of the palette


@dataclass(frozen=True)
class Region:
    """Where an attribute is drawn, and which palette colours mean which of its values."""

    weight: Float[Tensor, "256"]  # share of training pictures in which the pixel shows it
    value: Int[Tensor, "colors"]  # index into the values, -1 for a colour of other parts
    least: float  # smallest sum of weights that counts as seen


@dataclass(frozen=True)
class PaletteCheck:
    """Reads hair colour, shirt colour and hat off the pixels; as a reward, the share that is right.

    A hat that a prompt does not mention is right when no hat's colour covers the hat's place.
    """

    colors: Float[Tensor, "colors 3"]  # the palette, in [0, 1]
    regions: dict[str, Region]

    @classmethod
    def load(cls) -> "PaletteCheck":
        """The palette and the places, as shipped."""
        path = files("scoreward") / "assets" / "portraits" / "palette.json"
        stored = json.loads(path.read_text())
        regions = {
            field: Region(
                weight=torch.tensor(place["weight"], dtype=torch.float32) / 9,
                value=torch.tensor(place["value"]),
                least=place["least"],
            )
            for field, place in stored["regions"].items()
        }
        codes = [[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in stored["colors"]]
        return cls(torch.tensor(codes) / 255, regions)

    def found(self, media: Float[Tensor, "batch 3 16 16"]) -> Int[Tensor, "batch checked"]:
        """The value with most votes for each of CHECKED, NOT_FOUND if nothing is seen."""
        pixels = media.flatten(2).mT.float()
        distance, nearest = torch.cdist(pixels, self.colors.to(media.device)).min(2)
        nearest = torch.where(distance <= TOLERANCE, nearest, -1)
        winners = []
        for field in CHECKED:
            region, kinds = self.regions[field], range(len(FIELDS[field]))
            value = torch.where(nearest >= 0, region.value.to(media.device)[nearest], UNSAID)
            weight = region.weight.to(media.device)
            votes = torch.stack([((value == kind) * weight).sum(1) for kind in kinds], 1)
            most, winner = votes.max(1)
            absent = 0 if field == "hat" else NOT_FOUND
            winners.append(torch.where(most >= region.least, winner, absent))
        return torch.stack(winners, 1)

    def right(
        self, media: Float[Tensor, "batch 3 16 16"], prompts: Sequence[str]
    ) -> Bool[Tensor, "batch checked"]:
        """Whether the pixels show what is asked; true where nothing is asked."""
        columns = [list(FIELDS).index(field) for field in CHECKED]
        labels = labels_of(prompts)[:, columns].to(media.device)
        return (self.found(media) == labels) | (labels == UNSAID)

    def __call__(
        self, media: Float[Tensor, "batch 3 16 16"], prompts: Sequence[str]
    ) -> Float[Tensor, "batch"]:
        """Share of the checked attributes that are right, in [0, 1]."""
        return self.right(media, prompts).float().mean(1)

    def table(
        self, media: Float[Tensor, "batch 3 16 16"], prompts: Sequence[str]
    ) -> dict[str, float]:
        """Share of pictures that are right, per checked attribute."""
        right = self.right(media, prompts).cpu().double().mean(0)
        return dict(zip(CHECKED, right.tolist(), strict=True))


@lru_cache(maxsize=1)
def _train() -> tuple[Float[Tensor, "n 768"], Float[Tensor, "n"]]:
    """The training pictures as vectors in [-1, 1], and their squared lengths."""
    flat = load("train").images.flatten(1)
    return flat, flat.square().sum(1)


def nearest_distance(media: Float[Tensor, "batch 3 16 16"]) -> Float[Tensor, "batch"]:
    """L2 distance in [-1, 1] pixel space to the nearest training picture; media in [0, 1]."""
    flat = (media.float().cpu() * 2 - 1).flatten(1)
    return least_distance(flat, *_train()).to(media.device)


def nearest_picture(
    media: Float[Tensor, "batch 3 16 16"], prompts: Sequence[str]
) -> Float[Tensor, "batch"]:
    """`nearest_distance` with the signature of a reward, for evaluations; lower is closer."""
    return nearest_distance(media)
