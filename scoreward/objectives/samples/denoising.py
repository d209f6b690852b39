"""The pretraining loss: regress the velocity (or another target) on data.

[flow-matching] for rectified flow, [ddpm] for ε. Times follow a logit-normal law, [sd3] (19), and
captions are dropped now and then so that the model also learns to denoise without one.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scoreward.core.denoiser import Cond
from scoreward.core.keys import Key, normal_each
from scoreward.core.likelihood import NoisySamples, noised, predict_as, squared_error, targets
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.prediction import Kind
from scoreward.core.rows import Rows
from scoreward.objectives.base import Objective, Samples


@dataclass(frozen=True)
class DenoisingRows(Rows):
    """Clean data with one (t, ε) each."""

    x0: Float[Tensor, "batch *shape"]
    cond: Cond
    pairs: NoisySamples
    sample: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Denoising(Objective[Samples, DenoisingRows, DiffusionPolicy]):
    """E ‖target − answer‖² / d on data.  [flow-matching] (CFM loss)"""

    target: Kind = "velocity"  # ours: what the built-in model predicts
    mean: float = 0.0  # of logit t, [sd3] Sec. 3.1
    std: float = 1.0  # of logit t, [sd3] Sec. 3.1

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> DenoisingRows:
        keys = [key / "denoising" / i for i in samples.sample.tolist()]
        logit = torch.cat([(k / "t").normal(1) for k in keys]) * self.std + self.mean
        t = logit.sigmoid().to(samples.x0)[:, None]
        noise = normal_each((k / "eps" for k in keys), tuple(samples.x0.shape[1:]))
        eps = noise.to(samples.x0)[:, None]
        pairs = NoisySamples(t, eps, noised(policy.process, samples.x0, t, eps))
        return DenoisingRows(samples.x0, samples.cond, pairs, samples.sample)

    def loss(
        self, rows: DenoisingRows, policy: DiffusionPolicy
    ) -> tuple[Tensor, dict[str, Tensor]]:
        answer = predict_as(policy.current, rows.pairs, rows.cond, self.target)
        target = targets(policy.process, rows.x0, rows.pairs, self.target)
        loss = squared_error(answer, target).mean()
        return loss, {"error/mean": loss.detach()}
