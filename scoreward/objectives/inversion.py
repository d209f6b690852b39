"""A picture taken back to its noise by a network: DDIM inversion, and ReNoise.

Both walk from clean data to the picture's own time in equal steps. DDIM inversion takes the
network's ε at the start of a step for the whole step; ReNoise asks again at the state it would
arrive at, and goes on from the beginning of the step with the mean of what it heard.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.denoiser import Cond, Denoiser
from scoreward.margins.diffusion_tensors import implied_noise
from scoreward.prediction import per_sample
from scoreward.process import Process

NEAR = 1e-3  # the network is not asked about times below this, which it has not seen


@torch.no_grad()
def inverted(
    x0: Float[Tensor, "batch *shape"],
    t: Float[Tensor, " batch"],
    cond: Cond,
    network: Denoiser,
    process: Process,
    steps: int = 10,
    passes: int = 0,
) -> Float[Tensor, "batch *shape"]:
    """x_t of each picture at its own time; `passes` further answers per step are ReNoise."""
    if not len(x0):
        return x0
    x, before = x0, torch.zeros_like(t)
    for k in range(1, steps + 1):
        after = t * (k / steps)
        eps = network(x, before.clamp(min=NEAR), cond).eps
        heard = []
        for _ in range(passes):
            heard.append(network(moved(x, eps, before, after, process), after, cond).eps)
            eps = torch.stack(heard).mean(0)
        x, before = moved(x, eps, before, after, process), after
    return x


def moved(
    x: Tensor, eps: Tensor, t: Tensor, s: Tensor, process: Process
) -> Float[Tensor, "batch *shape"]:
    """x_s = α_s (x_t − σ_t ε)/α_t + σ_s ε.  [ddim] (12)"""
    (alpha, sigma), (alpha_s, sigma_s) = (
        process.coefficients(per_sample(time, x)) for time in (t, s)
    )
    return alpha_s * (x - sigma * eps) / alpha + sigma_s * eps


def noise_inside(
    x_t: Tensor, x0: Tensor, t: Tensor, process: Process
) -> Float[Tensor, "batch *shape"]:
    """The ε with which x0 becomes x_t.  [inpo] (noise)"""
    return implied_noise(x_t, x0, *process.coefficients(t)).to(x0)
