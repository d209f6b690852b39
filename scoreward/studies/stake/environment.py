"""Stake trading as a controlled SDE, so that reinforcement learning can be tried on it.

[pos-trading] The state is the share X/N, and P/E P if the price is volatile; the action is the
rate ν. Time comes as an argument. The optimum is known, so what an agent reaches can be compared.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.studies.control.normal import Normal
from scoreward.studies.control.sde import Environment, Policy
from scoreward.studies.stake.linear import marginal_value
from scoreward.studies.stake.paths import Strategy
from scoreward.studies.stake.proof_of_stake import (
    GeometricPrice,
    Issuance,
    Price,
    StakeProblem,
    Utility,
    double,
    require,
)

SETTLE = 0.02  # ours: no longer than a step of 250 in 5 units of time


@dataclass(frozen=True, kw_only=True)
class StakeTrading(Environment):
    """dz = ν/N dt, dM = σM dB, reward ℓ(zN) − E P(t) M ν, terminal h(zN(T)).  [pos-trading] (SDE)

    M = P/E P is a second state only if the price is volatile. Rates beyond the limit are cut, and
    so are sales of more than is owned: within `settle` of time at most everything is sold or
    bought, which makes the constraint 0 ≤ X ≤ N exact for time steps no longer than that.
    """

    issuance: Issuance
    price: Price
    utility: Utility
    stakes: float  # x, at time 0
    rate: float = 0.2  # ν̄, stakes per unit time
    settle: float = SETTLE  # in units of time
    spread: float = 0.0  # paths start uniformly within x ± spread, so that critics see more

    def __post_init__(self) -> None:
        super().__post_init__()
        self.problem.check_stakes(self.stakes)
        require(self.settle > 0, f"`settle` must be positive, got {self.settle}")
        total = float(self.issuance.total(double(0.0)))
        require(
            0 <= self.spread <= min(self.stakes, total - self.stakes),
            f"`spread` must not lead below 0 or above N(0) = {total:g} stakes, got {self.spread}",
        )

    @property
    def problem(self) -> StakeProblem:
        """The same problem for the closed forms."""
        return StakeProblem(self.issuance, self.price, self.rate, self.horizon, self.discount)

    @property
    def volatile(self) -> float:
        """σ of a geometric price, else 0."""
        return float(self.price.volatility) if isinstance(self.price, GeometricPrice) else 0.0

    @property
    def sizes(self) -> tuple[int, int, int]:
        return (2, 1, 1) if self.volatile else (1, 1, 0)

    def traded(
        self, x: Float[Tensor, "batch n"], a: Float[Tensor, "batch m"], t: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """ν, the rate that the limits leave of the action."""
        n = self.issuance.total(t)
        least = (-x[:, 0] * n / self.settle).clamp(min=-self.rate, max=0)
        most = ((1 - x[:, 0]) * n / self.settle).clamp(min=0, max=self.rate)
        return torch.minimum(torch.maximum(a[:, 0], least), most)

    def drift(
        self, x: Float[Tensor, "batch n"], a: Float[Tensor, "batch m"], t: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch n"]:
        moves = self.traded(x, a, t) / self.issuance.total(t)
        return torch.stack([moves, *[torch.zeros_like(moves)] * (x.shape[1] - 1)], 1)

    def diffusion(
        self, x: Float[Tensor, "batch n"], a: Float[Tensor, "batch m"], t: Float[Tensor, " batch"]
    ) -> Float[Tensor, "rows n j"]:
        if not self.volatile:
            return x.new_zeros(1, 1, 0)
        return torch.stack([torch.zeros_like(t), self.volatile * x[:, 1]], 1)[:, :, None]

    def reward(
        self, x: Float[Tensor, "batch n"], a: Float[Tensor, "batch m"], t: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        price = self.price.mean(t) * (x[:, 1] if self.volatile else 1.0)
        owned = (x[:, 0] * self.issuance.total(t)).clamp(min=0)
        pay = double(self.utility.running) * self.utility.shape(owned)
        return pay - price * self.traded(x, a, t)

    def terminal(self, x: Float[Tensor, "batch n"]) -> Float[Tensor, " batch"]:
        owned = (x[:, 0] * self.issuance.total(double(self.horizon))).clamp(min=0)
        return double(self.utility.terminal) * self.utility.shape(owned)

    def confine(
        self, x: Float[Tensor, "batch n"], t: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch n"]:
        return torch.cat([x[:, :1].clamp(0, 1), x[:, 1:].clamp(min=0)], 1)

    def start(self, count: int, key: Key) -> Float[Tensor, "{count} n"]:
        first = torch.ones(count, self.sizes[0], dtype=torch.float64)
        moved = self.spread * (2 * key.uniform(count, dtype=torch.float64) - 1)
        first[:, 0] = (self.stakes + moved) / self.issuance.total(double(0.0))
        return first


def following(plan: Strategy) -> Policy:
    """The rates of a strategy as a policy, without exploration."""

    def policy(x: Tensor, t: Tensor) -> Normal:
        piece = torch.searchsorted(plan.edges, t + 1e-9, right=True) - 1
        return _surely(plan.rates[piece.clamp(0, len(plan.rates) - 1)])

    return policy


def watching(env: StakeTrading) -> Policy:
    """The price-adaptive rule for linear utility: buy while exp(−βt) P(t) < Ψ(t), else sell."""
    problem = env.problem

    def policy(x: Tensor, t: Tensor) -> Normal:
        price = problem.valuation(t) * (x[:, 1] if env.volatile else 1.0)
        return _surely(env.rate * torch.sign(marginal_value(problem, env.utility, t) - price))

    return policy


def _surely(rate: Float[Tensor, " batch"]) -> Normal:
    return Normal(rate[:, None], rate.new_zeros(1, 1, 1))
