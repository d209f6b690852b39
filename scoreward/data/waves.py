"""Places as numbers a network can compare: cosines and sines of several periods."""

from math import pi

import torch
from jaxtyping import Float
from torch import Tensor


def place_waves(pixels: Float[Tensor, " places"], width: int) -> Float[Tensor, "places width"]:
    """Cosines and sines of a place in pixels, with periods from 8 to 128 pixels."""
    periods = 8 * 16 ** (torch.arange(width // 2) / max(1, width // 2 - 1))
    angle = 2 * pi * pixels[:, None] / periods
    return torch.cat([angle.cos(), angle.sin()], -1)
