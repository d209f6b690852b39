"""Diffusion-KTO: every image alone is desirable or not, and utility is measured from a reference.

[diffusion-kto] Aligning Diffusion Models by Optimizing Human Utility, arXiv 2404.04465
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from scoreward.losses.pairs import positive, wide


def gain(
    current: Float[Tensor, " batch"], reference: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """g = −(ℓ − ℓ_ref): above 0 where the network denoises better than the reference."""
    return wide(reference).detach() - wide(current)


def reference_point(gains: Float[Tensor, " everyone"]) -> Float[Tensor, ""]:
    """z = max(0, mean g), without a gradient.  [diffusion-kto] (reference point)

    It must see the gains of the whole batch, of all processes and accumulation steps.
    """
    return wide(gains).detach().mean().clamp(min=0)


def neutral(value: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """U = σ, which bends both ways; the default of the paper.  [diffusion-kto] (sigmoid)"""
    return value.sigmoid()


def loss_averse(value: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """U = log σ: what is already good hardly counts.  [diffusion-kto] (loss-averse)"""
    return logsigmoid(value)


def risk_seeking(value: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """U = −log σ(−·): what is bad hardly counts, and the loss has no floor.

    [diffusion-kto] (risk-seeking)
    """
    return -logsigmoid(-value)


def diffusion_kto(
    gains: Float[Tensor, " batch"],
    point: Float[Tensor, ""],
    desirable: Bool[Tensor, " batch"],
    beta: float = 5000.0,
    utility: Callable[[Tensor], Tensor] = neutral,
    weight: "float | Float[Tensor, ' batch']" = 1.0,
) -> Float[Tensor, " batch"]:
    """w (1 − U(±β(g − z))), + for desirable images.  [diffusion-kto] (loss)

    β is 5000 in the paper and 1000 in the released script; that of Diffusion-DPO would be 2β.
    """
    positive(beta=beta)
    sign = torch.where(desirable, 1.0, -1.0).to(gains)
    return weight * (1 - utility(sign * beta * (wide(gains) - point.detach())))
