"""What a strategy of trading does: stakes, cash and value over time, from their definitions.

[pos-trading] X' = ν + (N'/N) X is X = N (x/N(0) + ∫ν/N); cash earns interest and pays for trades;
the value is what the agent's utility and trades are worth, seen from time 0. Nothing here knows
what is optimal.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.studies.stake.proof_of_stake import (
    Function,
    Number,
    StakeProblem,
    Utility,
    double,
    integrate,
)

WORDS = {1: "buy", 0: "hold", -1: "sell"}
ROOM = 1e-9  # share by which rounding may leave [0, 1]
_EXACT = 1e-6  # share of the limit by which a rate may miss buying, holding or selling; ours


@dataclass(frozen=True)
class Strategy:
    """Trading rates that are constant on pieces of [0, T], from given stakes, and their value."""

    stakes: float  # x, at time 0
    edges: Float[Tensor, "pieces_and_1"]  # from 0 to T
    rates: Float[Tensor, "pieces"]  # ν, stakes per unit time
    limit: float  # ν̄
    value: float  # J, in money at time 0
    exact: bool = True  # whether the value is free of a grid's error

    @property
    def phases(self) -> list[tuple[str, float]]:
        """(what is done, from when on), neighbours that do the same joined."""
        return list(self._phases())

    def _phases(self) -> Iterator[tuple[str, float]]:
        last, mixed = None, None  # rounded rate of the last phase; a piece between two phases
        for start, end, rate in zip(self.edges[:-1], self.edges[1:], self.rates / self.limit):
            kind = round(float(rate))
            if abs(float(rate) - kind) > _EXACT:
                mixed = (float(start), float(end), float(rate))
                continue
            if kind != last:
                yield WORDS[kind], _inside(mixed, last, kind, float(start))
            last, mixed = kind, None

    @property
    def regime(self) -> str:
        """ "buy", "sell", "buy-then-sell", and so on."""
        return "-then-".join(word for word, _ in self.phases)

    @property
    def switch_times(self) -> list[float]:
        return [start for _, start in self.phases[1:]]


def _inside(
    mixed: tuple[float, float, float] | None, last: int | None, kind: int, start: float
) -> float:
    """When a phase began: inside a piece whose rate is a mixture of it and the phase before."""
    if mixed is None or last is None:
        return 0.0 if last is None else start
    first, end, rate = mixed
    return first + (end - first) * min(1.0, max(0.0, (rate - kind) / (last - kind)))


def bang(
    problem: StakeProblem, utility: Utility, x: float, switches: list[float], first: int
) -> Strategy:
    """Trade at full speed, first buying (1) or selling (−1), and turn round at each switch."""
    limit, horizon = float(problem.rate), float(problem.horizon)
    edges = torch.tensor([0.0, *switches, horizon], dtype=torch.float64)
    signs = [first * (-1) ** i for i in range(len(switches) + 1)]
    rates = limit * torch.tensor(signs, dtype=torch.float64)
    value = performance(problem, utility, x, edges, rates)
    return Strategy(x, edges, rates, limit, value)


def share(
    problem: StakeProblem, strategy: Strategy, t: Float[Tensor, "times"]
) -> Float[Tensor, "times"]:
    """X(t)/N(t) = x/N(0) + ∫ν/N.  [pos-trading] (share)"""
    return _share(problem, strategy.stakes, strategy.edges, strategy.rates, double(t))


def _share(
    problem: StakeProblem, x: float, edges: Tensor, rates: Tensor, t: Tensor
) -> Float[Tensor, "*times"]:
    steps = rates * problem.issuance.bought(edges[:-1], edges[1:])
    before = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
    piece = (torch.searchsorted(edges, t.contiguous(), right=True) - 1).clamp(0, len(rates) - 1)
    start = x / problem.issuance.total(double(0.0))
    return start + before[piece] + rates[piece] * problem.issuance.bought(edges[piece], t)


def stakes(
    problem: StakeProblem, strategy: Strategy, t: Float[Tensor, "times"]
) -> Float[Tensor, "times"]:
    """X(t)."""
    return share(problem, strategy, t) * problem.issuance.total(double(t))


def performance(
    problem: StakeProblem, utility: Utility, x: float, edges: Tensor, rates: Tensor
) -> float:
    """J = ∫ exp(−βt) ℓ(X) dt − ∫ ν p dt + exp(−βT) h(X(T)).  [pos-trading] (objective)"""
    end = double(problem.horizon)
    final = _owned(problem, x, edges, rates, end[None]).sum()
    worth = torch.exp(-double(problem.discount) * end) * _paid(utility.terminal, utility, final)

    def income(t: Tensor) -> Tensor:
        x_t = _owned(problem, x, edges, rates, t)
        pay = torch.exp(-double(problem.discount) * t) * _paid(utility.running, utility, x_t)
        return pay - rates * problem.valuation(t)

    return float(worth + integrate(income, edges[:-1], edges[1:]).sum())


def _owned(problem: StakeProblem, x: float, edges: Tensor, rates: Tensor, t: Tensor) -> Tensor:
    """X(t), without the rounding that would make it negative."""
    return (_share(problem, x, edges, rates, t) * problem.issuance.total(t)).clamp(min=0)


def _paid(weight: Number, utility: Utility, x: Tensor) -> Tensor:
    return double(weight) * utility.shape(x)


def stays_within(problem: StakeProblem, plan: Strategy) -> bool:
    """Whether the share stays in [0, 1]; between two edges it is monotone."""
    steps = plan.rates * problem.issuance.bought(plan.edges[:-1], plan.edges[1:])
    shares = plan.stakes / problem.issuance.total(double(0.0)) + steps.cumsum(0)
    return bool(((shares >= -ROOM) & (shares <= 1 + ROOM)).all())


@dataclass(frozen=True)
class Path:
    """A strategy on a grid of times.  `value`, `kept` and `price` are seen from time 0."""

    t: Float[Tensor, "times"]
    stakes: Float[Tensor, "times"]
    cash: Float[Tensor, "times"]  # the account b, if nothing is consumed
    value: Float[Tensor, "times"]  # v(t, X(t)), what is still to come
    kept: Float[Tensor, "times"]  # λ, what keeping one stake more is worth; Ψ for linear utility
    price: Float[Tensor, "times"]  # p


def follow(
    problem: StakeProblem,
    utility: Utility,
    strategy: Strategy,
    interest: float = 0.0,
    times: int = 501,
) -> Path:
    """The path of a strategy; cash starts at 0 and may be owed.  [pos-trading] (cash)

    b' = r b − P ν. Raises ValueError if the interest exceeds the discount: an agent would then
    save for ever, and the objective without cash would not be the agent's.
    """
    if not 0 <= interest <= float(problem.discount):
        raise ValueError(
            f"`interest` must be between 0 and the discount {float(problem.discount):g}, got "
            f"{interest:g}; beyond it cash is worth keeping for ever"
        )
    even = torch.linspace(0, float(problem.horizon), times, dtype=torch.float64)
    t = torch.cat([even, strategy.edges]).unique()
    piece = torch.searchsorted(strategy.edges, (t[:-1] + t[1:]) / 2, right=True) - 1
    rates = strategy.rates[piece.clamp(0, len(strategy.rates) - 1)]
    beta, total = double(problem.discount), problem.issuance.total
    own = partial(_owned, problem, strategy.stakes, strategy.edges, strategy.rates)

    def paid(rate: Tensor) -> Tensor:
        """∫ exp(−rate·u) P(u) ν du of each step."""
        return rates * _steps(lambda u: torch.exp(-rate * u) * problem.price.mean(u), t)

    cash = -torch.exp(interest * t) * _upto(paid(double(interest)))
    pay = _steps(lambda u: torch.exp(-beta * u) * _paid(utility.running, utility, own(u)), t)
    worth = _steps(lambda u: problem.weight(u) * slope(utility.running, utility, own(u)), t)
    last = problem.weight(t[-1]) * slope(utility.terminal, utility, own(t)[-1])
    kept = (last + worth.sum() - _upto(worth)) / total(t)
    left = strategy.value - _upto(pay - paid(beta))
    return Path(t, own(t), cash, left, kept, problem.valuation(t))


def _steps(function: Function, t: Tensor) -> Float[Tensor, "steps"]:
    return integrate(function, t[:-1], t[1:])


def _upto(steps: Tensor) -> Float[Tensor, "times"]:
    return torch.cat([steps.new_zeros(1), steps.cumsum(0)])


def slope(weight: Number, utility: Utility, x: Tensor) -> Tensor:
    """The slope of weight · u; 0 without weight, even where u' is infinite."""
    found = double(weight) * utility.slope(x)
    return torch.where(double(weight) == 0, torch.zeros_like(found), found)
