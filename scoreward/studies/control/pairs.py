"""Pair trading: a mean-reverting spread, wealth, and how much of it to bet.

    dX = k(θ − X) dt + ν dB,   dW/W = [h m(X) + r₀] dt + h ν dB,   m(x) = k(θ − x) + c

with one noise for both; the action h is the share of wealth in the spread. The state is (x, log w).
`LogPairs` maximises discounted log-wealth for ever, `PowerPairs` a power of wealth at a horizon.
Closed forms are derived by us, for these dynamics of Mudchanatongsuk, Primbs and Wong (2008).
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import e, exp, log, pi

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.studies.control.sde import Environment


@dataclass(frozen=True, kw_only=True)
class PairsTrading(Environment):
    """What both problems share; rates per unit time, ν per √time.  Start: x ~ N(x₀, s²), w = 1."""

    reversion: float = 1.0  # k
    level: float = 0.2  # θ
    volatility: float = 0.5  # ν
    premium: float = 0.125  # c
    interest: float = 0.02  # r₀
    start_spread: float = -0.1
    start_std: float = 0.0

    @property
    def sizes(self) -> tuple[int, int, int]:
        return 2, 1, 1

    def margin(self, x: Tensor) -> Tensor:
        """m(x), the expected growth per share held."""
        return self.reversion * (self.level - x) + self.premium

    def drift(self, x: Tensor, a: Tensor, t: Tensor) -> Tensor:
        spread, h = x[:, 0], a[:, 0]
        growth = h * self.margin(spread) + self.interest - 0.5 * (self.volatility * h) ** 2
        return torch.stack([self.reversion * (self.level - spread), growth], 1)

    def diffusion(self, x: Tensor, a: Tensor, t: Tensor) -> Tensor:
        return self.volatility * torch.stack([torch.ones_like(a), a], 1)

    def start(self, count: int, key: Key) -> Tensor:
        noise = key.normal(count, dtype=torch.float64)
        return torch.stack([self.start_spread + self.start_std * noise, torch.zeros(count)], 1)


@dataclass(frozen=True)
class Bet:
    """h ~ N(intercept + slope · x, variance)."""

    intercept: float
    slope: float
    variance: float


@dataclass(frozen=True, kw_only=True)
class LogPairs(PairsTrading):
    """Reward log W, discounted.  [ct-policy-opt] (pairs, log)"""

    discount: float = 0.8
    temperature: float = 0.05

    def reward(self, x: Tensor, a: Tensor, t: Tensor) -> Tensor:
        return x[:, 1]

    def value(self, bet: Bet) -> tuple[float, float, float]:
        """(a₀, a₁, a₂) of V = log w / β + a₀ + a₁ x + a₂ x² under a policy.

        [ct-policy-opt] (pairs, log)
        """
        beta, k, nu2 = self.discount, self.reversion, self.volatility**2
        m0, i, s = k * self.level + self.premium, bet.intercept, bet.slope
        # h m − ν²h²/2 in powers of x, averaged over h
        square = -k * s - 0.5 * nu2 * s**2
        linear = m0 * s - k * i - nu2 * i * s
        constant = self.interest + m0 * i - 0.5 * nu2 * (i**2 + bet.variance)
        a2 = square / beta / (beta + 2 * k)
        a1 = (linear / beta + 2 * k * self.level * a2) / (beta + k)
        entropy = 0.5 * self.temperature * log(2 * pi * e * bet.variance) if self.temperature else 0
        a0 = (constant / beta + k * self.level * a1 + nu2 * a2 + entropy) / beta
        return a0, a1, a2

    def best(self) -> Bet:
        """h ~ N(m(x)/ν², γβ/ν²).  [ct-policy-opt] (pairs, log)"""
        nu2 = self.volatility**2
        centre = (self.reversion * self.level + self.premium) / nu2
        return Bet(centre, -self.reversion / nu2, self.temperature * self.discount / nu2)

    def objective(self, bet: Bet) -> float:
        """The mean value at the start."""
        a0, a1, a2 = self.value(bet)
        x = self.start_spread
        return a0 + a1 * x + a2 * (x**2 + self.start_std**2)


TimedBet = Callable[[float], Bet]
"""Time → policy."""


@dataclass(frozen=True, kw_only=True)
class PowerPairs(PairsTrading):
    """Utility W^g/g at the horizon, g < 1 and not 0; nothing before.

    V(t, w, x) = w^g/g exp(A + B x + C x²/2) for every policy linear in x.
    [ct-policy-opt] (pairs, power)
    """

    power: float = -1.0  # g
    discount: float = 0.0
    horizon: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.power == 0 or self.power >= 1:
            raise ValueError(f"`power` must be below 1 and not 0, got {self.power}; 0 is the log")
        if self.discount != 0:
            raise ValueError(f"utility at a horizon takes no discount, got {self.discount}")

    def reward(self, x: Tensor, a: Tensor, t: Tensor) -> Tensor:
        return torch.zeros_like(x[:, 0])

    def terminal(self, x: Tensor) -> Tensor:
        return (self.power * x[:, 1]).exp() / self.power

    def best_exponents(self, left: float) -> tuple[float, float, float]:
        """(A, B, C) of the optimum with `left` time to go.  [ct-policy-opt] (pairs, power)"""
        k, nu2, g = self.reversion, self.volatility**2, self.power
        centre, m0 = k * self.level, k * self.level + self.premium
        share = 1 / (2 * (1 - g) * nu2)

        def slopes(tau: float, y: np.ndarray) -> list[float]:
            _, b, c = y
            edge, tilt = m0 + nu2 * b, nu2 * c - k
            return [
                g * self.interest + centre * b + nu2 / 2 * (c + b**2) + g * share * edge**2,
                centre * c - k * b + nu2 * b * c + 2 * g * share * edge * tilt,
                2 * (-k * c + nu2 * c**2 / 2 + g * share * tilt**2),
            ]

        return _solve(slopes, left)

    def best(self, t: float) -> Bet:
        """h* = (m + ν²(B + Cx)) / ((1 − g)ν²), a point.  [ct-policy-opt] (pairs, power)"""
        _, b, c = self.best_exponents(self.horizon - t)
        k, nu2 = self.reversion, self.volatility**2
        scale, m0 = 1 / ((1 - self.power) * nu2), k * self.level + self.premium
        return Bet((m0 + nu2 * b) * scale, (nu2 * c - k) * scale, 0.0)

    def exponents(self, bet: TimedBet, left: float) -> tuple[float, float, float]:
        """(A, B, C) under a policy, exploration included, with `left` time to go.

        [ct-policy-opt] (pairs, power)
        """
        k, nu2, g = self.reversion, self.volatility**2, self.power
        centre, m0 = k * self.level, k * self.level + self.premium

        def slopes(tau: float, y: np.ndarray) -> list[float]:
            _, b, c = y
            now = bet(self.horizon - tau)
            i, s = now.intercept, now.slope
            constant = i * m0 + self.interest + 0.5 * (g - 1) * nu2 * (i**2 + now.variance)
            linear = s * m0 - i * k + (g - 1) * nu2 * i * s
            square = -s * k + 0.5 * (g - 1) * nu2 * s**2
            return [
                centre * b + nu2 / 2 * (c + b**2) + g * (constant + nu2 * i * b),
                centre * c - k * b + nu2 * b * c + g * (linear + nu2 * (s * b + i * c)),
                2 * (-k * c + nu2 * c**2 / 2 + g * (square + nu2 * s * c)),
            ]

        return _solve(slopes, left)

    def objective(self, bet: TimedBet) -> float:
        """Expected utility from (w, x) = (1, x₀), for a start without spread."""
        a, b, c = self.exponents(bet, self.horizon)
        x = self.start_spread
        return exp(a + b * x + 0.5 * c * x**2) / self.power


def _solve(
    slopes: Callable[[float, np.ndarray], list[float]], left: float
) -> tuple[float, float, float]:
    """(A, B, C) after `left`, from 0; ValueError where they explode before."""
    if left <= 0:
        return 0.0, 0.0, 0.0
    path = solve_ivp(slopes, (0, left), [0.0, 0.0, 0.0], method="DOP853", rtol=1e-12, atol=1e-13)
    if not path.success:
        raise ValueError("expected utility is infinite before this horizon; shorten it")
    a, b, c = path.y[:, -1].tolist()
    return a, b, c
