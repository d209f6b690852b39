"""What policy-gradient objectives do with a log-ratio."""

import torch
from jaxtyping import Float
from torch import Tensor


def clipped_gain(
    log_ratio: Float[Tensor, " batch"],
    advantage: Float[Tensor, " batch"],
    clip: float | None,
) -> Float[Tensor, " batch"]:
    """min(ρA, clip(ρ, 1 − ε, 1 + ε)A) of each row; None leaves ρ alone.  [ppo] (7)"""
    ratio = log_ratio.exp()
    gain = ratio * advantage
    if clip is None:
        return gain
    return torch.minimum(gain, ratio.clamp(1 - clip, 1 + clip) * advantage)


def clipped_surrogate(
    log_ratio: Float[Tensor, " batch"],
    advantage: Float[Tensor, " batch"],
    clip: float | None,
) -> Float[Tensor, ""]:
    """−E of the clipped gain.  [ppo] (7)"""
    return -clipped_gain(log_ratio, advantage, clip).mean()


def ratio_metrics(
    log_ratio: Float[Tensor, " batch"], advantage: Float[Tensor, " batch"], clip: float | None
) -> dict[str, Tensor]:
    """Mean, extremes and the fractions whose gradient the clip removes, above and below."""
    ratio, bound = log_ratio.detach().exp(), float("inf") if clip is None else clip
    above = (ratio > 1 + bound) & (advantage > 0)
    below = (ratio < 1 - bound) & (advantage < 0)
    return {
        "ratio/mean": ratio.mean(),
        "ratio/min": ratio.min(),
        "ratio/max": ratio.max(),
        "clip/above": above.to(ratio).mean(),
        "clip/below": below.to(ratio).mean(),
    }
