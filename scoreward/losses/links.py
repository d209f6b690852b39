"""Link functions: the loss of one pair as a function of its logit z.

A link falls where the winner is ahead (z > 0). Each has its derivative beside it, and both stay
finite for |z| up to 1e4 in float32: no sigmoid is formed before its logarithm, and exponentials
that would overflow are continued by their tangent.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp, log, log1p, pi
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

LARGEST = 30.0  # e^z is continued by its tangent above this exponent, ours
SATURATED = 5.0  # |z| beyond which σ(−|z|) is below 0.7 %: such a pair teaches nothing more; ours


def tangent_exp(z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
    """e^z up to z = 30, its tangent there from then on: convex, smooth, finite."""
    return z.clamp(max=LARGEST).exp() * (1 + (z - LARGEST).clamp(min=0))


def saturated(z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
    """1 where |z| > 5: the link is as good as straight or flat there, before anything is learnt."""
    return (z.abs() > SATURATED).to(z)


def tangent_expm1(z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
    """tangent_exp(z) − 1 without loss of digits near 0."""
    return z.clamp(max=LARGEST).expm1() + exp(LARGEST) * (z - LARGEST).clamp(min=0)


def log1m_exp(u: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
    """log(1 − e^u) for u < 0; values above −1e-7 count as −1e-7."""
    u = u.clamp(max=-1e-7)
    half = -0.6931471805599453  # each branch is exact on its side of −ln 2
    near = (-u.clamp(min=half).expm1()).log()
    far = (-u.clamp(max=half).exp()).log1p()
    return torch.where(u > half, near, far)


def divergence(z: Float[Tensor, " *shape"], flip: float) -> Float[Tensor, " *shape"]:
    """KL from (σ(z), σ(−z)) to labels (1 − ε, ε) of which a share ε = `flip` is wrong.

    It is 0 at z = log((1 − ε)/ε); [exo] and [dmpo] train it.
    """
    ahead = z.sigmoid() * (logsigmoid(z) - log1p(-flip))
    return ahead + (-z).sigmoid() * (logsigmoid(-z) - log(flip))


@runtime_checkable
class Link(Protocol):
    """A loss of the logit, and its derivative."""

    def __call__(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]: ...

    def slope(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]: ...


@dataclass(frozen=True)
class Logistic:
    """−log σ(z).  [dpo] (link)"""

    def __call__(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        return -logsigmoid(z)

    def slope(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        """−σ(−z)"""
        return -torch.sigmoid(-z)


@dataclass(frozen=True)
class SmoothedLogistic:
    """(1−ε)(−log σ(z)) + ε(−log σ(−z)): a share ε of the labels is wrong.  [cdpo] (loss)"""

    flip: float

    def __post_init__(self) -> None:
        _check_flip(self.flip)

    def __call__(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        return -(1 - self.flip) * logsigmoid(z) - self.flip * logsigmoid(-z)

    def slope(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        """σ(z) − (1−ε)"""
        return torch.sigmoid(z) - (1 - self.flip)


@dataclass(frozen=True)
class Robust:
    """[(1−ε)(−log σ(z)) − ε(−log σ(−z))] / (1−2ε).  [robust-dpo] (loss)

    Unbiased when a share ε of the labels was flipped; it has no lower bound.
    """

    flip: float

    def __post_init__(self) -> None:
        _check_flip(self.flip)

    def __call__(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        kept, flipped = -logsigmoid(z), -logsigmoid(-z)
        return ((1 - self.flip) * kept - self.flip * flipped) / (1 - 2 * self.flip)

    def slope(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        """σ(z) − (1−ε)/(1−2ε)"""
        return torch.sigmoid(z) - (1 - self.flip) / (1 - 2 * self.flip)


@dataclass(frozen=True)
class Square:
    """(z − target)²; ½ on the logit βΔ, 1/(2τ) on Δ itself.  [ipo] (loss)"""

    target: float = 0.5

    def __call__(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        return (z - self.target).square()

    def slope(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        """2(z − target)"""
        return 2 * (z - self.target)


@dataclass(frozen=True)
class Hinge:
    """max(0, δ − z).  [slic] (loss)"""

    width: float = 1.0

    def __call__(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        return (self.width - z).clamp(min=0)

    def slope(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        """−1 where z < δ"""
        return -(z < self.width).to(z)


@dataclass(frozen=True)
class SquaredHinge:
    """max(0, ½ − z)².  [rainbow-po] (links tried)"""

    width: float = 0.5

    def __call__(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        return (self.width - z).clamp(min=0).square()

    def slope(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        """−2 max(0, ½ − z)"""
        return -2 * (self.width - z).clamp(min=0)


@dataclass(frozen=True)
class Cauchy:
    """−log(½ + arctan(z)/π).  [rainbow-po] (links tried)

    The probability is taken as the angle of (−z, 1), which loses no digits far to the left.
    """

    def __call__(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        return -(torch.atan2(torch.ones_like(z), -z) / pi).log()

    def slope(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        """−1 / (π(1+z²)(½ + arctan(z)/π))"""
        return -1 / ((1 + z.square()) * torch.atan2(torch.ones_like(z), -z))


@dataclass(frozen=True)
class Exponential:
    """e^(−z), continued by its tangent where z < −30.  [gpo] (exponential)"""

    def __call__(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        return tangent_exp(-z)

    def slope(self, z: Float[Tensor, " *shape"]) -> Float[Tensor, " *shape"]:
        """−e^(−z), constant where z < −30"""
        return -(-z).clamp(max=LARGEST).exp()


def _check_flip(flip: float) -> None:
    if not 0 <= flip < 0.5:
        raise ValueError(
            f"flip is the share of wrong labels and lies in [0, 0.5), got {flip}; "
            "with more than half wrong, swap winner and loser"
        )


LinkName = Literal["logistic", "square", "hinge", "squared_hinge", "cauchy", "exponential"]
LINKS: Mapping[LinkName, Callable[[], Link]] = {
    "logistic": Logistic,
    "square": Square,
    "hinge": Hinge,
    "squared_hinge": SquaredHinge,
    "cauchy": Cauchy,
    "exponential": Exponential,
}
