"""Trades that follow the realised price: linear utility, geometric Brownian price.

[pos-trading] Where trades may depend on P(t), the agent buys while exp(−βt) P(t) is below Ψ(t) and
sells while it is above. This is worth at least as much as any strategy that knows only the mean
price, by Jensen, and it may switch many times on one path; the three regimes are about strategies
that do not look. Derived here.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.studies.stake.linear import crossing, marginal_value
from scoreward.studies.stake.paths import ROOM, Path, Strategy, follow, performance
from scoreward.studies.stake.proof_of_stake import (
    GeometricPrice,
    Number,
    OwnPrice,
    StakeProblem,
    Utility,
    double,
    integrate,
    require,
)

WILD = 10.0  # standard deviations of log P beyond which a price is as good as nothing; ours


def adaptive_value(
    problem: StakeProblem,
    utility: Utility,
    x: Number,
    t: Number = 0.0,
    price: Number | None = None,
) -> Float[Tensor, "*batch"]:
    """U = Ψ(t) x + ν̄ ∫_t^T E|Ψ(s) − exp(−βs) P(s)| ds, from P(t) = `price`.

    [pos-trading] (adaptive) Without `price` it starts from the mean price, P₀ at t = 0. Raises
    ValueError for another kind of price, or if the stakes could leave [0, N] on the way.
    """
    sigma = _volatility(problem)
    now, end = double(t) + problem.zero(x, utility.running, sigma), double(problem.horizon)
    reach = double(problem.rate) * problem.issuance.bought(now, end)
    start = double(x) / problem.issuance.total(now)
    require(
        (start >= reach - ROOM) & (start + reach <= 1 + ROOM),
        "the price-adaptive rule has a closed form only if the stakes cannot run out, nor reach "
        f"N, by trading one way all the time; here the share starts at {_shown(start)} and can "
        f"move by {_shown(reach)}: change `stakes`, or lower `rate` or `horizon`",
    )
    level = double(1.0) if price is None else double(price) / problem.price.mean(now)

    def distance(root: Tensor) -> Tensor:
        """E|Ψ − exp(−βs) P| ds/du at s = t + u², which is smooth where σ√(s − t) is not."""
        s = now + root.square()
        forward, strike = level * problem.valuation(s), marginal_value(problem, utility, s)
        return 2 * root * mean_distance(forward, strike, sigma * root)

    kink = crossing(
        lambda s: marginal_value(problem, utility, s) - level * problem.valuation(s), now, end
    )  # where the distance bends if the price hardly moves
    middle = (kink - now).sqrt()
    flow = integrate(distance, torch.zeros_like(middle), middle)
    flow = flow + integrate(distance, middle, (end - now).sqrt())
    return marginal_value(problem, utility, now) * double(x) + double(problem.rate) * flow


def _volatility(problem: StakeProblem) -> Tensor:
    if not isinstance(problem.price, GeometricPrice):
        raise ValueError("the price-adaptive rule needs a GeometricPrice with a volatility")
    sigma = double(problem.price.volatility)
    require(
        sigma * double(problem.horizon).sqrt() <= WILD,
        f"with a volatility of {problem.price.volatility} nearly all prices are 0 at the horizon "
        f"{problem.horizon}; lower `volatility`",
    )
    return sigma


def _shown(value: Tensor) -> str:
    return f"{value.max().item():.4g}"


def mean_distance(
    forward: Float[Tensor, "*shape"], strike: Float[Tensor, "*shape"], s: Float[Tensor, "*std"]
) -> Float[Tensor, "*out"]:
    """E|K − F exp(sZ − s²/2)| for a standard normal Z: twice a call, less F − K."""
    safe = torch.where(s > 0, s, 1.0)
    above = (forward / strike.clamp(min=1e-300)).log() / safe + safe / 2
    call = forward * _normal(above) - strike * _normal(above - safe)
    known = (forward - strike).clamp(min=0)
    return 2 * torch.where(s > 0, call, known) - (forward - strike)


def _normal(z: Tensor) -> Tensor:
    """The standard normal distribution function."""
    return torch.erfc(-z / math.sqrt(2)) / 2


def drawn(
    problem: StakeProblem, utility: Utility, x: float, key: Key, cells: int = 1000
) -> tuple[StakeProblem, Strategy]:
    """The problem with one price path instead of its mean, and what the rule does and earns on it.

    The price is drawn exactly on a grid and straight in between; the rate changes on the grid.
    """
    edges = torch.linspace(0, float(problem.horizon), cells + 1, dtype=torch.float64)
    sigma = float(_volatility(problem))
    noise = key.normal(cells, dtype=torch.float64) * edges.diff().sqrt()
    moved = torch.cat([noise.new_zeros(1), noise.cumsum(0)])
    price = PiecewiseLinear(
        edges, problem.price.mean(edges) * (sigma * moved - sigma**2 * edges / 2).exp()
    )
    seen = replace(problem, price=OwnPrice(price, float(problem.horizon)))
    buys = marginal_value(problem, utility, edges) >= seen.valuation(edges)
    rates = torch.where(buys[:-1], 1.0, -1.0).double() * float(problem.rate)
    earned = performance(seen, utility, x, edges, rates)
    return seen, Strategy(x, edges, rates, float(problem.rate), earned, exact=False)


def adaptive_path(
    problem: StakeProblem, utility: Utility, seen: StakeProblem, plan: Strategy, interest: float
) -> Path:
    """The path of a drawn strategy; its value is v(t, X, P), which does not know the future."""
    path = follow(seen, utility, plan, interest, len(plan.edges))
    value = adaptive_value(problem, utility, path.stakes, path.t, seen.price.mean(path.t))
    return replace(path, value=value)


class PiecewiseLinear:
    """The function that is linear between given points."""

    def __init__(self, edges: Float[Tensor, "points"], values: Float[Tensor, "points"]) -> None:
        self.edges, self.values = edges, values

    def __call__(self, t: Float[Tensor, "*times"]) -> Float[Tensor, "*times"]:
        i = torch.searchsorted(self.edges, t.contiguous(), right=True).clamp(1, len(self.edges) - 1)
        left, right = self.edges[i - 1], self.edges[i]
        return torch.lerp(self.values[i - 1], self.values[i], (t - left) / (right - left))
