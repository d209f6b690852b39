"""V-GRPO: GRPO whose log-likelihood is the denoising loss of the finished sample.

[vgrpo] Tang, Zhang, Wang, Mao, Schmidt, Yeung-Levy, arXiv:2604.23380. Rollouts may use any sampler;
only x0 is kept. Symbols: their o is our x0, their (t_j, ε_j) are our pairs, their L̂ our error.

The paper's two regimes are two settings of this file. One update per round: the ratio is
identically 1, `clip` and `proximal` are inert, and `soft_clip` is the control. Several updates per
round: `clip`.
"""

from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor

from scoreward.core.advantage import soft_clip
from scoreward.core.keys import Key
from scoreward.core.likelihood import self_normalised_error, squared_error
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.prediction import Kind
from scoreward.core.ratio import clipped_surrogate, ratio_metrics
from scoreward.objectives.base import Samples
from scoreward.objectives.samples.answers import Answers, PairRows, Share
from scoreward.objectives.samples.pairs import PairObjective


@dataclass(frozen=True)
class VGRPO(PairObjective):
    """The settings of the paper, each switchable; `anchor` is ours, as in [diffusion-nft]."""

    pairs: int = 4  # N_MC, paper: 4 (FLUX) or 4 and 10 (SD3.5-M)
    share: Share = "group"  # paper's text: group; its code: batch
    prediction: Kind = "x0"  # space of the error, [vgrpo] (14)
    adaptive: bool = True  # divide by the error's own magnitude, [vgrpo] (14)
    soft_clip: float | None = 3.0  # η, [vgrpo] (17); for one update per round
    clip: float | None = 1e-2  # ε of the ratio; paper: 6e-3 to 1e-2 with several updates
    proximal: float = 0.0  # β, [vgrpo] (16); paper: 0.3 where earlier skills must be kept

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.proximal < 0:
            raise ValueError(
                f"`proximal` is a weight and must not be negative, got {self.proximal}"
            )
        for name, bound in (("soft_clip", self.soft_clip), ("clip", self.clip)):
            if bound is not None and bound <= 0:
                raise ValueError(f"`{name}` must be positive or None, got {bound}")

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> PairRows:
        rows = super().prepare(samples, policy, key)
        return replace(rows, advantage=soft_clip(rows.advantage, self.soft_clip))

    def matching(self, answers: Answers) -> tuple[Tensor, dict[str, Tensor]]:
        new, old, target = (
            answers.read(v, self.prediction) for v in (answers.new, answers.old, answers.target)
        )
        error, old_error = self._error(new, target), self._error(old, target)
        log_ratio = (old_error - error).mean(1)  # over pairs, then exp: one ratio per sample
        advantage = answers.rows.advantage
        loss = clipped_surrogate(log_ratio, advantage, self.clip)
        metrics = ratio_metrics(log_ratio, advantage, self.clip)
        metrics["error/mean"] = error.detach().mean()
        if self.proximal:
            distance = squared_error(new, old).mean()  # [vgrpo] (16)
            loss, metrics["proximal"] = loss + self.proximal * distance, distance.detach()
        return loss, metrics

    def _error(self, pred: Tensor, target: Tensor) -> Float[Tensor, "batch count"]:
        """ℓ of the paper: smaller error is larger likelihood.  [vgrpo] (14)"""
        return (self_normalised_error if self.adaptive else squared_error)(pred, target)
