"""β in the units of an implementation, and β that follows the margin by itself."""

from dataclasses import replace
from math import prod

import torch

from scoreward.core.device import wide
from scoreward.core.policy import DiffusionPolicy
from scoreward.losses.diffusion import CONVENTIONS, AutomaticBeta, Units
from scoreward.objectives.pictures.rows import PreferenceRows, compared

MEMORY = "preference/margin"  # in Policy.memory: the running mean of Σ|m|


def weighed(
    rows: PreferenceRows,
    beta: float,
    units: Units,
    rule: AutomaticBeta | None,
    policy: DiffusionPolicy,
) -> PreferenceRows:
    """The rows with the official code's β of the same logit, from its `units` or by a rule."""
    if rule is not None:
        return automatic(rows, rule, policy)
    if not len(rows):
        return rows
    official = CONVENTIONS[units].official(beta, rows.winner.x0[0].numel())
    return replace(rows, beta=torch.full_like(rows.t, official))


def automatic(rows: PreferenceRows, rule: AutomaticBeta, policy: DiffusionPolicy) -> PreferenceRows:
    """The rows with β by a running mean of the margin over rounds.  [flow-dpo] (automatic beta)

    The rule is for summed errors, so a margin is taken times the number of elements, and β too.
    While the network is still the reference there is no margin and the rule's largest β serves.
    """
    margin = compared(rows, policy.old, policy).errors.margin.abs() if len(rows) else rows.t
    own = torch.stack([wide(margin).sum(), wide(margin.new_tensor(len(rows)))])
    total, count = policy.total(own).tolist()
    if not count:  # a round without pairs says nothing of the margin
        return rows
    elements = prod(rows.winner.x0.shape[1:])
    size = torch.tensor([elements * total / count], dtype=torch.float64)
    before = policy.memory.get(MEMORY)
    average = rule.track(None if before is None else before.item(), size)
    if average > 0:
        policy.memory[MEMORY] = torch.tensor(average, dtype=torch.float64)
    return replace(rows, beta=torch.full_like(rows.t, elements * rule.beta(average)))
