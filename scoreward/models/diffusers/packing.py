"""Pictures as sequences of 2 × 2 patches, as FLUX and Qwen-Image take them."""

import torch
from jaxtyping import Float
from torch import Tensor


def packed(z: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch tokens four"]:
    """Latents to tokens, row by row; a token's entries are channel, row, column."""
    patches = z.unfold(2, 2, 2).unfold(3, 2, 2)  # batch channels rows columns 2 2
    return patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def unpacked(
    tokens: Float[Tensor, "batch tokens four"], height: int, width: int
) -> Float[Tensor, "batch channels height width"]:
    """The inverse of `packed`; height and width of the latents."""
    patches = tokens.unflatten(1, (height // 2, width // 2)).unflatten(-1, (-1, 2, 2))
    return patches.permute(0, 3, 1, 4, 2, 5).flatten(4, 5).flatten(2, 3)


def places(height: int, width: int, picture: int, like: Tensor) -> Float[Tensor, "tokens three"]:
    """(picture, row, column) of each token, for rotary positions; height and width in tokens."""
    rows = torch.arange(height, device=like.device).repeat_interleave(width)
    columns = torch.arange(width, device=like.device).repeat(height)
    numbers = torch.full_like(rows, picture)
    return torch.stack([numbers, rows, columns], 1).to(like)
