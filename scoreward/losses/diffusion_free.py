"""Losses on pairs of images that need no reference, and RainbowPO's components for diffusion.

[mapo] Margin-aware Preference Optimization without Reference, arXiv 2406.06424
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from scoreward.losses.diffusion import Errors
from scoreward.losses.pairs import positive, wide

SMALL = 1e-3  # below this the series of u/(e^u − 1) is exact in float64


def bounded_score(u: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """ψ(u) = u/(e^u − 1) for u ≥ 0: 1 at 0, falling to 0.  [mapo] (psi)

    T times a difference of two ψ near 1 needs every digit: with e^u − 1 in float32 the loss is off
    by 2 % at ℓ = 0.006. So this is u e^{−u} / (1 − e^{−u}) by `expm1`, which cannot overflow.
    """
    series = 1 - u / 2 + u.square() / 12
    away = torch.where(u < SMALL, torch.ones_like(u), u)
    return torch.where(u < SMALL, series, away * (-away).exp() / -(-away).expm1())


def mapo(
    winner: Float[Tensor, " batch"],
    loser: Float[Tensor, " batch"],
    beta: float = 0.1,
    scale: float = 0.5,
    steps: float = 1000.0,
) -> Float[Tensor, " batch"]:
    """ℓ_w − β log σ(T(ψ(sℓ_w) − ψ(sℓ_l))), as in the released code.  [mapo] (code)

    `scale` is s and `steps` is T; the defaults are those of the code.
    """
    positive(beta=beta, scale=scale, steps=steps)
    winner, loser = wide(winner), wide(loser)
    bracket = bounded_score(scale * winner) - bounded_score(scale * loser)
    return winner - beta * logsigmoid(steps * bracket)


def mapo_paper(
    winner: Float[Tensor, " batch"], loser: Float[Tensor, " batch"], beta: float = 128.0
) -> Float[Tensor, " batch"]:
    """ℓ_w − log σ(ψ(ℓ_w)^β − ψ(ℓ_l)^β) / β, if β is an exponent in the paper.  [mapo] (paper)

    This reading of the second version is unverified; the released code is `mapo`.
    """
    positive(beta=beta)
    winner, loser = wide(winner), wide(loser)
    bracket = bounded_score(winner) ** beta - bounded_score(loser) ** beta
    return winner - logsigmoid(bracket) / beta


def diffusion_orpo_as_coded(
    winner: Float[Tensor, " batch"], loser: Float[Tensor, " batch"], beta: float = 0.1
) -> Float[Tensor, " batch"]:
    """ℓ_w − β log σ(ℓ_w − ℓ_l), whose second term rewards a *worse* winner: only to compare with.

    A research project beside diffusers has it so; `diffusion_orpo` has the sign of the aim.
    [diffusion-dpo] (ORPO as coded)
    """
    positive(beta=beta)
    winner, loser = wide(winner), wide(loser)
    return winner - beta * logsigmoid(winner - loser)


def diffusion_orpo(
    winner: Float[Tensor, " batch"],
    loser: Float[Tensor, " batch"],
    beta: float = 0.1,
    sharpness: float = 1.0,
) -> Float[Tensor, " batch"]:
    """ℓ_w − β log σ(k(ℓ_l − ℓ_w)), k = `sharpness`.  [diffusion-dpo] (ORPO)"""
    positive(beta=beta, sharpness=sharpness)
    winner, loser = wide(winner), wide(loser)
    return winner - beta * logsigmoid(sharpness * (loser - winner))


def logistic(logit: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """−log σ(logit)."""
    return -logsigmoid(logit)


@dataclass(frozen=True)
class DiffusionRainbow:
    """RainbowPO's components on denoising errors: our extension, a hypothesis to test.

        x = −[(ℓ_w − ℓ_l) − α (ℓ_ref,w − ℓ_ref,l) − (1 − α) c] − (1 − α) γ
        L = f(φ ½β x) + λ ℓ_w                                        [diffusion-dpo] (rainbow)

    α = 1, φ = 1 and λ = 0 is Diffusion-DPO. Below 1 the pair's own gap, which is mostly about what
    the images show, no longer cancels; c, its mean over the batch, takes the common part away.
    """

    beta: float = 2000.0
    alpha: float = 1.0  # share of the reference
    gamma: float = 0.0  # target of the margin, in units of squared error; try 1e-4 … 5e-4
    sft: float = 0.0  # λ, weight of the winner's error
    link: Callable[[Tensor], Tensor] = logistic  # f, falling

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"`alpha` mixes in the reference and lies in [0, 1], got {self.alpha}")
        if self.sft < 0:
            raise ValueError(f"`sft` is a weight and must not be negative, got {self.sft}")

    def advantage(self, errors: Errors, centre: float = 0.0) -> Float[Tensor, " batch"]:
        """x, with c = `centre`."""
        mixed = errors.gap - self.alpha * errors.ref_gap
        return -mixed + (1 - self.alpha) * (centre - self.gamma)

    def __call__(
        self,
        errors: Errors,
        phi: Float[Tensor, " batch"] | None = None,
        centre: float = 0.0,
    ) -> Float[Tensor, " batch"]:
        """One loss per pair; `phi` None is 1, `centre` is the mean ℓ_ref,w − ℓ_ref,l or 0."""
        logit = 0.5 * self.beta * self.advantage(errors, centre)
        loss = self.link(logit if phi is None else phi * logit)
        return loss + self.sft * wide(errors.winner) if self.sft else loss


def dispersion_scale(
    rewards: Float[Tensor, "batch seeds"], floor: float = 1e-6
) -> Float[Tensor, " batch"]:
    """φ = −log V̂ / log 2, V̂ = V/(V + mean V), V the variance over seeds.  [diffusion-dpo] (phi)

    Ours: a prompt whose samples earn nearly the same gets a large φ, one with average variance 1.
    `floor` bounds V̂ below.
    """
    variance = wide(rewards).var(1, correction=0)
    total = variance + variance.mean()
    share = torch.where(total > 0, variance / total, torch.full_like(total, 0.5))
    return -share.clamp(min=floor).log() / log(2)
