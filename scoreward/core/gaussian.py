"""Isotropic Gaussians: the only densities the library needs.

A step of a sampler returns one of these. Whoever wants a sample draws it, whoever wants a
log-probability asks the same object, so the two cannot drift apart.
"""

from dataclasses import dataclass
from math import log, pi

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Gaussian:
    """N(mean, std² I) over everything but the batch axis; std = 0 is a point mass.

    >>> import torch
    >>> import scoreward as sw
    >>> law = sw.Gaussian(torch.zeros(2, 3), torch.full((2, 1), 0.5))
    >>> law.sample(torch.ones(2, 3)).tolist()
    [[0.5, 0.5, 0.5], [0.5, 0.5, 0.5]]
    """

    mean: Float[Tensor, "batch *shape"]
    std: Float[Tensor, "batch *ones"]

    def sample(self, noise: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
        """mean + std · noise."""
        return self.mean + self.std * noise

    def log_prob(self, x: Float[Tensor, "batch *shape"]) -> Float[Tensor, " batch"]:
        """Log-density in nats, summed (not averaged) over the event axes; needs std > 0."""
        z = (x - self.mean) / self.std
        nats = -0.5 * z**2 - self.std.log() - 0.5 * log(2 * pi)
        return nats.flatten(1).sum(1)

    def kl(self, other: "Gaussian") -> Float[Tensor, " batch"]:
        """KL(self ‖ other) in nats, for any two positive stds."""
        ratio = self.std / other.std
        shift = (self.mean - other.mean) / other.std
        nats = 0.5 * (ratio**2 + shift**2 - 1) - ratio.log()
        return nats.flatten(1).sum(1)
