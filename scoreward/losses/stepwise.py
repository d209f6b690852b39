"""Pairs of single reverse steps: D3PO, SPO and LPO share one clipped loss.

The policy is the Gaussian step of stochastic DDIM. Its log-density is *averaged* over the elements,
as in the released codes: β and the clip range only make sense with it.

[d3po] Using Human Feedback to Fine-tune Diffusion Models without Any Reward Model, arXiv 2311.13231
[spo] Step-by-step Preference Optimization, arXiv 2406.04314
[lpo] Diffusion Model as a Noise-Aware Latent Reward Model, arXiv 2502.01051
"""

from math import log1p

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from scoreward.core.gaussian import Gaussian
from scoreward.losses.pairs import positive, wide


def mean_log_prob(step: Gaussian, state: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
    """Log-density of the state a step went to, in nats per element.  [d3po] (log-probability)"""
    exact = Gaussian(wide(step.mean), wide(step.std))
    return exact.log_prob(wide(state)) / state[0].numel()


def clipped(log_ratio: Float[Tensor, " batch"], clip: float) -> Float[Tensor, " batch"]:
    """log clip(r, 1 − c, 1 + c) from log r; outside there is no gradient.  [d3po] (clip)"""
    if not 0 < clip < 1:
        raise ValueError(f"`clip` must lie inside (0, 1), got {clip}")
    return wide(log_ratio).clamp(log1p(-clip), log1p(clip))


def d3po(
    winner: Float[Tensor, " batch"],
    loser: Float[Tensor, " batch"],
    beta: float = 0.1,
    clip: float = 0.1,
) -> Float[Tensor, " batch"]:
    """−log σ(β log r_w − β log r_l), each r clipped; all steps of the better path win.

    `winner` and `loser` are log r, by `mean_log_prob` now minus the reference's.  [d3po] (loss)
    """
    positive(beta=beta)
    return -logsigmoid(beta * (clipped(winner, clip) - clipped(loser, clip)))


def spo(
    winner: Float[Tensor, " batch"],
    loser: Float[Tensor, " batch"],
    beta: float = 10.0,
    clip: float = 0.1,
) -> Float[Tensor, " batch"]:
    """The loss of `d3po`; winner and loser are candidates drawn from one x_t.  [spo] (loss)"""
    return d3po(winner, loser, beta, clip)


def lpo(
    winner: Float[Tensor, " batch"],
    loser: Float[Tensor, " batch"],
    beta: float = 500.0,
    clip: float = 0.1,
) -> Float[Tensor, " batch"]:
    """The loss of `spo`; the candidates are judged as latents.  [lpo] (loss)"""
    return d3po(winner, loser, beta, clip)


def spo_pairs(
    score: Float[Tensor, "batch candidates"], threshold: "float | Float[Tensor, ' batch']" = 0.3
) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"], Bool[Tensor, " batch"]]:
    """(best, worst, whether they differ enough to be a pair).  [spo] (pairs)

    They do if the softmax of the two scores differs by more than the threshold: 0.3 for SD1.5
    with 4 candidates, 0.4 for SDXL with 2.
    """
    if score.shape[1] < 2:
        raise ValueError(f"a pair needs at least 2 candidates, got {score.shape[1]}")
    (high, best), (low, worst) = wide(score).max(1), wide(score).min(1)
    return best, worst, torch.tanh((high - low) / 2) > threshold


def lpo_threshold(
    std: Float[Tensor, " batch"],
    stds: tuple[float, float],
    bounds: tuple[float, float] = (0.35, 0.5),
) -> Float[Tensor, " batch"]:
    """The threshold of a pair, linear in the std of the step it comes from.  [lpo] (threshold)

    `stds` are the smallest and the largest of the sampler, where it is `bounds`: (0.35, 0.5) for
    SD1.5, (0.45, 0.6) for SDXL.
    """
    least, most = stds
    if not least < most:
        raise ValueError(f"`stds` must be the smallest and the largest std, got {least} and {most}")
    low, high = bounds
    return low + (high - low) * ((wide(std) - least) / (most - least)).clamp(0, 1)
