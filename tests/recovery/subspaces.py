"""Data on six known subspaces, with the exact denoiser of its compression: an end-to-end oracle.

Every component is a Gaussian on four coordinates, so y = A x is a mixture of Gaussians of rank four
in m dimensions and E[y0 | y_t] has a closed form. Random numbers come from numpy's RandomState,
whose streams do not change.
"""

from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.chain import Sampler, draw
from scoreward.core.denoiser import Cond
from scoreward.core.kernel import Heun
from scoreward.core.keys import Key
from scoreward.core.prediction import Prediction
from scoreward.core.process import LinearVP, Process
from scoreward.models.compressed.guarantees import isometry_on

D, KINDS, NONZERO, STOP = 64, 6, 4, 1e-3
PROCESS = LinearVP(0.1, 20.0)


@dataclass(frozen=True)
class Subspaces:
    """supports [6, 4], means [6, 4], variances [6, 4] of equally likely components."""

    supports: np.ndarray
    means: np.ndarray
    variances: np.ndarray

    def points(self, count: int, seed: int) -> Tensor:
        r = np.random.RandomState(seed)
        labels, x = r.choice(KINDS, count, p=[1 / KINDS] * KINDS), np.zeros((count, D))
        for k in range(KINDS):
            rows = np.flatnonzero(labels == k)
            drawn = r.randn(len(rows), NONZERO)
            x[np.ix_(rows, self.supports[k])] = self.means[k] + np.sqrt(self.variances[k]) * drawn
        return torch.from_numpy(x)

    def unions(self) -> list[list[int]]:
        """Supports of differences of two points."""
        sets = [set(row.tolist()) for row in self.supports]
        return [sorted(a | b) for a, b in combinations(sets, 2)] + [sorted(a) for a in sets]


def subspaces() -> Subspaces:
    r = np.random.RandomState(3)
    supports = np.stack([np.sort(r.permutation(D)[:NONZERO]) for _ in range(KINDS)])
    means = np.stack([np.sign(r.randn(NONZERO)) * (1.5 + r.rand(NONZERO)) for _ in range(KINDS)])
    variances = np.stack([0.05 + 0.2 * r.rand(NONZERO) for _ in range(KINDS)])
    return Subspaces(supports, means, variances)


def operator(m: int) -> Float[Tensor, "m 64"]:
    return torch.from_numpy(np.random.RandomState(5).randn(m, D) / m**0.5)


@dataclass(frozen=True)
class ExactLatent:
    """E[y0 | y_t] of y = A x; Woodbury keeps every solve at rank four."""

    data: Subspaces
    matrix: Tensor
    process: Process = PROCESS

    def __call__(self, x_t: Tensor, t: Tensor, cond: Cond = None) -> Prediction:
        alpha, sigma = self.process.coefficients(t[:1])
        means, logs = [], []
        for support, mean, variance in zip(
            self.data.supports, self.data.means, self.data.variances
        ):
            a = self.matrix[:, torch.from_numpy(support)]
            mean, precision = torch.from_numpy(mean), torch.from_numpy(1 / variance).diag()
            away = x_t - alpha * mean @ a.T
            inner = precision + (alpha / sigma) ** 2 * a.T @ a  # of the coefficients given y_t
            pull = alpha / sigma**2 * torch.linalg.solve(inner, (away @ a).T).T
            means.append((mean + pull) @ a.T)
            square = (away.square().sum(1) - (alpha * (away @ a) * pull).sum(1)) / sigma**2
            size = torch.logdet(inner) - torch.logdet(precision)
            logs.append(-0.5 * (square + size))
        weight = torch.stack(logs, 1).softmax(1)
        x0 = (weight[..., None] * torch.stack(means, 1)).sum(1)
        return Prediction.of("x0", x0, x_t, t, self.process)


def grid(steps: int) -> tuple[float, ...]:
    """Falling from 1 to STOP; squares of an even grid."""
    root = np.linspace(1.0, STOP**0.5, steps + 1)
    return tuple((root**2).tolist())


def upward(x: Tensor, matrix: Tensor, steps: int) -> Tensor:
    """The noise at t = 1 that belongs to each x: noised to STOP, then the probability-flow ODE.

    By Heun; samplers of the library only go down.
    """
    denoiser, y = ExactLatent(subspaces(), matrix), x @ matrix.T
    noise = torch.from_numpy(np.random.RandomState(77).randn(*y.shape))
    alpha, sigma = PROCESS.coefficients(torch.tensor([STOP], dtype=torch.float64))
    y, times = alpha * y + sigma * noise, grid(steps)[::-1]

    def velocity(at: Tensor, t: float) -> Tensor:
        return denoiser(at, at.new_full((len(at),), t)).as_("velocity")

    for t, s in pairwise(times):
        slope = velocity(y, t)
        end = velocity(y + (s - t) * slope, s)
        y = y + (s - t) * (slope + end) / 2
    return y


def sampled(noise: Tensor, matrix: Tensor, steps: int) -> Tensor:
    """Latents that `steps` Heun steps make of noise, then one step onto E[y | y_t]."""
    denoiser, times = ExactLatent(subspaces(), matrix), grid(steps)
    keys = [Key(("unused",))] * len(noise)
    last = draw(Sampler(times, (Heun(),) * steps), denoiser, noise, keys, None)
    return denoiser(last, last.new_full((len(last),), STOP)).x0


def rms(error: Tensor) -> float:
    return float(error.square().sum(1).mean().sqrt())


def delta(matrix: Tensor) -> float:
    return isometry_on(matrix, subspaces().unions()).lower
