"""Losses on pairs of images, from four denoising errors: Diffusion-DPO and those built on it.

A pair shares its time and its noise, between its two images and between the two networks. The
error ℓ of an image is the mean of (prediction − target)² over its elements. All that a pair tells
is

    m = (ℓ_w − ℓ_l) − (ℓ_ref,w − ℓ_ref,l),

negative when the winner gained on the loser. Here β is that of the official Diffusion-DPO code,
where the logit of the preference is −½βm; `Convention` converts the β of other implementations.

[diffusion-dpo] Diffusion Model Alignment Using Direct Preference Optimization, arXiv 2311.12908
[flow-dpo] Improving Video Generation with Human Feedback, arXiv 2501.13918
[dmpo] Divergence Minimization Preference Optimization, arXiv 2507.07510
[smpo] Smoothed Preference Optimization via ReNoise Inversion, arXiv 2506.02698
[pnapo] Offline Preference Optimization for Rectified Flow, arXiv 2605.09433
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import cos, log, pi
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from scoreward.core.rows import Rows
from scoreward.losses.links import divergence
from scoreward.losses.pairs import positive, wide

PICK_LOW, PICK_HIGH = 0.11543526500463486, 0.28201571106910706  # range of PickScores, SmPO code


def mean_error(
    prediction: Float[Tensor, "batch *shape"], target: Float[Tensor, "batch *shape"]
) -> Float[Tensor, " batch"]:
    """ℓ: the mean of (prediction − target)² over the elements, in float32 or wider."""
    return (wide(prediction) - wide(target)).square().flatten(1).mean(1)


@dataclass(frozen=True)
class Errors(Rows):
    """Denoising errors ℓ of the pairs under the network that learns and under the reference."""

    winner: Float[Tensor, " batch"]
    loser: Float[Tensor, " batch"]
    ref_winner: Float[Tensor, " batch"]
    ref_loser: Float[Tensor, " batch"]

    @property
    def gap(self) -> Float[Tensor, " batch"]:
        """ℓ_w − ℓ_l of the network that learns."""
        return wide(self.winner) - wide(self.loser)

    @property
    def ref_gap(self) -> Float[Tensor, " batch"]:
        """ℓ_ref,w − ℓ_ref,l; no gradient reaches the reference."""
        return (wide(self.ref_winner) - wide(self.ref_loser)).detach()

    @property
    def margin(self) -> Float[Tensor, " batch"]:
        """m, in units of squared error; below 0 once the winner gained on the loser."""
        return self.gap - self.ref_gap


@dataclass(frozen=True)
class Convention:
    """How an implementation turns m into a logit: −factor · β · m.

    [diffusion-dpo] (conventions)
    """

    factor: float = 0.5
    sums: bool = False  # squared errors are summed over the elements instead of averaged

    def official(self, beta: float, elements: int) -> float:
        """The official β that gives the same logit; an image has so many `elements`."""
        positive(beta=beta, elements=float(elements))
        return 2 * self.factor * beta * (elements if self.sums else 1)

    def beta(self, official: float, elements: int) -> float:
        """The β to give to that implementation for the logit of an official β."""
        return official / self.official(1.0, elements)


Units = Literal[
    "official", "diffusers_sd", "diffusers_sdxl", "pseudo_code", "video_align", "flow_grpo"
]
"""Whose β it is.  [diffusion-dpo] (conventions)"""

CONVENTIONS: Mapping[str, Convention] = {
    "official": Convention(),  # β 2000 … 5000
    "diffusers_sd": Convention(factor=1.0),  # script for Stable Diffusion, β 2500
    "diffusers_sdxl": Convention(),  # script for SDXL, β 5000
    "pseudo_code": Convention(factor=1.0, sums=True),  # as printed in the Diffusion-DPO paper
    "video_align": Convention(sums=True),  # Flow-DPO as printed, β 500; no proof that runs sum
    "flow_grpo": Convention(),  # SD3.5-Medium, β 100
    "simple_tuner_sum": Convention(sums=True),  # its default, with an automatic β
    "simple_tuner_mean": Convention(),
    "diffusion_kto": Convention(factor=1.0),  # β 1000 … 5000
}


def diffusion_dpo(
    errors: Errors, beta: "float | Float[Tensor, ' batch']"
) -> Float[Tensor, " batch"]:
    """−log σ(−½βm); β 2000 (paper) or 5000 (code).  [diffusion-dpo] (loss)

    A β per pair carries weights of pairs or of times. The slope in ℓ_w is ½β σ(½βm), and minus
    that in ℓ_l; none reaches the reference. With equal networks the loss is log 2.
    """
    positive(beta=beta)
    return -logsigmoid(-0.5 * beta * errors.margin)


def diffusion_hinge(errors: Errors, beta: float) -> Float[Tensor, " batch"]:
    """max(0, 1 + βm); β 2500, as in diffusers' script, where the logit is −βm.

    [diffusion-dpo] (hinge)
    """
    positive(beta=beta)
    return torch.relu(1 + beta * errors.margin)


def diffusion_ipo(errors: Errors, beta: float) -> Float[Tensor, " batch"]:
    """(−m − 1/(2β))², what the script of diffusers intends.  [diffusion-dpo] (IPO)

    Its size is that of m², about 1e-7; `diffusion_ipo_scaled` is β² times as large.
    """
    positive(beta=beta)
    return (errors.margin + 0.5 / beta).square()


def diffusion_ipo_scaled(errors: Errors, beta: float) -> Float[Tensor, " batch"]:
    """(−βm − ½)²; β 2500.  [diffusion-dpo] (IPO scaled)"""
    positive(beta=beta)
    return (beta * errors.margin + 0.5).square()


def diffusion_dmpo(errors: Errors, beta: float, smooth: float = 0.01) -> Float[Tensor, " batch"]:
    """KL(Bernoulli(σ(u)) ‖ Bernoulli(1 − a)), u = −½βm, a = `smooth`.  [dmpo] (loss)

    The reverse KL: it is 0 at u = log((1 − a)/a) and below −log a if a < ½. β 2000 or 6000.
    """
    positive(beta=beta)
    if not 0 < smooth < 1:
        raise ValueError(f"`smooth` is a probability and must lie inside (0, 1), got {smooth}")
    return divergence(-0.5 * beta * errors.margin, smooth)


def metrics(errors: Errors, beta: float) -> dict[str, Tensor]:
    """Mean errors, how far the winner's is above the reference's, and how often the logit agrees.

    A logit of exactly 0 counts one half; the official code counts it as a disagreement.
    """
    logit = -0.5 * beta * errors.margin.detach()
    each = (errors.winner, errors.loser, errors.ref_winner, errors.ref_loser)
    winner, loser, ref_winner, ref_loser = (wide(error).detach().mean() for error in each)
    return {
        "error/current": (winner + loser) / 2,
        "error/reference": (ref_winner + ref_loser) / 2,
        "error/winner_ratio": winner / ref_winner,
        "implicit/logit": logit.mean(),
        "implicit/accuracy": ((logit.sign() + 1) / 2).mean(),
    }


# Weights of pairs: multiply β with them


def smpo_share(
    score_winner: Float[Tensor, " batch"],
    score_loser: Float[Tensor, " batch"],
    low: float = PICK_LOW,
    high: float = PICK_HIGH,
) -> Float[Tensor, " batch"]:
    """p: the winner's share in a softmax of two PickScores, scaled by their range.  [smpo] (p)"""
    if not low < high:
        raise ValueError(f"`low` must be below `high`, got {low} and {high}")
    return ((wide(score_winner) - wide(score_loser)) / (high - low)).sigmoid()


