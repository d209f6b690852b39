"""Preferences between more than two answers: the likelihood of a whole ranking.

[pro] Preference Ranking Optimization for Human Alignment, arXiv 2306.17492. PRO also sets a
temperature for each place from gaps of rewards; that is left out.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.losses.pairs import wide


def ranking(score: Float[Tensor, "batch ranked"], beta: float = 1.0) -> Float[Tensor, " batch"]:
    """−Σ_k log softmax(β s_k … β s_n)_k for answers in order, best first.  [pro] (ranking)

    The law of Plackett and Luce: the best is chosen among all, the next among the rest, and so on.
    With two answers it is the logistic loss of their difference.
    """
    if score.shape[1] < 2:
        raise ValueError(f"a ranking needs at least two answers, got {score.shape[1]}")
    scaled = beta * wide(score)
    places = range(score.shape[1] - 1)
    return torch.stack([scaled[:, k:].logsumexp(1) - scaled[:, k] for k in places]).sum(0)
