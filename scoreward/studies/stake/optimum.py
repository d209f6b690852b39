"""The optimal strategy of a stake-trading problem, by the sharpest method that applies.

[pos-trading] Closed forms where utility is linear or p never falls; a linear program or dynamic
programming where a constraint or a falling price leaves none.
"""

from functools import partial

import torch

from scoreward.studies.stake.convex import solve_rising
from scoreward.studies.stake.linear import advantage, crossing, least_switch
from scoreward.studies.stake.paths import Strategy, bang, stays_within
from scoreward.studies.stake.proof_of_stake import GRID, StakeProblem, Utility, double, linear
from scoreward.studies.stake.solvers import dynamic_programming, linear_program


def solve(problem: StakeProblem, utility: Utility, x: float) -> Strategy:
    """The optimal strategy from x stakes, for trades that do not look at the realised price.

    `exact` is False if it came from a grid. Raises ValueError unless 0 ≤ x ≤ N(0), or if the
    utility falls somewhere.
    """
    problem.check_stakes(x)
    if utility.shape is linear:
        return solve_linear(problem, utility, x)
    most = float(problem.issuance.total(double(problem.horizon)))
    utility.check_shape(most)
    one_switch = problem.rising() and utility.smooth(most)
    found = solve_rising(problem, utility, x) if one_switch else None
    return found or dynamic_programming(problem, utility, x)


def solve_linear(problem: StakeProblem, utility: Utility, x: float) -> Strategy:
    """The optimal strategy for any p and N, with 0 ≤ X ≤ N.  [pos-trading] (bang-bang)

    At full speed along the sign of Ψ − p where that keeps X in [0, N]; the switch time with the
    state constraint if p never falls; otherwise a linear program, whose value is not exact.
    """
    problem.check_stakes(x)
    turns, first = sign_changes(problem, utility)
    plan = bang(problem, utility, x, turns, first)
    if stays_within(problem, plan):
        return plan
    if problem.rising() and (turns or first == -1):
        s = max(turns[0] if turns else 0.0, float(least_switch(problem, double(0.0), x)))
        plan = bang(problem, utility, x, [s], 1)
        if stays_within(problem, plan):
            return plan
    return linear_program(problem, utility, x)


def sign_changes(problem: StakeProblem, utility: Utility) -> tuple[list[float], int]:
    """Where Ψ − p changes sign, seen on a grid; and 1 if it is positive at first, else −1.

    Zero counts as positive. A double change between two points of the grid is not seen.
    """
    grid = torch.linspace(0, float(problem.horizon), GRID, dtype=torch.float64)
    gap = partial(advantage, problem, utility)
    positive = gap(grid) >= -1e-14 * problem.valuation(grid)
    at = (positive[1:] != positive[:-1]).nonzero().flatten().tolist()
    signs = [1.0 if positive[i] else -1.0 for i in at]
    turns = [
        float(crossing(lambda t, sign=sign: sign * gap(t), grid[i], grid[i + 1]))
        for i, sign in zip(at, signs)
    ]
    return turns, 1 if positive[0] else -1
