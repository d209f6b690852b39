"""Gaussian policies: linear in features, or a network; bounded through a tanh.

A policy is (x [batch n], t [batch]) → law of the action. Linear ones are float64, networks keep
their own dtype and answer in that of the state.
"""

from collections.abc import Callable
from itertools import pairwise
from math import log

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scoreward.studies.control.normal import Law, Normal, Squashed

Features = Callable[[Tensor, Tensor], Tensor]
"""(x [batch n], t [batch]) → features [batch p]."""


def affine(x: Float[Tensor, "batch n"], t: Float[Tensor, " batch"]) -> Float[Tensor, "batch p"]:
    """(x, 1)."""
    return torch.cat([x, torch.ones_like(x[:, :1])], 1)


class LinearPolicy(nn.Module):
    """N(W φ(x, t), Σ) with Σ = F Fᵀ the same everywhere, F = diag(e^(log_var/2)) (I + lower).

    With affine features the last column of `weight` is the intercept, the others are the gain.
    """

    def __init__(
        self, size: int, actions: int, variance: float = 1.0, features: Features = affine
    ) -> None:
        super().__init__()
        if not variance > 0:
            raise ValueError(f"`variance` must be positive, got {variance}")
        self.features = features
        self.weight = nn.Parameter(torch.zeros(actions, size, dtype=torch.float64))
        self.log_var = nn.Parameter(torch.full((actions,), log(variance), dtype=torch.float64))
        self.lower = nn.Parameter(torch.zeros(actions, actions, dtype=torch.float64))

    def factor(self) -> Float[Tensor, "m m"]:
        """Lower-triangular F; its diagonal is the std for uncorrelated actions."""
        std = (0.5 * self.log_var).exp()
        return std[:, None] * (torch.eye(len(std)).to(std) + self.lower.tril(-1))

    def forward(self, x: Float[Tensor, "batch n"], t: Float[Tensor, " batch"]) -> Normal:
        return Normal(self.features(x, t) @ self.weight.T, self.factor()[None])


class NetworkPolicy(nn.Module):
    """N(network(x, t), diag e^(log_var)), log_var the same everywhere.

    `network` maps [batch n+1], the state with the time appended, to [batch m].
    """

    def __init__(self, network: nn.Module, actions: int, variance: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.log_var = nn.Parameter(torch.full((actions,), log(variance)))

    def forward(self, x: Float[Tensor, "batch n"], t: Float[Tensor, " batch"]) -> Normal:
        seen = torch.cat([x, t[:, None]], 1).to(self.log_var.dtype)
        std = (0.5 * self.log_var).exp().to(x.dtype)
        return Normal(self.network(seen).to(x.dtype), torch.diag(std)[None])


class Bounded(nn.Module):
    """A Gaussian policy whose actions are squashed into (low, high)."""

    def __init__(self, base: nn.Module, low: float, high: float) -> None:
        super().__init__()
        if not low < high:
            raise ValueError(f"expected low < high, got {low} and {high}")
        self.base, self.low, self.high = base, low, high

    def forward(self, x: Float[Tensor, "batch n"], t: Float[Tensor, " batch"]) -> Squashed:
        return Squashed(self.base(x, t), self.low, self.high)


def mean_action(policy: Callable[[Tensor, Tensor], Law]) -> Callable[[Tensor, Tensor], Normal]:
    """The policy without its exploration: a point mass at `sample` of zero noise."""

    def point(x: Tensor, t: Tensor) -> Normal:
        law = policy(x, t)
        base = law.base if isinstance(law, Squashed) else law
        if not isinstance(base, Normal):
            raise ValueError(f"expected a Gaussian policy, got a law of type {type(law).__name__}")
        action = law.sample(torch.zeros_like(base.mean))
        return Normal(action, action.new_zeros(1, action.shape[1], action.shape[1]))

    return point


def mlp(inputs: int, outputs: int, width: int = 64, depth: int = 2) -> nn.Sequential:
    """A tanh network whose last layer starts at a hundredth of its size; ours."""
    sizes = [inputs, *[width] * depth]
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.Tanh()]
    last = nn.Linear(sizes[-1], outputs)
    with torch.no_grad():
        last.weight.mul_(0.01)
        last.bias.zero_()
    return nn.Sequential(*layers, last)
