"""From a language model's logits to what the losses on pairs take.

Logits are aligned: those at a position predict the token at that position, so a causal model's
are shifted by one before they come here. `mask` is true on the completion's tokens. All numbers
are float32 or better, computed in pieces along the sequence to spare memory.
"""

from collections.abc import Callable
from math import log

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scoreward.losses.pairs import wide

PIECE = 256  # positions at a time, ours


def token_log_probs(
    logits: Float[Tensor, "batch length vocabulary"], token: Int[Tensor, "batch length"]
) -> Float[Tensor, "batch length"]:
    """log π of each token given those before it."""

    def piece(z: Tensor, at: Tensor) -> Tensor:
        return z.gather(-1, at[..., None])[..., 0] - z.logsumexp(-1)

    pieces = zip(logits.split(PIECE, 1), token.split(PIECE, 1), strict=True)
    return torch.cat([piece(wide(z), at) for z, at in pieces], dim=1)


def summed(
    value: Float[Tensor, "batch length"], mask: Bool[Tensor, "batch length"]
) -> Float[Tensor, " batch"]:
    """Sum over the completion; what is outside the mask may be anything, NaN included."""
    return value.masked_fill(~mask, 0).sum(1)


def length_desensitised(
    value: Float[Tensor, "batch length"],
    mask: Bool[Tensor, "batch length"],
    shared: Int[Tensor, " batch"],
    tail: float,
) -> Float[Tensor, " batch"]:
    """Sum in which tokens beyond the first `shared` count `tail` times.  [ld-dpo] (likelihood)

    `shared` is the length of the shorter completion of the pair. Use it for policy and reference.
    """
    if not 0 <= tail <= 1:
        raise ValueError(f"tokens of the tail count between 0 and 1 times, got {tail}")
    beyond = mask.cumsum(1) > shared[:, None]
    return summed(torch.where(beyond, tail * value, value), mask)


@torch.no_grad()
def entropies(
    logits: Float[Tensor, "batch length vocabulary"],
) -> Float[Tensor, "batch length"]:
    """Entropy of each next token over log of the vocabulary's size.  [mallows-po] (entropy)

    A padded vocabulary counts in full.
    """

    def entropy(z: Tensor) -> Tensor:
        return z.logsumexp(-1) - (z.softmax(-1) * z).sum(-1)

    return _each(logits, entropy) / log(logits.shape[-1])


@torch.no_grad()
def log_collisions(
    logits: Float[Tensor, "batch length vocabulary"],
) -> Float[Tensor, "batch length"]:
    """log Σ_v π(v)² of each next token.  [wpo] (weights)"""

    def collision(z: Tensor) -> Tensor:
        return (2 * z).logsumexp(-1) - 2 * z.logsumexp(-1)

    return _each(logits, collision)


def mean_entropy(
    logits: Float[Tensor, "batch length vocabulary"], mask: Bool[Tensor, "batch length"]
) -> Float[Tensor, " batch"]:
    """Mean of `entropies` over the completion; take the reference's logits."""
    return mean(entropies(logits), mask)


@torch.no_grad()
def on_policy_weight(
    logits: Float[Tensor, "batch length vocabulary"],
    token: Int[Tensor, "batch length"],
    mask: Bool[Tensor, "batch length"],
) -> Float[Tensor, " batch"]:
    """exp mean(log π(token) − log Σ_v π(v)²), the policy's.  [wpo] (weights)"""
    return mean(token_log_probs(logits, token) - log_collisions(logits), mask).exp()


def mean(
    value: Float[Tensor, "batch length"], mask: Bool[Tensor, "batch length"]
) -> Float[Tensor, " batch"]:
    """Mean over the completion."""
    return summed(value, mask) / mask.sum(1)


def _each(logits: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    return torch.cat([function(wide(z)) for z in logits.split(PIECE, 1)], dim=1)
