"""CPG: policy gradient in continuous time.

[ct-policy-opt] arXiv:2305.18901. The gradient of the objective is an expectation over the
discounted occupation law, which restarted paths sample, and over actions:

    ∇η = (1/β) E [ ∇log π(a|x) (q(x, a) − γ log π(a|x)) ]

The constant −γ of the paper's integrand has mean zero and is left out. 1/β is `env.mass`, so the
same line serves horizons and, with mass 1, average rewards.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scoreward.core.keys import Key
from scoreward.studies.control.learner import descend
from scoreward.studies.control.sde import Environment, PathSteps


@dataclass(frozen=True)
class CPG:
    """One gradient step per round, on all of its transitions."""

    max_norm: float | None = None  # limit of the gradient norm

    def __call__(
        self,
        env: Environment,
        policy: nn.Module,
        optimizer: torch.optim.Optimizer,
        rows: PathSteps,
        advantage: Float[Tensor, " rows"],
        key: Key,
    ) -> dict[str, float]:
        log_prob = policy(rows.x, rows.t).log_prob(rows.action)
        loss = -env.mass * (log_prob * advantage).mean()  # [ct-policy-opt] (CPG)
        return {"gradient/norm": descend(optimizer, loss, self.max_norm)}

    def state_dict(self) -> dict[str, float]:
        """Nothing is carried from round to round."""
        return {}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """See `state_dict`."""
