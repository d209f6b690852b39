"""Step-wise preference methods on the built-in portraits: they draw their own samples.

The reward, verifier A, takes the place of people (D3PO) and of step-aware preference models (SPO,
LPO). Thresholds are ours: rewards here lie in [0, 1], those of the papers do not.
"""

from scoreward.objectives.d3po import D3PO
from scoreward.objectives.lpo import LPO
from scoreward.objectives.spo import SPO
from scoreward.recipes.portraits import HeldOut, Start, on_portraits
from scoreward.recipes.sampling import Noisy
from scoreward.recipes.shared import Flat, Shared
from scoreward.training.run import Run


def portraits_d3po(
    objective: D3PO = D3PO(),
    rollout: Noisy = Noisy("ddim", 1.0),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """D3PO: every step of the best path of a group against the worst's."""
    return on_portraits("portraits_d3po", objective, rollout.sampler(), shared, held_out, model)


def portraits_spo(
    objective: SPO = SPO(least=0.05, first=2),
    rollout: Noisy = Noisy("ddim", 1.0),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """SPO: candidates for every step, the best against the worst."""
    return on_portraits("portraits_spo", objective, rollout.sampler(), shared, held_out, model)


def portraits_lpo(
    objective: LPO = LPO(bounds=(0.05, 0.1)),
    rollout: Noisy = Noisy("ddim", 1.0),
    shared: Flat = Shared(),
    held_out: HeldOut = HeldOut(),
    model: Start = Start(),
) -> Run:
    """LPO: SPO with a threshold by the noise of the step."""
    return on_portraits("portraits_lpo", objective, rollout.sampler(), shared, held_out, model)
