"""V-GRPO: GRPO whose log-likelihood is the denoising loss of the finished sample.

[vgrpo] Tang, Zhang, Wang, Mao, Schmidt, Yeung-Levy, arXiv:2604.23380. Rollouts may use any sampler;
only x0 is kept. Symbols: their o is our x0, their (t_j, ε_j) are our pairs, their L̂ our error.

The paper's two regimes are two settings of this file. One update per round: the ratio is
identically 1, `clip` and `proximal` are inert, and `soft_clip` is the control. Several updates per
round: `clip`.
"""

from dataclasses import dataclass
from typing import Literal, cast

from jaxtyping import Float, Int
from torch import Tensor

from scoreward.advantage import soft_clip
from scoreward.chain import Transitions
from scoreward.denoiser import Cond
from scoreward.keys import Key
from scoreward.likelihood import (
    Pairs,
    draw_pairs,
    predict,
    self_normalised_error,
    squared_error,
    targets,
)
from scoreward.objectives.base import Objective, Policy, Samples
from scoreward.prediction import Kind, Prediction
from scoreward.ratio import clipped_surrogate, ratio_metrics
from scoreward.rows import Rows


@dataclass(frozen=True)
class VGRPORows(Rows):
    """Samples with their pairs and what the old and the reference policy said about them."""

    x0: Float[Tensor, "batch *shape"]
    cond: Cond
    advantage: Float[Tensor, " batch"]
    pairs: Pairs
    old: Float[Tensor, "batch count *shape"] | None
    reference: Float[Tensor, "batch count *shape"] | None
    sample: Int[Tensor, " batch"]


@dataclass(frozen=True)
class VGRPO(Objective):
    """The settings of the paper, each switchable."""

    pairs: int = 4  # N_MC, paper: 4 (FLUX) or 4 and 10 (SD3.5-M)
    share: Literal["none", "group", "batch"] = "group"  # paper's text: group; its code: batch
    prediction: Kind = "x0"  # space of the error, [vgrpo] (14)
    adaptive: bool = True  # divide by the error's own magnitude, [vgrpo] (14)
    soft_clip: float | None = 3.0  # η, [vgrpo] (17); for one update per round
    clip: float | None = 1e-2  # ε of the ratio; paper: 6e-3 to 1e-2 with several updates
    proximal: float = 0.0  # β, [vgrpo] (16); paper: 0.3 where earlier skills must be kept
    anchor: float = 0.0  # ours: weight of mean (v − v_reference)², as in [diffusion-nft]

    def __post_init__(self) -> None:
        if self.pairs < 1:
            raise ValueError(f"`pairs` must be at least 1, got {self.pairs}")
        if min(self.proximal, self.anchor) < 0:
            raise ValueError("`proximal` and `anchor` are weights and must not be negative")
        for name, bound in (("soft_clip", self.soft_clip), ("clip", self.clip)):
            if bound is not None and bound <= 0:
                raise ValueError(f"`{name}` must be positive or None, got {bound}")

    def prepare(
        self, samples: Samples, paths: Transitions | None, policy: Policy, key: Key
    ) -> VGRPORows:
        keys = [self._address(key, g, i) for g, i in _ids(samples)]
        pairs = draw_pairs(samples.x0, keys, self.pairs, policy.times, policy.process)
        old = reference = None
        if not policy.on_policy:
            old = self._read(predict(policy.old, pairs, samples.cond), pairs, self.prediction)
        if self.anchor:
            answer = predict(policy.reference, pairs, samples.cond)
            reference = self._read(answer, pairs, "velocity")
        advantage = soft_clip(samples.advantage, self.soft_clip)
        return VGRPORows(samples.x0, samples.cond, advantage, pairs, old, reference, samples.sample)

    def loss(self, rows: Rows, policy: Policy) -> tuple[Tensor, dict[str, Tensor]]:
        rows = cast(VGRPORows, rows)
        answer = predict(policy.current, rows.pairs, rows.cond)
        new = self._read(answer, rows.pairs, self.prediction)
        old = new.detach() if rows.old is None else rows.old
        target = self._target(rows, policy)
        error, old_error = self._error(new, target), self._error(old, target)
        log_ratio = (old_error - error).mean(1)  # over pairs, then exp: one ratio per sample
        loss = clipped_surrogate(log_ratio, rows.advantage, self.clip)
        metrics = ratio_metrics(log_ratio, rows.advantage, self.clip)
        metrics["error/mean"] = error.detach().mean()
        if self.proximal:
            distance = squared_error(new, old).mean()  # [vgrpo] (16)
            loss, metrics["proximal"] = loss + self.proximal * distance, distance.detach()
        if rows.reference is not None:
            velocity = self._read(answer, rows.pairs, "velocity")
            drift = squared_error(velocity, rows.reference).mean()  # [diffusion-nft] (KL term)
            loss, metrics["drift/velocity"] = loss + self.anchor * drift, drift.detach()
        return loss, metrics

    def _address(self, key: Key, group: int, sample: int) -> Key:
        """Who shares pairs: the whole batch, the samples of a prompt, or nobody."""
        match self.share:
            case "batch":
                return key / "pairs"
            case "group":
                return key / "pairs" / group
            case "none":
                return key / "pairs" / group / sample

    def _read(
        self, answer: Prediction, pairs: Pairs, kind: Kind
    ) -> Float[Tensor, "batch count *shape"]:
        return answer.as_(kind).reshape(pairs.x_t.shape)

    def _target(self, rows: VGRPORows, policy: Policy) -> Float[Tensor, "batch count *shape"]:
        return targets(policy.process, rows.x0, rows.pairs, self.prediction)

    def _error(self, pred: Tensor, target: Tensor) -> Float[Tensor, "batch count"]:
        """ℓ of the paper: smaller error is larger likelihood.  [vgrpo] (14)"""
        return (self_normalised_error if self.adaptive else squared_error)(pred, target)


def _ids(samples: Samples) -> list[tuple[int, int]]:
    return list(zip(samples.group.tolist(), samples.sample.tolist(), strict=True))
