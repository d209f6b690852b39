"""What needs whole predictions and not only their errors: DSPO, safeguarded DPO, InPO's noise.

[dspo] Direct Score Preference Optimization for Diffusion Model Alignment, ICLR 2025
[sdpo] Diffusion-SDPO: Safeguarded Direct Preference Optimization, arXiv 2511.03317
[inpo] Inversion Preference Optimization with Reparametrized DDIM, arXiv 2503.18454
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.rows import Rows
from scoreward.losses.diffusion import Errors, mean_error
from scoreward.losses.pairs import positive, wide


@dataclass(frozen=True)
class Predictions(Rows):
    """What two networks predict of a pair, and what they should; with ε the targets are one."""

    winner: Float[Tensor, "batch *shape"]
    loser: Float[Tensor, "batch *shape"]
    ref_winner: Float[Tensor, "batch *shape"]
    ref_loser: Float[Tensor, "batch *shape"]
    target_winner: Float[Tensor, "batch *shape"]
    target_loser: Float[Tensor, "batch *shape"]

    def errors(self) -> Errors:
        """The four ℓ of the pairs."""
        return Errors(
            mean_error(self.winner, self.target_winner),
            mean_error(self.loser, self.target_loser),
            mean_error(self.ref_winner, self.target_winner),
            mean_error(self.ref_loser, self.target_loser),
        )


def _doubt(predictions: Predictions, beta: float, through: bool) -> Float[Tensor, " batch"]:
    """1 − ρ = σ(½βm), with or without its gradient."""
    positive(beta=beta)
    doubt = (0.5 * beta * predictions.errors().margin).sigmoid()
    return doubt if through else doubt.detach()


def _like(value: Float[Tensor, " batch"], other: Float[Tensor, "batch *shape"]) -> Tensor:
    return value.reshape(-1, *[1] * (other.ndim - 1))


def dspo(
    predictions: Predictions, beta: float = 0.001, through: bool = True
) -> Float[Tensor, " batch"]:
    """mean ‖(ε̂_w − ε) − β(1 − ρ)(ε̂_w − ε̂_ref,w)‖², ρ = σ(−½βm).  [dspo] (SD1.5)

    As in the released code ρ passes gradients and the reference does not; `through=False` holds ρ.
    """
    doubt = beta * _doubt(predictions, beta, through)
    winner = wide(predictions.winner)
    moved = winner - wide(predictions.ref_winner).detach()
    target = wide(predictions.target_winner)
    return (winner - target - _like(doubt, moved) * moved).square().flatten(1).mean(1)


def dspo_sdxl(
    predictions: Predictions, beta: float = 5000.0, far: float = 0.1
) -> Float[Tensor, " batch"]:
    """The SDXL branch of the release, which looks experimental: only to compare.  [dspo] (SDXL)

    (1 − ρ)² mean ‖ε̂_w − ε̂_ref,w‖² where that mean is at least `far`, and (1 − ρ)² elsewhere.
    """
    doubt = _doubt(predictions, beta, through=True)
    moved = mean_error(predictions.winner, predictions.ref_winner.detach())
    return doubt.square() * torch.where(moved >= far, moved, torch.ones_like(moved))


def error_gradient(
    prediction: Float[Tensor, "batch *shape"], target: Float[Tensor, "batch *shape"]
) -> Float[Tensor, "batch n"]:
    """∂ℓ/∂prediction = 2 (prediction − target)/n, flat, without a graph."""
    away = (wide(prediction) - wide(target)).detach().flatten(1)
    return 2 * away / away.shape[1]


def both_gradients(predictions: Predictions, mu: float) -> tuple[Tensor, Tensor]:
    """g_A and g_B, the gradients of the winner's and of the loser's error in the output."""
    if not 0 <= mu <= 1:
        raise ValueError(f"`mu` must lie in [0, 1], got {mu}")
    return (
        error_gradient(predictions.winner, predictions.target_winner),
        error_gradient(predictions.loser, predictions.target_loser),
    )


def loser_scale(predictions: Predictions, mu: float = 0.9) -> Float[Tensor, " batch"]:
    """λ = clip((1 − μ)‖g_A‖²/⟨g_A, g_B⟩, 0, 1) where ⟨g_A, g_B⟩ > 0, else 1.  [sdpo] (lambda)

    g_A and g_B are the gradients of the winner's and the loser's error in the output. A step along
    λ g_B − g_A then lowers the winner's error at the rate of at least μ‖g_A‖², to first order.
    μ is 0.9 for SD1.5, 0.6 for SDXL, 0.2 with DSPO.
    """
    g_a, g_b = both_gradients(predictions, mu)
    overlap, size = (g_a * g_b).sum(1), g_a.square().sum(1)
    harmful = overlap > 0
    bound = (1 - mu) * size / torch.where(harmful, overlap, torch.ones_like(overlap))
    return torch.where(harmful, bound.clamp(0, 1), torch.ones_like(bound))


def released_loser_scale(
    predictions: Predictions, mu: float = 0.9, floor: float = 1e-9
) -> Float[Tensor, " batch"]:
    """One λ for all pairs of a batch, from the gradients of its mean errors.  [sdpo] (code)

    λ = clip((1 − μ)‖g_A‖²/(⟨g_A, g_B⟩ + floor), 0, 1). The floor of the release is not negligible:
    for eight pairs of Stable Diffusion 1.5 it lowers λ by 3e-4 of itself.
    """
    g_a, g_b = both_gradients(predictions, mu)
    overlap, size = ((g_a * g).sum() / len(g_a) ** 2 for g in (g_b, g_a))
    bound = ((1 - mu) * size / (overlap + floor)).clamp(0, 1)
    one = torch.ones_like(overlap)
    return torch.where(overlap > 0, bound, one).expand(len(g_a))


def damped(
    value: Float[Tensor, "batch *shape"], scale: Float[Tensor, " batch"]
) -> Float[Tensor, "batch *shape"]:
    """The same numbers, whose gradient is `scale` times as large.  [sdpo] (scale)"""
    kept = value.detach()
    return kept + _like(scale, value) * (value - kept)


def with_loser_scaled(errors: Errors, scale: Float[Tensor, " batch"]) -> Errors:
    """The same errors; the gradient through the loser's is `scale` times as large.  [sdpo] (scale)

    For any loss on pairs.
    """
    return replace(errors, loser=damped(errors.loser, scale))


def implied_noise(
    x_t: Float[Tensor, "batch *shape"],
    x0: Float[Tensor, "batch *shape"],
    alpha: Float[Tensor, " batch"],
    sigma: Float[Tensor, " batch"],
) -> Float[Tensor, "batch *shape"]:
    """ε = (x_t − α x0)/σ, the noise that an inverted image x_t contains.  [inpo] (noise)

    x_t comes from DDIM inversion of x0 with the current network. Each image has its own time; the
    released code takes the first image's for the whole batch.
    """
    if not (sigma > 0).all():
        raise ValueError("`sigma` must be above 0: at t = 0 a state holds no noise to be read off")
    x_t, x0 = wide(x_t), wide(x0)
    return (x_t - _like(alpha, x0) * x0) / _like(sigma, x0)
