"""Flow-GRPO: GRPO on the transitions of a stochastic rollout of a flow model.

[flow-grpo] arXiv:2505.05470; its fast, windowed form trains a few transitions inside an otherwise
deterministic rollout, with Flow-CPS steps ([flow-cps], arXiv:2509.05952) and their own log-prob.
"""

from dataclasses import dataclass
from typing import Literal

from scoreward.objectives.paths.base import PathObjective
from scoreward.objectives.paths.replay import Form


@dataclass(frozen=True)
class FlowGRPO(PathObjective):
    """The settings of the public code for GenEval and OCR."""

    clip: float | None = 1e-4  # code
    kl: float = 0.04  # code: 0.04 GenEval and OCR, 0.01 PickScore
    kl_form: Literal["paper", "code"] = "code"  # the published β belong to the code's form
    last: bool = False  # code: timestep fraction 0.99 drops the last of ten
    skip_uniform: bool = True  # code: groups without a spread of rewards are left out


@dataclass(frozen=True)
class FlowGRPOFast(PathObjective):
    """The settings of the fast configurations."""

    clip: float | None = 1e-5  # code
    log_prob: Form = "unit"  # code: the Flow-CPS log-prob drops constants and variance
    skip_uniform: bool = True  # code
