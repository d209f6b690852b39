"""EPG, PEPG and PAR: policy gradients whose likelihood is an ELBO of the finished sample.

[epg] arXiv:2602.04663, "Rethinking the design space…", as its official code has them. One ratio ρ
per (sample, time), without gradient and without a bound; noise is never shared. ℓ is larger where
the sample is likelier, Δ = ℓ − ℓ_old. Advantages are rewards minus the group's mean, without a
deviation: Advantages(scale="none", bound=50), which `size` brings to |A| ≤ 5.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from scoreward.core.likelihood import Times, self_normalised_error, squared_error
from scoreward.objectives.samples.answers import Answers, Share
from scoreward.objectives.samples.pairs import PairObjective, climb

ELBO = Literal["adaptive", "t", "uniform", "exact"]
Each = Float[Tensor, "batch count"]
"""One number per (sample, time)."""


@dataclass(frozen=True)
class EPG(PairObjective):
    """−ρ A ℓ, with the settings of the official scripts."""

    pairs: int = 0  # code: the whole grid
    share: Share = "none"  # code: fresh noise per (sample, time)
    times: Times = "grid"  # code: all of the rollout's times but one
    fraction: float = 0.99  # code: of ten times a random one is left out, another for each sample
    anchor: float = 1e-4  # β, code: "girsanov"
    likelihood: ELBO = "adaptive"  # all scripts
    size: float = 0.1  # β/α of the scripts: A is this times (R − mean of the group)
    bound: float = 5.0  # |A| is cut here, after `size`; code
    weighted: bool = True  # False puts 1 for ρ, the code's "noratio"
    schedule: Literal["copy", "ramp", "late"] = "ramp"  # types 0, 1 and 3 of the code

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size <= 0 or self.bound <= 0:
            raise ValueError(
                f"`size` and `bound` must be positive, got {self.size} and {self.bound}"
            )

    def old_decay(self, updates: int) -> float:
        """Type 0: 0; type 1: min(0.001 k, 0.5); type 3: 0, then min(0.01 (k − 10), 0.5).

        [epg] (decay)
        """
        rows = {"copy": (0.0, 0.0), "ramp": (0.001, 0.5), "late": (0.01, 0.5, 10)}
        return climb(updates, *rows[self.schedule])

    def matching(self, answers: Answers) -> tuple[Tensor, dict[str, Tensor]]:
        new, old = (self.log_p(answers, v) for v in (answers.new, answers.old))
        ratio = (new.detach() - old).exp()
        advantage = (self.size * answers.rows.advantage).clamp(-self.bound, self.bound)[:, None]
        weight = ratio if self.weighted else ratio.new_ones(())
        metrics = {
            "ratio/mean": ratio.mean(),
            "ratio/min": ratio.min(),
            "ratio/max": ratio.max(),
            "error/mean": -new.detach().mean(),
        }
        return (weight * self.term(advantage, new, old)).mean(), metrics

    def log_p(self, answers: Answers, velocity: Float[Tensor, "batch count *shape"]) -> Each:
        """ℓ of a policy's answers, each with its own divisor.  [epg] (likelihood)"""
        if self.likelihood in ("uniform", "exact"):
            error = -squared_error(velocity, answers.target)
            t, process = answers.rows.pairs.t, answers.process
            exact = process.alpha(t) / (process.sigma(t) + 1e-3)  # the 1e-3 is the code's
            return exact * error if self.likelihood == "exact" else error
        kind = self_normalised_error if self.likelihood == "adaptive" else squared_error
        return -kind(answers.read(velocity, "x0"), answers.read(answers.target, "x0"))

    def term(self, advantage: Float[Tensor, "batch 1"], new: Each, old: Each) -> Each:
        """What ρ weighs.  [epg] (objective)"""
        return -advantage * new


@dataclass(frozen=True)
class PEPG(EPG):
    """−ρ (A − Δ) ℓ: EPG with a pull back to the old policy; it rests where Δ = A."""

    def term(self, advantage: Float[Tensor, "batch 1"], new: Each, old: Each) -> Each:
        """[epg] (PEPG)"""
        return -(advantage - (new.detach() - old)) * new


@dataclass(frozen=True)
class PAR(EPG):
    """½ ρ (A − Δ)²: a regression whose gradient is PEPG's at every policy, as ρ has none."""

    def term(self, advantage: Float[Tensor, "batch 1"], new: Each, old: Each) -> Each:
        """[epg] (PAR)"""
        return 0.5 * (advantage - (new - old)).square()
