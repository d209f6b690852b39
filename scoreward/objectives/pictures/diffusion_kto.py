"""Diffusion-KTO: every picture alone is desirable or not, and utility is measured from a baseline.

[diffusion-kto] arXiv:2404.04465. Times and noises are a picture's own. The baseline z is the mean
gain of the round, over all processes, by the network at its start, which with one update per round
is the whole batch of that update.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scoreward.core.denoiser import Cond
from scoreward.core.device import wide
from scoreward.core.keys import Key, normal_each
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.rows import Rows
from scoreward.losses.diffusion import mean_error
from scoreward.losses.diffusion_pointwise import (
    diffusion_kto,
    gain,
    loss_averse,
    neutral,
    reference_point,
    risk_seeking,
)
from scoreward.objectives.base import Needs, Objective, Samples
from scoreward.objectives.pictures.rows import Side, TimeLaw, referred, side

UTILITIES = {"neutral": neutral, "loss_averse": loss_averse, "risk_seeking": risk_seeking}


@dataclass(frozen=True)
class PointRows(Rows):
    """One row a picture."""

    picture: Side
    cond: Cond
    t: Float[Tensor, " batch"]
    desirable: Bool[Tensor, " batch"]
    weight: Float[Tensor, " batch"]
    point: Float[Tensor, " batch"]
    sample: Int[Tensor, " batch"]

    def gains(self, answer: Tensor, policy: DiffusionPolicy) -> Float[Tensor, " batch"]:
        """g of each picture, for what a network answered."""
        if self.picture.error is None:
            raise ValueError("the errors of the reference were not asked for in `prepare`")
        return gain(mean_error(answer, self.picture.target(policy, self.t)), self.picture.error)


@dataclass(frozen=True)
class DiffusionKTO(Objective[Samples, PointRows, DiffusionPolicy]):
    """β is 5000 in the paper and 1000 in its script; Diffusion-DPO's would be twice that.

    The paper samples desirable pictures with a share of 0.8; here all are drawn alike and weigh so,
    which is the same on average (ours). Pairs give one of each, a `share` of ½.
    """

    beta: float = 5000.0
    utility: Literal["neutral", "loss_averse", "risk_seeking"] = "neutral"
    desirable: float = 0.8  # γ, share of the weight on desirable pictures
    times: TimeLaw = TimeLaw()
    share: float = 0.5  # of the data that is desirable

    def __post_init__(self) -> None:
        if not self.beta > 0 or not 0 < self.desirable < 1 or not 0 < self.share < 1:
            raise ValueError(
                "expected beta > 0, `desirable` inside (0, 1) and `share` inside (0, 1), got "
                f"{self.beta}, {self.desirable} and {self.share}"
            )

    @property
    def needs(self) -> Needs:
        return Needs(everyone=True)

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> PointRows:
        samples = samples[samples.advantage != 0]  # neither wanted nor unwanted teaches nothing
        keys = [key / "picture" / i for i in samples.sample.tolist()]
        drawn = [self.times.draw(k / "t", policy.process) for k in keys]
        t = torch.tensor(drawn, dtype=torch.float64).to(samples.x0)
        eps = samples.x0
        if keys:
            eps = normal_each((k / "eps" for k in keys), tuple(samples.x0.shape[1:])).to(samples.x0)
        (picture,) = referred([side(samples.x0, eps, t, policy)], t, samples.cond, policy)
        good = samples.advantage > 0
        high, low = self.desirable / self.share, (1 - self.desirable) / (1 - self.share)
        weight = low + (high - low) * good.to(t)
        zero, number = torch.zeros_like(t), samples.sample
        rows = PointRows(picture, samples.cond, t, good, weight, zero, number)
        each = wide(weight)
        if keys:
            answer = policy.old(picture.x_t, t, samples.cond).as_(policy.kind)
            each = wide(rows.gains(answer, policy)) * weight
        total, count = policy.total(torch.stack([each.sum(), wide(weight).sum()]))
        mean = total / count if count > 0 else total
        point = reference_point(mean[None]).to(t)  # [diffusion-kto] (reference point)
        return PointRows(picture, samples.cond, t, good, weight, point.expand_as(t), number)

    def loss(self, rows: PointRows, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        answer = policy.current(rows.picture.x_t, rows.t, rows.cond).as_(policy.kind)
        gains, point = rows.gains(answer, policy), rows.point[0]
        utility = UTILITIES[self.utility]
        each = diffusion_kto(gains, point, rows.desirable, self.beta, utility, rows.weight)
        kept = gains.detach()
        agrees = ((torch.where(rows.desirable, kept, -kept).sign() + 1) / 2).mean()
        return each.mean(), {
            "gain/mean": kept.mean(),
            "gain/baseline": point,
            "implicit/accuracy": agrees,
        }
