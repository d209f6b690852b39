"""Trading of stakes when utility is linear: closed forms.  [pos-trading]

One stake is worth Ψ(t) to keep and p(t) to trade, both seen from time 0, so the agent buys at full
speed where Ψ > p and sells where Ψ < p. If p never falls, Ψ − p changes sign at most once, which
gives the three regimes: buy all the time, sell all the time, buy and then sell. The regimes are the
paper's; the formulas of this file, and the state constraints were derived here.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.studies.stake.paths import ROOM
from scoreward.studies.stake.proof_of_stake import (
    Function,
    Number,
    StakeProblem,
    Utility,
    double,
    integrate,
    linear,
    require,
)

_HALVINGS = 60  # bisection to the last bit of [0, T]


def crossing(function: Function, low: Number, high: Number) -> Float[Tensor, "*batch"]:
    """Where a nonincreasing function passes 0: `low` if it is nowhere positive, `high` if nowhere
    negative."""
    at_high = function(double(high))
    left, right, at_high = torch.broadcast_tensors(double(low), double(high), at_high)
    for _ in range(_HALVINGS):
        middle = (left + right) / 2
        positive = function(middle) > 0
        left, right = torch.where(positive, middle, left), torch.where(positive, right, middle)
    found = torch.where(left == double(low), double(low), (left + right) / 2)
    return torch.where(at_high >= 0, double(high), found)


def _linear(utility: Utility) -> None:
    if utility.shape is not linear:
        raise ValueError("this closed form is for linear utility; use optimum.solve")


def marginal_value(
    problem: StakeProblem, utility: Utility, t: Float[Tensor, "*times"]
) -> Float[Tensor, "*shape"]:
    """Ψ(t) = [h exp(−βT) N(T) + ℓ ∫_t^T exp(−βs) N(s) ds] / N(t).  [pos-trading] (Psi)

    What keeping one stake from t to the horizon is worth, seen from time 0. Ours, by
    quadrature: the incomplete gamma functions of its closed form overflow for large βA.
    """
    _linear(utility)
    end = double(problem.horizon)
    still = double(utility.running) * integrate(problem.weight, t, end)
    return (double(utility.terminal) * problem.weight(end) + still) / problem.issuance.total(t)


def advantage(
    problem: StakeProblem, utility: Utility, t: Float[Tensor, "*times"]
) -> Float[Tensor, "*shape"]:
    """Ψ(t) − p(t), what buying one stake gains."""
    return marginal_value(problem, utility, t) - problem.valuation(t)


def gained(
    problem: StakeProblem,
    utility: Utility,
    start: Float[Tensor, "*starts"],
    end: Float[Tensor, "*ends"],
) -> Float[Tensor, "*shape"]:
    """∫ (Ψ − p) dt over [start, end], with the order of the two integrals exchanged."""
    _linear(utility)
    bought, horizon = problem.issuance.bought, double(problem.horizon)
    zero = problem.zero(utility.running, utility.terminal)
    start, end = double(start) + zero, double(end) + zero
    inside = integrate(lambda s: problem.weight(s) * bought(start, s), start, end)
    after = integrate(problem.weight, end, horizon)
    across = bought(start, end)
    kept = double(utility.running) * (inside + across * after)
    kept = kept + double(utility.terminal) * problem.weight(horizon) * across
    return kept - integrate(problem.valuation, start, end)


def identity_value(
    problem: StakeProblem, utility: Utility, x: Number, trade: Function
) -> Float[Tensor, "*batch"]:
    """J(ν) = Ψ(0) x + ∫ ν(t) (Ψ(t) − p(t)) dt, for any ν.  [pos-trading] (identity)"""
    start = problem.zero(utility.running, utility.terminal, x)
    end = start + double(problem.horizon)
    flow = integrate(lambda t: trade(t) * advantage(problem, utility, t), start, end)
    return marginal_value(problem, utility, start) * double(x) + flow


def free_switch(problem: StakeProblem, utility: Utility) -> Float[Tensor, "*batch"]:
    """t₀: buy before it, sell after it, if p never falls.  [pos-trading] (three regimes)

    T if p(T) ≤ Ψ(T) (buy all the time), 0 if p(0) ≥ Ψ(0) (sell all the time), otherwise Ψ(t₀) =
    p(t₀). Raises ValueError if p falls somewhere: then there may be several switches.
    """
    _one_switch(problem)
    start = problem.zero(utility.running, utility.terminal)
    return crossing(lambda t: advantage(problem, utility, t), start, start + problem.horizon)


def _one_switch(problem: StakeProblem) -> None:
    if not problem.rising():
        raise ValueError(
            "the valuation exp(−βt) E P(t) falls somewhere, so that there may be several switches; "
            "use optimum.solve"
        )


def least_switch(
    problem: StakeProblem, t: Float[Tensor, "*times"], x: Number
) -> Float[Tensor, "*shape"]:
    """s_min: who buys from t until then and sells afterwards ends with nothing, or more than that.

    [pos-trading] (state constraint) Ours: emptying the account earlier never pays if p never
    falls, so it is better to buy first, for as long as needed.
    """
    bought, end = problem.issuance.bought, double(problem.horizon)
    t = double(t) + problem.zero(x)
    start = double(x) / (double(problem.rate) * problem.issuance.total(t))
    return crossing(lambda s: bought(s, end) - bought(t, s) - start, t, end)


def value(
    problem: StakeProblem, utility: Utility, t: Float[Tensor, "*times"], x: Number
) -> Float[Tensor, "*shape"]:
    """v(t, x) = Ψ x + ν̄ (∫_t^s − ∫_s^T)(Ψ − p) ds, s = max(t₀, s_min, t).  [pos-trading] (value)

    With s = t₀ it is Ψ x + ν̄ ∫|Ψ − p|. For p that never falls; vectorised over parameters.
    Raises ValueError if p falls, if t is outside [0, T], or if stakes could exceed N.
    """
    _one_switch(problem)
    t, end = double(t) + problem.zero(x, utility.running), double(problem.horizon)
    require((double(t) >= 0) & (double(t) <= end), f"times must be within [0, T], got {t}")
    s = torch.maximum(
        torch.maximum(free_switch(problem, utility), double(t)), least_switch(problem, t, x)
    )
    most = double(x) / problem.issuance.total(t) + double(problem.rate) * (
        problem.issuance.bought(t, s)
    )
    require(most <= 1 + ROOM, "the agent would own all stakes there are; use optimum.solve")
    trade = gained(problem, utility, t, s) - gained(problem, utility, s, end)
    return marginal_value(problem, utility, t) * double(x) + double(problem.rate) * trade
