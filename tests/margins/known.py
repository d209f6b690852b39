"""Three pairs of completions whose losses are known to six digits, and the same as tokens."""

from dataclasses import replace

import torch
from torch import Tensor

from scoreward.losses.pairs import Pairs

DIGITS = 5.1e-7  # half a unit of the sixth decimal


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def pairs() -> Pairs:
    """A, B and C; in C the policy is the reference."""
    return Pairs(
        logp_w=column(-42, -120, -20.25),
        logp_l=column(-58.5, -96, -33.75),
        len_w=torch.tensor([30, 80, 12]),
        len_l=torch.tensor([45, 50, 27]),
        ref_w=column(-45, -118, -20.25),
        ref_l=column(-57, -99, -33.75),
        entropy_w=column(0.04, 0.10, 0.02),
        entropy_l=column(0.06, 0.14, 0.03),
        score_w=column(0.17, 0.15, 0.20),
        score_l=column(0.12, 0.14, 0.05),
    )


def trained() -> Pairs:
    """The same, ready to be differentiated by the policy's log-probabilities."""
    known = pairs()
    return replace(
        known, logp_w=known.logp_w.requires_grad_(), logp_l=known.logp_l.requires_grad_()
    )


def single() -> Pairs:
    """The three pairs in float32."""
    known = pairs()
    return known._map(lambda v: v.float() if v.is_floating_point() else v)
