"""Closed forms of scalar entropy-regularised linear-quadratic problems, many at once.

    dX = (A X + B a) dt + (C X + D a) dW,   r = −(M/2 x² + R x a + N/2 a² + P x + Q a)

with discount ρ and temperature γ; ρ = 0 is the ergodic problem. V = k2/2 x² + k1 x + k0. Every
coefficient is a number or a tensor of one shape; all functions are elementwise. `lq` has the
matrix version, and the environment. The formulas are derived by us; they agree with the published
special cases.
"""

from dataclasses import dataclass, fields
from math import e, pi

import torch
from torch import Tensor


@dataclass(frozen=True)
class Coefficients:
    """A scalar problem, or a batch of them; all fields have one shape after construction."""

    A: Tensor | float
    B: Tensor | float
    C: Tensor | float
    D: Tensor | float
    M: Tensor | float
    R: Tensor | float
    N: Tensor | float
    P: Tensor | float
    Q: Tensor | float
    discount: Tensor | float
    temperature: Tensor | float

    def __post_init__(self) -> None:
        values = [torch.as_tensor(getattr(self, f.name), dtype=torch.float64) for f in fields(self)]
        for field, value in zip(fields(self), torch.broadcast_tensors(*values)):
            object.__setattr__(self, field.name, value)


@dataclass(frozen=True)
class ScalarPolicy:
    """a ~ N(gain · x + intercept, variance)."""

    gain: Tensor
    intercept: Tensor
    variance: Tensor


@dataclass(frozen=True)
class ScalarValue:
    """V(x) = k2/2 x² + k1 x + k0; with ρ = 0, k0 is the average reward, entropy included."""

    k2: Tensor
    k1: Tensor
    k0: Tensor


def optimum(c: Coefficients) -> tuple[ScalarValue, ScalarPolicy]:
    """Optimal value and policy.  [ct-policy-opt] (LQ optimum)

    k2 is the root ≤ 0 of a quadratic equation; NaN where the problem has no finite value.
    """
    A, B, C, D, M, R, N = c.A, c.B, c.C, c.D, c.M, c.R, c.N
    P, Q, rho, gamma = c.P, c.Q, c.discount, c.temperature
    E, decay = B + C * D, rho - 2 * A - C**2
    # (ρ − 2A − C²) k2 (N − D² k2) = (E k2 − R)² − M (N − D² k2)
    square, middle, constant = E**2 + decay * D**2, 2 * E * R + decay * N - M * D**2, R**2 - M * N
    root = (middle**2 - 4 * square * constant) ** 0.5
    k2 = _if_positive(middle, 2 * constant / (middle + root), (middle - root) / (2 * square))
    bend = N - k2 * D**2  # Nh, the curvature of −q in a
    slope = (k2 * E - R) / bend
    k1 = (-Q * slope - P) / (rho - A - B * slope)
    shift = (k1 * B - Q) / bend
    spread = _if_positive(gamma, gamma / 2 * torch.log(2 * pi * gamma / bend), 0.0)
    k0 = (shift**2 * bend / 2 + spread) / _if_positive(rho, rho, 1.0)
    return ScalarValue(k2, k1, k0), ScalarPolicy(slope, shift, gamma / bend)


def evaluate(c: Coefficients, pi_: ScalarPolicy) -> ScalarValue:
    """Value of a Gaussian policy.  [ct-policy-opt] (LQ evaluation)"""
    th, ph, var = pi_.gain, pi_.intercept, pi_.variance
    a1, b1, sx, s0 = _closed_loop(c, pi_)
    p2 = -2 * (c.M / 2 + c.R * th + c.N / 2 * th**2) / (c.discount - 2 * a1 - sx**2)
    p1 = (-(c.R * ph + c.N * th * ph + c.P + c.Q * th) + b1 * p2 + sx * s0 * p2) / (c.discount - a1)
    entropy = _if_positive(c.temperature, torch.log(2 * pi * e * var), 0.0)
    p0 = (
        -(c.N / 2 * (ph**2 + var) + c.Q * ph)
        + c.temperature / 2 * entropy
        + b1 * p1
        + p2 / 2 * (s0**2 + c.D**2 * var)
    )
    return ScalarValue(p2, p1, p0 / _if_positive(c.discount, c.discount, 1.0))


def occupation(
    c: Coefficients, pi_: ScalarPolicy, mean: Tensor | float, square: Tensor | float
) -> tuple[Tensor, Tensor]:
    """E_d x and E_d x² of the occupation law, from E x and E x² at the start.

    [ct-policy-opt] (occupation moments)
    """
    a1, b1, sx, s0 = _closed_loop(c, pi_)
    first = (c.discount * mean + b1) / (c.discount - a1)
    added = (2 * b1 + 2 * sx * s0) * first + s0**2 + c.D**2 * pi_.variance
    return first, (c.discount * square + added) / (c.discount - 2 * a1 - sx**2)


def gradient(
    c: Coefficients, pi_: ScalarPolicy, mean: Tensor | float, square: Tensor | float
) -> tuple[Tensor, Tensor, Tensor]:
    """∇η by (gain, intercept, log variance), discount > 0.  [ct-policy-opt] (LQ gradient)"""
    value = evaluate(c, pi_)
    first, second = occupation(c, pi_, mean, square)
    th, ph, var = pi_.gain, pi_.intercept, pi_.variance
    g1 = c.B * value.k2 + c.D * value.k2 * (c.C + c.D * th) - c.R - c.N * th
    g0 = c.B * value.k1 + c.D**2 * value.k2 * ph - c.N * ph - c.Q
    by_variance = var * (c.D**2 * value.k2 - c.N) / 2 + c.temperature / 2
    return (
        (g1 * second + g0 * first) / c.discount,
        (g1 * first + g0) / c.discount,
        by_variance / c.discount,
    )


def _closed_loop(c: Coefficients, pi_: ScalarPolicy) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(a1, b1, sx, s0): drift a1 x + b1 and mean diffusion sx x + s0 under the policy."""
    th, ph = pi_.gain, pi_.intercept
    return c.A + c.B * th, c.B * ph, c.C + c.D * th, c.D * ph


def _if_positive(value: Tensor | float, yes: Tensor | float, no: Tensor | float) -> Tensor:
    tensors = (torch.as_tensor(v, dtype=torch.float64) for v in (value, yes, no))
    value, yes, no = tensors
    return torch.where(value > 0, yes, no)
