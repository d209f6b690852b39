"""Exact laws of sampling chains on Gaussian data, and what several tests need beside them.

With an exact Gaussian denoiser every step is x_s = slope · x_t + shift + std · z, so the mean and
the variance of a whole chain follow without drawing anything. Each step's map is read off the
kernel by asking it about x = 0 and x = 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from scoreward.core.denoiser import Cond, Denoiser
from scoreward.core.kernel import Kernel
from scoreward.core.prediction import Prediction
from scoreward.core.process import VE, CosineVP, DiscreteVP, LinearVP, Process, RectifiedFlow
from scoreward.models.analytic import ExactDenoiser, gaussian

F64 = torch.float64
PROCESSES: tuple[Process, ...] = (RectifiedFlow(), LinearVP(), CosineVP(), DiscreteVP(), VE())
MEAN, VARIANCE = 0.7, 0.25  # the data of the tables


def real(*values: float) -> Tensor:
    return torch.tensor(values, dtype=F64)


@dataclass(frozen=True)
class VarianceClock(Process):
    """α = 1 and σ² = v = 80² t: steps in t are steps in the variance v."""

    top: float = 80.0

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return self.top * t.sqrt()

    def d_alpha(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def d_sigma(self, t: Tensor) -> Tensor:
        return 0.5 * self.top / t.sqrt()


@dataclass(frozen=True)
class Steps:
    """x_s = slope · x_t + shift + std · z for each step of a chain."""

    slope: Tensor
    shift: Tensor
    std: Tensor

    def push(self, mean: float, variance: float) -> tuple[float, float]:
        """Mean and variance after all steps."""
        triples = zip(self.slope.tolist(), self.shift.tolist(), self.std.tolist(), strict=True)
        for slope, shift, std in triples:
            mean, variance = slope * mean + shift, slope**2 * variance + std**2
        return mean, variance


def affine(kernel: Kernel, denoiser: Denoiser, times: Sequence[float]) -> Steps:
    """All steps of a one-step kernel at once: they don't depend on one another."""
    grid = torch.tensor(times, dtype=F64)
    t, s = (u.repeat_interleave(2) for u in (grid[:-1], grid[1:]))
    probe = real(0.0, 1.0).repeat(len(grid) - 1)[:, None]
    law, _ = kernel.step(partial(ask, denoiser), probe, t, s, None)
    at_0, at_1 = law.mean.reshape(-1, 2).unbind(1)
    return Steps(at_1 - at_0, at_0, law.std.reshape(-1, 2)[:, 0])


def ask(denoiser: Denoiser, x: Tensor, t: Tensor, cond: Cond = None) -> Prediction:
    return denoiser(x, t, cond)


def exact(process: Process, mean: float = MEAN, variance: float = VARIANCE) -> ExactDenoiser:
    return ExactDenoiser(gaussian([mean], variance), process)


def marginal(
    process: Process, t: float, mean: float = MEAN, variance: float = VARIANCE
) -> tuple[float, float]:
    """Mean and variance of x_t."""
    alpha, sigma = (f(real(t)).item() for f in (process.alpha, process.sigma))
    return alpha * mean, alpha**2 * variance + sigma**2


def one_pair(
    process: Process, x0: float, eps: float, t: float, dim: int = 1
) -> tuple[Prediction, Tensor, Tensor]:
    """(a prediction that knows x0 and ε, α_t, σ_t) at time t."""
    alpha, sigma = process.alpha(real(t)), process.sigma(real(t))
    clean, noise = torch.full((1, dim), x0, dtype=F64), torch.full((1, dim), eps, dtype=F64)
    return (
        Prediction(alpha * clean + sigma * noise, real(t), clean, noise, process),
        alpha,
        sigma,
    )


def line(top: float, bottom: float, steps: int) -> list[float]:
    """Evenly spaced times, both ends included."""
    return torch.linspace(top, bottom, steps + 1, dtype=F64).tolist()
