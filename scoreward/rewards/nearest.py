"""How far pictures are from the nearest of many others."""

import torch
from jaxtyping import Float
from torch import Tensor


def least_distance(
    pictures: Float[Tensor, "batch values"],
    others: Float[Tensor, "n values"],
    squares: Float[Tensor, " n"],
) -> Float[Tensor, " batch"]:
    """L2 distance to the nearest of `others`, whose squared lengths are `squares`."""
    parts = []
    for chunk in pictures.split(256):
        # |a - b|² = |a|² - 2ab + |b|²; the last two are minimised by one matrix product
        least = torch.addmm(squares, chunk, others.T, alpha=-2).min(1).values
        parts.append((chunk.square().sum(1) + least).clamp(min=0).sqrt())
    return torch.cat(parts) if parts else pictures.new_zeros(0)
