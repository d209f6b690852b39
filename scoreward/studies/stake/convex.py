"""Trading of stakes when utility is convex, or just nondecreasing, and p never falls.

[pos-trading] Along a path that buys until s and sells afterwards, one more stake is worth the
costate λ(t). At an optimum the agent buys where λ > p and sells where λ < p; if utility does not
fall and p does not fall, λ − p does not rise, so there is one switch at most, whether utility is
convex or not. What remains is to maximise J(s), whose slope is 2ν̄ (λ(s) − p(s)), and which can
have two local maxima. Derived here; the paper treats convex utility.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.studies.stake.linear import crossing, least_switch
from scoreward.studies.stake.paths import Strategy, bang, slope, stays_within
from scoreward.studies.stake.proof_of_stake import Number, StakeProblem, Utility, double, integrate

SWITCHES = 801  # switch times among which the maxima are looked for; ours


def stakes_with_switch(
    problem: StakeProblem, x: Number, s: Float[Tensor, "*switches"], t: Float[Tensor, "*times"]
) -> Float[Tensor, "*shape"]:
    """X(t) of an agent who buys at full speed until s and sells afterwards."""
    bought, start = problem.issuance.bought, double(0.0)
    before = torch.minimum(double(t), double(s))
    moved = bought(start, before) - bought(before, double(t))
    share = double(x) / problem.issuance.total(start) + double(problem.rate) * moved
    return (share * problem.issuance.total(t)).clamp(min=0)


def costate(
    problem: StakeProblem, utility: Utility, x: Number, s: Float[Tensor, "*switches"]
) -> Float[Tensor, "*switches"]:
    """λ(s), what one more stake at the switch s is worth.  [pos-trading] (Pontryagin)

    λ N = exp(−βT) h'(X(T)) N(T) + ∫_s^T exp(−βt) ℓ'(X) N dt along the path that switches at s.
    """
    end = double(problem.horizon)
    last = stakes_with_switch(problem, x, s, end)
    kept = problem.weight(end) * slope(utility.terminal, utility, last)

    def pay(t: Tensor) -> Tensor:
        owned = stakes_with_switch(problem, x, s, t)
        return problem.weight(t) * slope(utility.running, utility, owned)

    return (kept + integrate(pay, s, end)) / problem.issuance.total(s)


def switch_value(
    problem: StakeProblem, utility: Utility, x: Number, s: Float[Tensor, "*switches"]
) -> Float[Tensor, "*switches"]:
    """J(s), the objective of buying until s and selling afterwards.  [pos-trading] (one switch)"""
    start, end = double(0.0), double(problem.horizon)

    def pay(t: Tensor) -> Tensor:
        owned = stakes_with_switch(problem, x, s, t)
        return torch.exp(-double(problem.discount) * t) * utility.shape(owned)

    last = utility.shape(stakes_with_switch(problem, x, s, end))
    kept = torch.exp(-double(problem.discount) * end) * double(utility.terminal) * last
    held = double(utility.running) * (integrate(pay, start, s) + integrate(pay, s, end))
    cost = integrate(problem.valuation, start, s) - integrate(problem.valuation, s, end)
    return kept + held - double(problem.rate) * cost


def local_maxima(problem: StakeProblem, utility: Utility, x: float) -> list[float]:
    """Switch times at which J(s) has a local maximum on [s_min, T], ends included.

    On a grid: two maxima closer than a cell are taken for one.
    """
    start, end = double(0.0), float(problem.horizon)
    least = float(least_switch(problem, start, x))

    def gap(s: Tensor) -> Tensor:
        return costate(problem, utility, x, s) - problem.valuation(s)

    grid = torch.linspace(least, end, SWITCHES, dtype=torch.float64)
    rises = gap(grid) > 0
    turns = (rises[:-1] & ~rises[1:]).nonzero().flatten().tolist()
    found = [float(crossing(gap, grid[i], grid[i + 1])) for i in turns]
    return [*([] if rises[0] else [least]), *found, *([end] if rises[-1] else [])]


def solve_rising(problem: StakeProblem, utility: Utility, x: float) -> Strategy | None:
    """The best switch time; None if the agent would then own more stakes than there are."""
    end = float(problem.horizon)
    candidates = local_maxima(problem, utility, x)
    values = switch_value(
        problem, utility, x, double(torch.tensor(candidates, dtype=torch.float64))
    )
    s = candidates[int(values.argmax())]
    if s in (0.0, end):
        plan = bang(problem, utility, x, [], 1 if s == end else -1)
    else:
        plan = bang(problem, utility, x, [s], 1)
    return plan if stays_within(problem, plan) else None
