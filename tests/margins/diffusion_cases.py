"""Three pairs, and eight-element images: errors with losses that were worked out elsewhere."""

import torch
from torch import Tensor

from scoreward.losses.diffusion import Errors
from scoreward.losses.diffusion_tensors import Predictions

F64 = torch.float64
WINNER = (0.1210, 0.0840, 0.1500)
LOSER = (0.1305, 0.0790, 0.1650)
REF_WINNER = (0.1213, 0.0838, 0.1500)
REF_LOSER = (0.1302, 0.0797, 0.1650)


def real(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


def three_pairs(dtype: torch.dtype = F64) -> Errors:
    """m = −0.0006, 0.0009, 0."""
    each = (WINNER, LOSER, REF_WINNER, REF_LOSER)
    return Errors(*(torch.tensor(values, dtype=dtype) for values in each))


def with_margin(m: Tensor) -> Errors:
    """Pairs with this m and small errors."""
    base = torch.full_like(m, 0.1)
    return Errors(base + m.clamp(min=0), base + (-m).clamp(min=0), base, base)


def eight_elements(dtype: torch.dtype = F64) -> Predictions:
    """One pair of images 2 × 4 whose noise is sin(k + 1)."""
    k = torch.arange(8, dtype=F64)
    noise = (k + 1).sin()
    parts = [
        noise + 0.10 * k.cos(),
        noise + 0.12 * (2 * k + 1).cos(),
        noise + 0.11 * (k + 0.3).cos(),
        noise + 0.115 * (2 * k + 1.2).cos(),
        noise,
        noise,
    ]
    return Predictions(*(part.to(dtype).reshape(1, 2, 4) for part in parts))
