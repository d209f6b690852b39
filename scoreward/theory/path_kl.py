"""KL between the paths of two reverse processes with the same noise η and different scores.

In continuous time Girsanov's formula, on a grid the KL of one Gaussian step; the second tends to
the first. Quadrature rules that look alike differ by a factor of two at 50 steps, so a KL
coefficient belongs to the rule it was tuned with. `factor` also stands in the authors' public code.
"""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.theory.gaussian import F64, GaussianLaw, Levels, Number, marginals

NODES = 64  # 1e-12 relative, also over the whole of rectified flow
FAR = 1e15  # where σ/α is infinite; what is left beyond this clock is below 1e-15 nats


def factor(eta: Number) -> Tensor:
    """((1 + η²)/(2η))²: 1 at η = 1, 25/16 at ½ and at 2, infinite at 0.  [score-as-action] (K)"""
    square = torch.as_tensor(eta, dtype=F64) ** 2
    return (1 + square) ** 2 / (4 * square)


def step_weights(levels: Levels, eta: Number) -> Float[Tensor, "*sets steps"]:
    """KL of a generalised DDIM step per |Δε|², exact: (K_k).  [score-as-action] (step KL)

    (1 − r^(1+η²))²/(2 r² (1 − r^(2η²))); infinite at η = 0 and where r = 0, onto clean data.
    """
    power = torch.as_tensor(eta, dtype=F64)[..., None] ** 2
    log_ratio = levels.snr_ratio().log()
    lost = ((1 + power) * log_ratio).expm1() ** 2
    return lost / (-2 * (2 * log_ratio).exp() * (2 * power * log_ratio).expm1())


def log_snr_rule(levels: Levels, eta: Number) -> Float[Tensor, "*sets steps"]:
    """½ factor · Δ log(α²/σ²) per |Δε|², one quadrature of (K).  [score-as-action] (rules)"""
    return -factor(eta)[..., None] * levels.snr_ratio().log()


def score_rule(levels: Levels, eta: Number) -> Float[Tensor, "*sets steps"]:
    """½ factor · log(α_s²/α_t²)/σ_t² per |Δε|²: the left point, VP only.  [score-as-action] (rules)

    ∫ g² |Δs|² dt with g² dt = −d log α² and Δs = −Δε/σ; ValueError unless α² + σ² = 1.
    """
    if not torch.allclose(levels.alpha**2 + levels.sigma**2, torch.ones((), dtype=F64)):
        raise ValueError("the score rule holds for variance-preserving levels, α² + σ² = 1 only")
    alpha_t, sigma_t, alpha_s, _ = levels.steps()
    return factor(eta)[..., None] * (alpha_s.log() - alpha_t.log()) / sigma_t**2


def gaussian_path_kl(
    data: GaussianLaw, other: GaussianLaw, start: GaussianLaw, levels: Levels, eta: Number
) -> Float[Tensor, "*sets"]:
    """KL(P ‖ P′) of paths with the scores of two Gaussian data laws.  [score-as-action] (K)

    Both start from `start` and only the ends of the grid matter. In y with u = c + σ²/α² the
    scores differ by (Δm + (u′ − u)/u (y − m))/u′; the integral is Gauss–Legendre in a log clock.
    """
    power = torch.as_tensor(eta, dtype=F64)[..., None] ** 2
    lowest = torch.minimum(data.variance, other.variance)
    clock, width = _clock_nodes(lowest, levels)
    u, rival = (clock + (law.variance - lowest)[..., None] for law in (data, other))
    # under P, y − m has mean apart·√kept and variance u + excess·kept; finite also from α = 0
    alpha, total = levels.alpha[..., :1], marginals(data, levels)[..., :1]
    kept = torch.xlogy(power, alpha**2 / total * u).exp() * u / total
    apart = (start.mean - alpha * data.mean)[..., None, :]
    excess = start.variance[..., None] - total
    tilt = (other.variance - data.variance)[..., None] / u
    gap = (other.mean - data.mean)[..., None, :] + (tilt * kept.sqrt())[..., None] * apart
    squared = gap.square().sum(-1) + data.dim * tilt**2 * (u + excess * kept)
    return 0.5 * factor(eta) * (squared / rival**2 * width).sum(-1)


def same_variance_path_kl(
    data: GaussianLaw, other: GaussianLaw, levels: Levels, eta: Number
) -> Tensor:
    """Closed form when only the means differ: ½ factor |Δm|² (1/v_0 − 1/v_T).

    [score-as-action] (K); whatever the start, because the scores differ by the same everywhere.
    ValueError unless the variances are equal.
    """
    if not bool((data.variance == other.variance).all()):
        raise ValueError("the closed form needs equal variances; use gaussian_path_kl")
    total = marginals(data, levels)
    precision = levels.alpha**2 / total
    apart = (other.mean - data.mean).square().sum(-1)
    return 0.5 * factor(eta) * apart * (precision[..., -1] - precision[..., 0])


def _clock_nodes(lowest: Tensor, levels: Levels) -> tuple[Tensor, Tensor]:
    """Nodes of lowest + σ²/α² between the ends of the grid, and their weights; nodes come last."""
    alpha, sigma = levels.alpha[..., [0, -1]], levels.sigma[..., [0, -1]]
    ends = (lowest[..., None] + ((sigma / alpha) ** 2).clamp(max=FAR)).log()
    top, bottom = ends[..., :1], ends[..., 1:]
    place, weight = _legendre()
    nodes = (bottom + (top - bottom) * (place + 1) / 2).exp()
    return nodes, nodes * (top - bottom) / 2 * weight


@cache
def _legendre() -> tuple[Tensor, Tensor]:
    place, weight = np.polynomial.legendre.leggauss(NODES)
    return torch.from_numpy(place), torch.from_numpy(weight)
