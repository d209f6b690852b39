"""Gaussians with any covariance: the law of mean + factor · z for standard normal z.

A step of a controlled SDE is one, and so is the action of a Gaussian policy. Whoever wants a sample
draws it, whoever wants a density asks the same object. `Squashed` is one seen through a tanh.
"""

from dataclasses import dataclass
from math import log, pi
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor


@runtime_checkable
class Law(Protocol):
    """A random vector whose density is known; `sample` turns standard normal noise into it."""

    def sample(self, noise: Tensor) -> Tensor: ...
    def log_prob(self, x: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Normal:
    """N(mean, F Fᵀ), F = `factor`; a factor with one row is shared by the batch.

    Sampling works for every factor, also 0 and non-square; densities need a square lower-triangular
    one with a positive diagonal.
    """

    mean: Float[Tensor, "batch n"]
    factor: Float[Tensor, "rows n j"]

    def sample(self, noise: Float[Tensor, "batch j"]) -> Float[Tensor, "batch n"]:
        """mean + factor · noise."""
        return self.mean + (self.factor * noise[:, None, :]).sum(-1)

    def log_prob(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, " batch"]:
        """Log-density in nats."""
        z = _solve(self.factor, x - self.mean)
        return -0.5 * (z**2).sum(-1) - self._log_det() - 0.5 * log(2 * pi) * x.shape[1]

    def kl(self, other: "Normal") -> Float[Tensor, " batch"]:
        """KL(self ‖ other) in nats, in closed form."""
        shift = _solve(other.factor, self.mean - other.mean)
        spread = torch.linalg.solve_triangular(other.factor, self.factor, upper=False)
        size = self.mean.shape[1]
        quadratic = (shift**2).sum(-1) + (spread**2).sum((-2, -1)) - size
        return 0.5 * quadratic + other._log_det() - self._log_det()

    def entropy(self) -> Float[Tensor, " rows"]:
        """Differential entropy in nats; one number where the factor is shared."""
        return self._log_det() + 0.5 * (1 + log(2 * pi)) * self.mean.shape[1]

    def _log_det(self) -> Tensor:
        return self.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _solve(factor: Tensor, shift: Tensor) -> Tensor:
    """F⁻¹ shift for each row; one call for all rows where the factor is shared."""
    if factor.shape[-1] == 1:
        return shift / factor[..., 0]
    if len(factor) == 1:
        return torch.linalg.solve_triangular(factor[0], shift.T, upper=False).T
    return torch.linalg.solve_triangular(factor, shift[..., None], upper=False)[..., 0]


@dataclass(frozen=True)
class Squashed:
    """a = middle + half · tanh(u) for a Gaussian u: actions strictly between two bounds.

    A bijection leaves KL unchanged, so it stays in closed form; the entropy does not.
    """

    base: Normal
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise ValueError(f"expected low < high, got {self.low} and {self.high}")

    def sample(self, noise: Float[Tensor, "batch j"]) -> Float[Tensor, "batch n"]:
        """A point strictly inside the bounds, up to rounding."""
        return self._middle + self._half * torch.tanh(self.base.sample(noise))

    def log_prob(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, " batch"]:
        """Exact log-density in nats; points within 1e-15 of a bound are moved inside."""
        share = ((x - self._middle) / self._half).clamp(-1 + 1e-15, 1 - 1e-15)
        u = torch.atanh(share)
        # log(1 − tanh²u) = 2 (log 2 − u − softplus(−2u)), stable for large |u|
        slope = 2 * (log(2) - u - torch.nn.functional.softplus(-2 * u))
        return self.base.log_prob(u) - (slope + log(self._half)).sum(-1)

    def kl(self, other: "Squashed") -> Float[Tensor, " batch"]:
        """KL(self ‖ other) in nats; both must have the same bounds."""
        if (self.low, self.high) != (other.low, other.high):
            raise ValueError("KL between squashed laws needs the same bounds on both sides")
        return self.base.kl(other.base)

    @property
    def _middle(self) -> float:
        return 0.5 * (self.low + self.high)

    @property
    def _half(self) -> float:
        return 0.5 * (self.high - self.low)
