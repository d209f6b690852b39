"""RAM: regress the velocity on the reference's, shifted by reward towards the sample.

[ram] arXiv:2605.10759, from a description. Strictly on-policy. While the policy is the reference
the gradient is that of R ‖v − v*‖².
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from scoreward.likelihood import squared_error
from scoreward.objectives.answers import Answers
from scoreward.objectives.pairs import PairObjective


@dataclass(frozen=True)
class RAM(PairObjective):
    """Scaling and centring of the reward are not published as far as we know; both are offered."""

    signal: Literal["advantage", "reward"] = "advantage"  # ours: centred and scaled
    scale: float = 1.0  # of the signal, ours

    @property
    def compares(self) -> bool:
        return False

    @property
    def refers(self) -> bool:
        return True

    def matching(self, answers: Answers) -> tuple[Tensor, dict[str, Tensor]]:
        rows = answers.rows
        if rows.reference is None:
            raise ValueError("RAM needs the reference's answers on the pairs")
        signal = rows.advantage if self.signal == "advantage" else rows.reward
        signal = self.scale * signal.reshape(-1, *[1] * (answers.new.ndim - 1))
        pull = (answers.target - answers.new).detach()
        loss = squared_error(answers.new, rows.reference + signal * pull).mean()  # [ram] (loss)
        error = squared_error(answers.new.detach(), answers.target).mean()
        return loss, {"error/mean": error}
