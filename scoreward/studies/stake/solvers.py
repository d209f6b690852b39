"""Numerical solvers of stake trading: a linear program, and dynamic programming.

Both are oracles for the closed forms, and answer where there are none: the linear program for
linear utility with any p and both state constraints, the Hamilton-Jacobi-Bellman equation for any
utility.  [pos-trading] (linear program), (HJB)
"""

import numpy as np
import torch
from scipy.optimize import linprog
from scipy.sparse import diags_array, eye_array, hstack
from torch import Tensor

from scoreward.studies.stake.linear import crossing, gained
from scoreward.studies.stake.paths import Strategy, performance
from scoreward.studies.stake.proof_of_stake import StakeProblem, Utility, double, integrate

CELLS = 2000  # of a grid of times; 8 digits of the linear program's value


def linear_program(
    problem: StakeProblem, utility: Utility, x: float, cells: int = CELLS
) -> Strategy:
    """max Σ ν ∫(Ψ − p) with |ν| ≤ ν̄ and 0 ≤ X ≤ N, ν constant on cells.

    [pos-trading] (linear program) A lower bound of the optimum, too low by O(cells⁻²). Raises
    RuntimeError if HiGHS fails.
    """
    limit = float(problem.rate)
    edges = torch.linspace(0, float(problem.horizon), cells + 1, dtype=torch.float64)
    worth = gained(problem, utility, edges[:-1], edges[1:]).numpy()
    steps = problem.issuance.bought(edges[:-1], edges[1:]).numpy()
    # unknowns: rates, as shares of the limit, then the share of stakes after each cell
    _slow_enough(limit * float(steps.max()), problem)
    moves = diags_array(-limit * steps)
    chain = eye_array(cells) - eye_array(cells, k=-1)
    begin = np.zeros(cells)
    begin[0] = x / float(problem.issuance.total(double(0.0)))
    found = linprog(
        np.concatenate([-limit * worth, np.zeros(cells)]),
        A_eq=hstack([moves, chain]).tocsr(),
        b_eq=begin,
        bounds=[(-1, 1)] * cells + [(0, 1)] * cells,
        method="highs",
    )
    if not found.success:
        raise RuntimeError(f"the linear program of {cells} cells was not solved: {found.message}")
    rates = limit * torch.from_numpy(found.x[:cells])
    return Strategy(
        x, edges, rates, limit, performance(problem, utility, x, edges, rates), exact=False
    )


def dynamic_programming(
    problem: StakeProblem, utility: Utility, x: float, cells: int = CELLS
) -> Strategy:
    """The HJB equation by a semi-Lagrangian scheme for the share.  [pos-trading] (HJB)

    v_t + exp(−βt) ℓ(zN) + ν̄ |v_z/N − p| = 0, v(T, z) = exp(−βT) h(zN), 0 ≤ z ≤ 1. In the clock
    τ = ∫du/N the share moves at speed ν, so time cells that are even in τ take a trader from one
    point of the grid of shares to a neighbour, and nothing is interpolated but the start. The
    share 0 is a point of that grid; 1 is met to within a cell.
    """
    limit, horizon = double(problem.rate), double(problem.horizon)
    edges = _even(problem, cells)
    step = float(limit * problem.issuance.bought(double(0.0), horizon) / cells)
    _slow_enough(step, problem)
    start = x / float(problem.issuance.total(double(0.0))) / step
    low, high = max(0, int(start) - cells), min(int(1 / step + 1e-9), int(start) + 1 + cells)
    shares = step * torch.arange(low, high + 1, dtype=torch.float64)
    trade = limit * integrate(problem.valuation, edges[:-1], edges[1:])
    discounts = torch.exp(-double(problem.discount) * edges)
    totals = problem.issuance.total(edges)

    to_go = discounts[-1] * double(utility.terminal) * utility.shape(shares * totals[-1])
    pay = discounts[-1] * double(utility.running) * utility.shape(shares * totals[-1])
    choices = torch.zeros(cells, len(shares), dtype=torch.int8)
    outside = to_go.new_full((1,), -torch.inf)
    for k in reversed(range(cells)):
        half = (edges[k + 1] - edges[k]) / 2
        after = to_go + half * pay
        sell = torch.cat([outside, after[:-1]]) + trade[k]
        buy = torch.cat([after[1:], outside]) - trade[k]
        best, choice = torch.stack([after, sell, buy]).max(0)  # keep, if it does not matter
        choices[k] = torch.tensor([0, -1, 1], dtype=torch.int8)[choice]
        pay = discounts[k] * double(utility.running) * utility.shape(shares * totals[k])
        to_go = best + half * pay
    left = min(int(start), high - 1) - low
    worth = torch.lerp(to_go[left], to_go[left + 1], start - low - left)
    rates = limit * _path(choices, round(start) - low)
    return Strategy(x, edges, rates, float(limit), float(worth), exact=False)


def _slow_enough(step: float, problem: StakeProblem) -> None:
    """Raises ValueError if the agent can trade a tenth of all stakes within a cell."""
    if step > 0.1:
        raise ValueError(
            f"at a rate of {float(problem.rate):g} a tenth of all stakes changes hands within a "
            f"cell of the grid, {float(problem.horizon) / CELLS:g} of time; lower `rate`"
        )


def _even(problem: StakeProblem, cells: int) -> Tensor:
    """Times that are even in the clock ∫du/N."""
    start, end = double(0.0), double(problem.horizon)
    goal = problem.issuance.bought(start, end) * torch.arange(1, cells) / cells
    inner = crossing(lambda t: goal - problem.issuance.bought(start, t), start, end)
    return torch.cat([start[None], inner, end[None]])


def _path(choices: Tensor, at: int) -> Tensor:
    """The choices met on the way from a point of the grid."""
    taken = []
    for row in choices:
        at = min(at, len(row) - 1)
        taken.append(int(row[at]))
        at += taken[-1]
    return torch.tensor(taken, dtype=torch.float64)
