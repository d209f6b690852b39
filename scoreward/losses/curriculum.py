"""Curriculum-DPO: easy pairs, those with a large gap in reward, come first.

[curriculum-dpo] Curriculum Direct Preference Optimization, arXiv 2405.13637
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def curriculum(
    gap: Float[Tensor, " pairs"],
    update: int,
    chunks: int = 6,
    every: int = 500,
    least: float = 0.02,
) -> Int[Tensor, " open"]:
    """Which pairs are open at an update, largest gap first.  [curriculum-dpo] (schedule)

    Pairs with a gap below `least` are never used (0.02 for rewards of text or people, 0.2 for the
    aesthetic score). The rest is cut into chunks of equal size (ours: the cut was not verified);
    one more opens after each `every` updates, and those already open stay.
    """
    if update < 0 or chunks < 1 or every < 1:
        raise ValueError(
            "expected update >= 0, chunks >= 1 and every >= 1, "
            f"got update={update}, chunks={chunks}, every={every}"
        )
    order = torch.argsort(gap, descending=True, stable=True)
    order = order[gap[order] >= least]
    share = min(update // every + 1, chunks)
    return order[: -(-len(order) * share // chunks)]
