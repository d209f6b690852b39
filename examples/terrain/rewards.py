"""What a vehicle makes of a height field: rewards with gradients, and judges that train nothing.

All take media as the terrain model decodes them (`model.metres` reads the heights) and are higher
where the field is better. Slopes are rise over run; `grade(15)` is that of 15 degrees.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import radians, tan

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from examples.terrain.model import CELL, difficulty, metres

Heights = Float[Tensor, "batch h w"]


def grade(angle: float) -> float:
    """Rise over run of an angle in degrees."""
    return tan(radians(angle))


def squared_slope(heights: Heights) -> Float[Tensor, "batch h-1 w-1"]:
    """|∇h|² by forward differences, which no pattern of single cells can hide from."""
    across = heights[:, :-1, 1:] - heights[:, :-1, :-1]
    along = heights[:, 1:, :-1] - heights[:, :-1, :-1]
    return (across.square() + along.square()) / CELL**2


@dataclass(frozen=True)
class Gentle:
    """Reward in [0, 1]: share of cells no steeper than `angle`, with soft edges for a gradient.

    A cell of slope g counts 1/(1 + (g/limit)⁴): 1 if flat, 1/2 at the limit, 1/17 at twice that.
    """

    angle: float = 15.0  # degrees

    def __call__(
        self, media: Float[Tensor, "batch 3 h w"], prompts: Sequence[str]
    ) -> Float[Tensor, " batch"]:
        ratio = squared_slope(metres(media)) / grade(self.angle) ** 2
        return (1 / (1 + ratio.square())).mean((1, 2))


@dataclass(frozen=True)
class Excess:
    """Reward, at most 0: minus the mean of max(0, g/limit − 1), how much too steep the cells are.

    It does not saturate as `Gentle` does, so a cliff between two plains is no way out: the same
    rise costs nothing as a ramp.
    """

    angle: float = 15.0  # degrees

    def __call__(
        self, media: Float[Tensor, "batch 3 h w"], prompts: Sequence[str]
    ) -> Float[Tensor, " batch"]:
        ratio = squared_slope(metres(media)) / grade(self.angle) ** 2
        return (1 - ratio.clamp(min=1).sqrt()).mean((1, 2))


@dataclass(frozen=True)
class Relief:
    """Reward in [0, 1]: std of the heights over a floor, cut at 1; the floor depends on difficulty.

    `floors` are (difficulty, metres), rising in difficulty; between them it is linear, outside
    them the nearest one holds.
    """

    floors: Sequence[tuple[float, float]]

    def floor(self, prompt: str) -> float:
        """The floor of a prompt in metres."""
        asked = difficulty(prompt)
        for (left, low), (right, high) in zip(self.floors, self.floors[1:]):
            if left <= asked <= right:
                return low + (high - low) * (asked - left) / (right - left)
        return self.floors[0][1] if asked < self.floors[0][0] else self.floors[-1][1]

    def __call__(
        self, media: Float[Tensor, "batch 3 h w"], prompts: Sequence[str]
    ) -> Float[Tensor, " batch"]:
        floors = media.new_tensor([self.floor(prompt) for prompt in prompts])
        return (spread(metres(media)) / floors).clamp(max=1)


def spread(heights: Heights) -> Float[Tensor, " batch"]:
    """Standard deviation of the heights in metres."""
    return heights.flatten(1).std(1, correction=0)


def height_spread(
    media: Float[Tensor, "batch 3 h w"], prompts: Sequence[str]
) -> Float[Tensor, " batch"]:
    """Judge, metres: standard deviation of the heights."""
    return spread(metres(media))


def mean_slope(
    media: Float[Tensor, "batch 3 h w"], prompts: Sequence[str]
) -> Float[Tensor, " batch"]:
    """Judge, degrees: mean slope of the cells (lower is gentler)."""
    return squared_slope(metres(media)).sqrt().atan().rad2deg().mean((1, 2))


# Judges at the scale of a vehicle: planes fitted to windows of 5 x 5 cells


@dataclass(frozen=True)
class Planes:
    """The least-squares plane of every window: its slope, and how far the cells are from it."""

    slope: Float[Tensor, "batch rows columns"]
    roughness: Float[Tensor, "batch rows columns"]  # metres, root mean square


def planes(heights: Heights, side: int = 5) -> Planes:
    """Closed form: with i, j counted from the middle, ∂h = Σ i·h / Σ i²; the rest is roughness."""
    place = (torch.arange(side).to(heights) - (side - 1) / 2).expand(side, side)
    size, weight = side**2, place.square().sum()
    ones = torch.ones_like(place)
    kernels = torch.stack([ones / size, place / weight, place.T / weight])[:, None]
    level = heights.double() - heights.double().mean((1, 2), keepdim=True)
    mean, across, along = F.conv2d(level[:, None], kernels.double()).unbind(1)
    square = F.avg_pool2d(level[:, None].square(), side, 1)[:, 0]
    explained = mean.square() + (across.square() + along.square()) * weight.double() / size
    rough = (square - explained).clamp(min=0).sqrt()
    slope = (across.square() + along.square()).sqrt() / CELL
    return Planes(slope.to(heights), rough.to(heights))


@dataclass(frozen=True)
class Vehicle:
    """What it can stand on: the plane under its 0.5 m, and how rough the ground is there."""

    angle: float = 15.0  # degrees
    roughness: float = 0.03  # metres

    def stands(self, heights: Heights) -> Bool[Tensor, "batch rows columns"]:
        ground = planes(heights)
        return (ground.slope <= grade(self.angle)) & (ground.roughness <= self.roughness)


@dataclass(frozen=True)
class Passable:
    """Judge in [0, 1]: share of places where the vehicle can stand."""

    vehicle: Vehicle = Vehicle()

    def __call__(
        self, media: Float[Tensor, "batch 3 h w"], prompts: Sequence[str]
    ) -> Float[Tensor, " batch"]:
        return self.vehicle.stands(metres(media)).float().mean((1, 2))


@dataclass(frozen=True)
class Crossing:
    """Judge, 0 or 1: can the vehicle go from the left edge to the right one?"""

    vehicle: Vehicle = Vehicle()

    def __call__(
        self, media: Float[Tensor, "batch 3 h w"], prompts: Sequence[str]
    ) -> Float[Tensor, " batch"]:
        reached = flooded(self.vehicle.stands(metres(media)))
        return reached[:, :, -1].any(1).float()


def flooded(free: Bool[Tensor, "batch rows columns"]) -> Bool[Tensor, "batch rows columns"]:
    """What is reached from the left edge through free cells, to the four sides."""
    reached = torch.zeros_like(free)
    reached[:, :, 0] = free[:, :, 0]
    while True:
        grown = reached.clone()
        grown[:, :, 1:] |= reached[:, :, :-1]
        grown[:, :, :-1] |= reached[:, :, 1:]
        grown[:, 1:] |= reached[:, :-1]
        grown[:, :-1] |= reached[:, 1:]
        grown &= free
        if torch.equal(grown, reached):
            return reached
        reached = grown


def roughness(
    media: Float[Tensor, "batch 3 h w"], prompts: Sequence[str]
) -> Float[Tensor, " batch"]:
    """Judge, metres: mean distance from the plane under 0.5 m; what is smaller than a vehicle."""
    return planes(metres(media)).roughness.mean((1, 2))


def shape_spread(
    media: Float[Tensor, "batch 3 h w"], prompts: Sequence[str]
) -> Float[Tensor, " batch"]:
    """Judge, metres: std of the heights without the plane of the whole field.

    A field that became one tilted plane keeps its spread and loses this.
    """
    heights = metres(media)
    return planes(heights, heights.shape[-1]).roughness[:, 0, 0]
