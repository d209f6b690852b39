"""Keeping a share of the stakes: parity, with risk control.

[pos-trading] An agent wants to own κN(t) stakes. With y = X − κN, y' = ν + (N'/N) y. The abstract
speaks of stake parity; the functionals here are a reconstruction of ours, and so are their
solutions: (a) a quadratic cost of distance and of trading, solved by a Riccati equation, and (b)
bounded trading that only cares about distance. As everywhere, the share w = y/N is used inside, so
that N' never appears.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.integrate import solve_ivp
from torch import Tensor

from scoreward.studies.stake.linear import crossing
from scoreward.studies.stake.proof_of_stake import (
    Number,
    StakeProblem,
    double,
    integrate,
    require,
)

_TIGHT = {"method": "DOP853", "rtol": 1e-11, "atol": 1e-13, "dense_output": True}
Solution = Callable[[float], np.ndarray]


@dataclass(frozen=True)
class Parity:
    """Cost ∫ exp(−βt) [½q y² + ½ρν² + P̄ν] dt + ½g exp(−βT) y(T)², y = X − κN."""

    target: float  # κ, the share to keep
    distance: float = 1.0  # q, money per unit time and squared stake
    effort: float = 2.0  # ρ, money per unit time and squared rate
    final: float = 0.5  # g, money per squared stake
    costly: bool = True  # whether trades cost the mean price P̄ of the problem

    def __post_init__(self) -> None:
        require(0 <= self.target <= 1, f"`target` is a share, between 0 and 1, got {self.target}")
        require(self.effort > 0, f"`effort` must be positive, got {self.effort}")
        for name, value in (("distance", self.distance), ("final", self.final)):
            require(value >= 0, f"`{name}` must not be negative, got {value}")


@dataclass(frozen=True)
class Riccati:
    """ν = −(a y + b + P̄)/ρ, which reverts to κN; cost(t) = ½a y² + b y + c."""

    problem: StakeProblem
    parity: Parity
    solution: Solution  # t → (a N², b N, c)

    def coefficients(self, t: float) -> tuple[float, float, float]:
        """(a, b, c) at time t."""
        n = _total(self.problem, t)
        a, b, c = (float(value) for value in self.solution(t))
        return a / n**2, b / n, c

    def cost(self, x: float) -> float:
        """Least cost from x stakes at time 0, in money."""
        y = x - self.parity.target * _total(self.problem, 0.0)
        a, b, c = self.coefficients(0.0)
        return a * y**2 / 2 + b * y + c

    def rate(self, t: float, x: float) -> float:
        """ν(t, x), stakes per unit time; no limit applies."""
        a, b, _ = self.coefficients(t)
        y = x - self.parity.target * _total(self.problem, t)
        return -(a * y + b + _price(self.problem, self.parity, t)) / self.parity.effort

    def stakes(self, x: float, times: Float[Tensor, "times"]) -> Float[Tensor, "times"]:
        """X at the times, from x at time 0."""

        def drift(t: float, share: np.ndarray) -> np.ndarray:
            n = _total(self.problem, t)
            return np.array([self.rate(t, float(share[0]) * n) / n])

        end = float(self.problem.horizon)
        path = solve_ivp(drift, (0.0, end), [x / _total(self.problem, 0.0)], **_TIGHT).sol
        owned = [float(path(t)[0]) * _total(self.problem, float(t)) for t in times.tolist()]
        return torch.tensor(owned, dtype=torch.float64)


def riccati(problem: StakeProblem, parity: Parity) -> Riccati:
    """Solve a' = βa − 2(N'/N)a + a²/ρ − q, a(T) = g, and b, c likewise.  [pos-trading] (Riccati)

    b' = βb − (N'/N)b + a(b + P̄)/ρ and c' = βc + (b + P̄)²/(2ρ), both 0 at T; in the share,
    (aN²)' = β aN² + (aN²)²/(ρN²) − qN² and (bN)' = β bN + a(b + P̄)N/ρ.
    """
    beta, end, rho = float(problem.discount), float(problem.horizon), parity.effort

    def slope(t: float, state: np.ndarray) -> np.ndarray:
        n, (a, b, c) = _total(problem, t), state
        push = b / n + _price(problem, parity, t)
        d_a = beta * a + (a / n) ** 2 / rho - parity.distance * n**2
        return np.array([d_a, beta * b + a * push / (n * rho), beta * c + push**2 / (2 * rho)])

    last = [parity.final * _total(problem, end) ** 2, 0.0, 0.0]
    found = solve_ivp(slope, (end, 0.0), last, **_TIGHT)
    if not found.success:
        raise RuntimeError(f"the Riccati equation was not solved: {found.message}")
    return Riccati(problem, parity, found.sol)


def stationary(parity: Parity, discount: Number) -> Float[Tensor, "*batch"]:
    """a = ρ(−β + √(β² + 4q/ρ))/2, if N is constant, T infinite and P̄ = 0.

    [pos-trading] (stationary parity)
    """
    beta = double(discount)
    root = (beta.square() + 4 * parity.distance / parity.effort).sqrt()
    return parity.effort * (root - beta) / 2


def _total(problem: StakeProblem, t: float) -> float:
    return float(problem.issuance.total(double(t)))


def _price(problem: StakeProblem, parity: Parity, t: float) -> float:
    return float(problem.price.mean(double(t))) if parity.costly else 0.0


def reached(problem: StakeProblem, target: float, x: Number) -> Float[Tensor, "*batch"]:
    """t*, when bounded trading has brought X to κN: ν̄ ∫_0^t* du/N = |x/N(0) − κ|.

    [pos-trading] (bounded parity) It trades at full speed towards the target and then not at all,
    because rewards keep the share. Infinite if ∫du/N stays too small.
    """
    start, bought = double(0.0), problem.issuance.bought
    away = (double(x) / problem.issuance.total(start) - target).abs() / double(problem.rate)
    late = torch.ones_like(away)
    for _ in range(200):  # doubling: more than any horizon in use
        late = torch.where(bought(start, late) < away, 2 * late, late)
    found = crossing(lambda t: away - bought(start, t), torch.zeros_like(late), late)
    return torch.where(bought(start, late) < away, torch.inf, found)


def bounded_cost(problem: StakeProblem, target: float, x: Number) -> Float[Tensor, "*batch"]:
    """½∫ exp(−βt) y² dt of that rule up to the horizon.  [pos-trading] (bounded parity)"""
    start, bought = double(0.0), problem.issuance.bought
    away = (double(x) / problem.issuance.total(start) - target).abs()
    end = torch.minimum(reached(problem, target, x), double(problem.horizon))

    def distance(t: Tensor) -> Tensor:
        y = (away - double(problem.rate) * bought(start, t)) * problem.issuance.total(t)
        return torch.exp(-double(problem.discount) * t) * y.square() / 2

    return integrate(distance, start, end)
