"""Flow-DPO: Diffusion-DPO on velocity errors of a rectified flow.

[flow-dpo] arXiv:2501.13918. A constant β is the better one in the paper; β(1 − t)² is what the
change of variables gives, and makes it Diffusion-DPO on the errors of ε.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from scoreward.core.policy import DiffusionPolicy
from scoreward.core.process import RectifiedFlow
from scoreward.losses.diffusion import AutomaticBeta, Units, flow_dpo
from scoreward.objectives.pictures.beta import weighed
from scoreward.objectives.pictures.preference import PreferenceObjective
from scoreward.objectives.pictures.rows import Compared, PreferenceRows


@dataclass(frozen=True)
class FlowDPO(PreferenceObjective):
    """β is 100 for SD3.5-M in Flow-GRPO's code and 500 in the paper, where errors may be sums."""

    beta: float = 100.0
    timed: bool = False  # β(1 − t)²
    units: Units = "flow_grpo"
    automatic: AutomaticBeta | None = None  # instead of β: it follows the size of the margin

    @property
    def weighs_errors(self) -> bool:
        return self.automatic is not None

    def weighed(self, rows: PreferenceRows, policy: DiffusionPolicy) -> PreferenceRows:
        if not isinstance(policy.process, RectifiedFlow) or policy.kind != "velocity":
            raise ValueError(
                "Flow-DPO is for velocities of rectified flow, and this model predicts "
                f"{policy.kind} of {type(policy.process).__name__}; use Diffusion-DPO"
            )
        return weighed(rows, self.beta, self.units, self.automatic, policy)

    def pairwise(self, seen: Compared) -> Float[Tensor, " pairs"]:
        rows = seen.rows  # all pairs of a round have one β
        return flow_dpo(seen.errors, float(rows.beta[0]), rows.t if self.timed else None)
