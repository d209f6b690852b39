"""RAM: regress the velocity on the reference's, shifted by reward towards the sample.

[ram] arXiv:2605.10759, after the port in [epg]'s repository, which names the authors' training
script. The shift is measured from the policy that sampled. While all policies are the reference the
gradient is that of R ‖v − v*‖².
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from scoreward.core.likelihood import Times, squared_error
from scoreward.objectives.samples.answers import Answers, Share
from scoreward.objectives.samples.pairs import PairObjective


@dataclass(frozen=True)
class RAM(PairObjective):
    """The settings of the port. The authors' multiplier is not known, so `scale` must be tuned."""

    pairs: int = 0  # port: the whole grid
    share: Share = "none"  # port: fresh noise per (sample, time)
    times: Times = "grid"  # port: all of the rollout's times but one
    fraction: float = 0.99  # port: of ten times a random one is left out, another for each sample
    signal: Literal["advantage", "reward"] = "advantage"  # port: centred and divided by a deviation
    scale: float = 1.0  # m, of the signal; 1 is the port's default, not a recommendation
    residual: Literal["old", "current"] = "old"  # port: whose velocity the shift is measured from

    @property
    def compares(self) -> bool:
        return self.residual == "old"

    @property
    def refers(self) -> bool:
        return True

    def matching(self, answers: Answers) -> tuple[Tensor, dict[str, Tensor]]:
        rows = answers.rows
        if rows.reference is None:
            raise ValueError("RAM needs the reference's answers on the pairs")
        signal = rows.advantage if self.signal == "advantage" else rows.reward
        signal = self.scale * signal.reshape(-1, *[1] * (answers.new.ndim - 1))
        base = answers.old if self.residual == "old" else answers.new.detach()
        wanted = rows.reference + signal * (answers.target - base)
        loss = squared_error(answers.new, wanted).mean()  # [ram] (loss)
        error = squared_error(answers.new.detach(), answers.target).mean()
        return loss, {"error/mean": error}