def smpo_scale(share: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """10(2p − 1), which multiplies β; of each pair, not the batch's first.  [smpo] (scale)

    The released code gives the whole micro-batch the weight of its first pair; we do not.
    """
    return 10 * (2 * wide(share) - 1)


def pnapo_scale(gap: Float[Tensor, " batch"], progress: float) -> Float[Tensor, " batch"]:
    """(2σ(δr) − 1) g, g falling as a cosine from 1 to ½ over training.  [pnapo] (scale)

    `gap` is the reward of the winner minus the loser's. The coefficient beside it has no ½: for
    their β give `diffusion_dpo` 2β times this.
    """
    if not 0 <= progress <= 1:
        raise ValueError(f"`progress` is a share of the training in [0, 1], got {progress}")
    return torch.tanh(wide(gap) / 2) * (0.75 + 0.25 * cos(pi * progress))


# Rectified flow


def noise_error(
    velocity_error: Float[Tensor, " batch"], t: Float[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """(1 − t)² ‖v̂ − v‖² = ‖ε̂ − ε‖² on x_t = (1 − t) x0 + t ε.  [flow-dpo] (identity)"""
    return (1 - t).square() * velocity_error


def flow_dpo(
    errors: Errors, beta: float, t: Float[Tensor, " batch"] | None = None
) -> Float[Tensor, " batch"]:
    """Diffusion-DPO on velocity errors, with β, or with β(1 − t)² if `t` is given.

    The second follows from the change of variables and is the worse one in the paper.
    [flow-dpo] (loss)
    """
    positive(beta=beta)
    return diffusion_dpo(errors, beta if t is None else beta * (1 - t).square())


@dataclass(frozen=True)
class AutomaticBeta:
    """β from a running mean of |m|, so that the slope σ(−logit) is about `target`.

    The bounds are for summed errors. SimpleTuner's rule.  [flow-dpo] (automatic beta)
    """

    decay: float = 0.99
    target: float = 0.2
    low: float = 1e-3
    high: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.target < 0.5:
            raise ValueError(f"`target` must lie inside (0, 0.5), got {self.target}")
        if not (0 <= self.decay < 1 and 0 < self.low <= self.high):
            raise ValueError(
                "expected 0 <= decay < 1 and 0 < low <= high, "
                f"got decay={self.decay}, low={self.low}, high={self.high}"
            )

    def track(self, average: float | None, margin: Float[Tensor, " batch"]) -> float:
        """The next running mean; the first is the batch's own (ours)."""
        size = margin.detach().abs().mean().item()
        return size if average is None else self.decay * average + (1 - self.decay) * size

    def beta(self, average: float) -> float:
        """−2 logit(target) / average, inside the bounds: ½β · average is the wanted logit."""
        wanted = 2 * log((1 - self.target) / self.target)
        return self.high if average <= wanted / self.high else max(wanted / average, self.low)
