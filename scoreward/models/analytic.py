"""Exact denoisers for Gaussians and Gaussian mixtures: the oracles of every sampler and objective.

For data N(m, c I) and x_t = α x0 + σ ε everything is linear: E[x0 | x_t] = m + αc/(α²c + σ²)(x_t −
αm). A mixture weighs these by the posterior of its components.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scoreward.core.denoiser import Cond
from scoreward.core.prediction import Prediction, per_sample
from scoreward.core.process import Process


@dataclass(frozen=True)
class Mixture:
    """Σ_k w_k N(m_k, c_k I); one component is a Gaussian."""

    means: Float[Tensor, "components dim"]
    variances: Float[Tensor, " components"]
    weights: Float[Tensor, " components"]

    def posterior_mean(
        self, x_t: Float[Tensor, "batch dim"], alpha: Tensor, sigma: Tensor
    ) -> Float[Tensor, "batch dim"]:
        """E[x0 | x_t], with α and σ of shape [batch, 1]."""
        weight = self._log_joint(x_t, alpha, sigma).softmax(1)[..., None]
        gain = (alpha * self.variances / self._spread(alpha, sigma))[..., None]
        each = self.means + gain * (x_t[:, None] - alpha[..., None] * self.means)
        return (weight * each).sum(1)

    def log_density(
        self, x_t: Float[Tensor, "batch dim"], alpha: Tensor, sigma: Tensor
    ) -> Float[Tensor, " batch"]:
        """log p_t(x_t) in nats."""
        return self._log_joint(x_t, alpha, sigma).logsumexp(1)

    def sample(self, count: int, generator: torch.Generator) -> Float[Tensor, "count dim"]:
        """Draws of x0."""
        pick = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, self.means.shape[1], generator=generator, dtype=self.means.dtype)
        return self.means[pick] + self.variances[pick].sqrt()[:, None] * noise

    def _spread(self, alpha: Tensor, sigma: Tensor) -> Float[Tensor, "batch components"]:
        return alpha**2 * self.variances + sigma**2

    def _log_joint(
        self, x_t: Tensor, alpha: Tensor, sigma: Tensor
    ) -> Float[Tensor, "batch components"]:
        spread, dim = self._spread(alpha, sigma), self.means.shape[1]
        square = ((x_t[:, None] - alpha[..., None] * self.means) ** 2).sum(2)
        return self.weights.log() - 0.5 * (square / spread + dim * (2 * torch.pi * spread).log())


@dataclass(frozen=True)
class ExactDenoiser:
    """The denoiser of a mixture under a process: E[x0 | x_t] with the ε that goes with it."""

    data: Mixture
    process: Process

    def __call__(
        self, x_t: Float[Tensor, "batch dim"], t: Float[Tensor, " batch"], cond: Cond = None
    ) -> Prediction:
        time = per_sample(t, x_t)
        x0 = self.data.posterior_mean(x_t, self.process.alpha(time), self.process.sigma(time))
        return Prediction.of("x0", x0, x_t, t, self.process)


def gaussian(mean: Sequence[float] | Tensor, variance: float) -> Mixture:
    """N(mean, variance · I) in float64."""
    means = torch.as_tensor(mean, dtype=torch.float64)[None]
    one = torch.ones(1, dtype=torch.float64)
    return Mixture(means, variance * one, one)


class GaussianPolicy(nn.Module):
    """A trainable analytic model: velocity field of data N(mean(cond), c I), rectified flow.

    `cond` selects a row of `mean`. Rewards have known optima on it, so it is the toy on which every
    online method must learn.
    """

    def __init__(self, prompts: int, dim: int, variance: float = 0.25) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(prompts, dim))
        self.variance = variance

    def forward(
        self, x: Float[Tensor, "batch dim"], t: Float[Tensor, " batch"], cond: Tensor
    ) -> Float[Tensor, "batch dim"]:
        alpha, sigma = (1 - t)[:, None], t[:, None]
        mean = self.mean[cond.long()]
        centred = (x - alpha * mean) / (alpha**2 * self.variance + sigma**2)
        eps, x0 = sigma * centred, mean + alpha * self.variance * centred
        return eps - x0
