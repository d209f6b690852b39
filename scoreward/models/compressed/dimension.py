"""How many measurements to take: where recovery begins to work, and where it works best.

The rules are ours: the paper announces an optimal dimension, but its formula is not what is written
here. docs/compressed.md derives them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import erfc, exp, inf, pi, sqrt

from scoreward.models.compressed.operators import check_rows


@dataclass(frozen=True)
class Threshold:
    """The statistical dimension and the τ at which it is found."""

    dimension: float  # measurements at which half of all problems are solved
    tau: float


def statistical_dimension(s: float, d: int) -> Threshold:
    """Basis pursuit finds s of d nonzeros in half of all cases at m ≈ D.  [csdm] (threshold)"""
    _check_sparsity(s, d)
    return _least(lambda tau: s * (1 + tau**2) + (d - s) * 2 * _beyond(tau))


def nonnegative_dimension(s: float, d: int) -> Threshold:
    """The same if coefficients are known to be ≥ 0.  [csdm] (threshold)"""
    _check_sparsity(s, d)
    return _least(lambda tau: s * (1 + tau**2) + (d - s) * _beyond(tau))


def box_dimension(inside: float, ones: float, d: int) -> Threshold:
    """The same for values in [0, 1], `ones` of them 1 and `inside` between.  [csdm] (threshold)"""
    _check_sparsity(inside, d)
    _check_sparsity(inside + ones, d)

    def size(tau: float) -> float:
        other = (1 + tau**2) * (1 - _upper(tau)) + tau * _density(tau)
        zeros = (d - inside - ones) * _beyond(tau)
        return inside * (1 + tau**2) + zeros + ones * other

    return _least(size)


def worst_case_rows(first: float, a: float) -> tuple[float, float]:
    """(m*, least error) if errors are m^a / (1 − √(m₁/m)).  [csdm] (worst case)

    `first` is m₁, in proportion to s ln(ed/s); m* = m₁ (1 + 1/2a)².
    """
    _check_power(a)
    best = first * (1 + 1 / (2 * a)) ** 2
    return best, (1 + 1 / (2 * a)) ** (2 * a) * (1 + 2 * a) * first**a


def average_case_rows(dimension: float, a: float) -> float:
    """m* = D (1 + a)/a, if the latent variance per coordinate is ∝ m^a.  [csdm] (average case)

    a = 2 is a first-order sampler with a fixed number of operations, a = 1 with fewer steps; as
    a → 0 there is no best m but the largest.
    """
    _check_power(a)
    return dimension * (1 + a) / a


def amplification(m: float, dimension: float) -> float:
    """‖ẑ − z‖² over noise variance per measurement, LASSO with its best λ.  [csdm] (amplification)

    m D / (m − D); infinite at m ≤ D. Optimistic close to D.
    """
    return m * dimension / (m - dimension) if m > dimension else inf


def recommended_rows(s: float, d: int, a: float = 2.0) -> int:
    """The average-case m for s of d nonzeros, at most d.  [csdm] (average case)"""
    return min(d, round(average_case_rows(statistical_dimension(s, d).dimension, a)))


@dataclass(frozen=True)
class Cost:
    """What one sample costs, in floating-point operations.  [csdm] (cost)"""

    steps: int  # network calls
    call: float  # operations of one
    iterations: int = 0  # of FISTA
    m: int = 0
    d: int = 0

    @property
    def network(self) -> float:
        """K c."""
        return self.steps * self.call

    @property
    def recovery(self) -> float:
        """4 m d for each iteration: M and its transpose, a product and a sum each."""
        return 4.0 * self.iterations * self.m * self.d

    @property
    def total(self) -> float:
        """Both."""
        return self.network + self.recovery


def compressed_cost(steps: int, call: float, iterations: int, m: int, d: int) -> Cost:
    """Network calls in m dimensions, then recovery in d.  [csdm] (cost)"""
    check_rows(m, d)
    return Cost(steps, call, iterations, m, d)


def _least(size: Callable[[float], float]) -> Threshold:
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(size, bounds=(0.0, 20.0), method="bounded", options={"xatol": 1e-10})
    tau = float(found.x) if size(float(found.x)) < size(0.0) else 0.0
    return Threshold(size(tau), tau)


def _beyond(tau: float) -> float:
    """E (g − τ)₊² of a standard normal g."""
    return (1 + tau**2) * _upper(tau) - tau * _density(tau)


def _upper(tau: float) -> float:
    return 0.5 * erfc(tau / sqrt(2))


def _density(tau: float) -> float:
    return exp(-(tau**2) / 2) / sqrt(2 * pi)


def _check_sparsity(s: float, d: int) -> None:
    if not 0 <= s <= d:
        raise ValueError(f"expected between 0 and {d} nonzero coefficients, got {s}")


def _check_power(a: float) -> None:
    if not a > 0:
        raise ValueError(
            f"the error must grow with m for a best m to exist: expected a > 0, got {a}"
        )
