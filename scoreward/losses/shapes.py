"""Shapes: what a completion's log-probability or log-ratio counts for.

Most losses take it as it is. Some bend it before winner and loser are compared.
"""

from dataclasses import dataclass
from math import log
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from scoreward.losses.links import log1m_exp, tangent_expm1


@runtime_checkable
class Shape(Protocol):
    """Value of a completion, rising in its log-probability or log-ratio."""

    def __call__(self, u: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]: ...


@dataclass(frozen=True)
class Straight:
    """As it is."""

    def __call__(self, u: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        return u


@dataclass(frozen=True)
class Power:
    """(1 − p^(−a)) / a with log p the mean per token; log p as a → 0.  [alpha-po] (reward)"""

    a: float

    def __call__(self, u: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        return u if self.a == 0 else -tangent_expm1(-self.a * u) / self.a


@dataclass(frozen=True)
class LogOdds:
    """log p/(1−p) with log p the mean per token.  [orpo] (odds)"""

    def __call__(self, u: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        return u - log1m_exp(u)


@dataclass(frozen=True)
class JensenShannon:
    """f'(e^u) = ln 2 + log σ(u) with u = log π/π_ref.  [f-dpo] (Jensen-Shannon)"""

    def __call__(self, u: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        return log(2) + logsigmoid(u)


@dataclass(frozen=True)
class ForwardKL:
    """1 − e^(−u) with u = log π/π_ref.  [f-dpo] (forward KL)"""

    def __call__(self, u: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        return -tangent_expm1(-u)


@dataclass(frozen=True)
class AlphaDivergence:
    """(e^((a−1)u) − 1) / (a−1) with u = log π/π_ref; u itself at a = 1.  [f-dpo] (alpha)"""

    a: float

    def __call__(self, u: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        power = self.a - 1
        return u if power == 0 else tangent_expm1(power * u) / power
