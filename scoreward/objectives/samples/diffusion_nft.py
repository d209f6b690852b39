"""DiffusionNFT: contrast an implicit better and an implicit worse policy by reward.

[diffusion-nft] arXiv:2509.16117. Needs finished samples only. The policy that samples follows the
trained one slowly (`schedule`). At the old policy the gradient is V-GRPO's for every β.
"""

from dataclasses import dataclass
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from scoreward.core.likelihood import Times, self_normalised_error
from scoreward.objectives.samples.answers import Answers, Share
from scoreward.objectives.samples.pairs import PairObjective, climb

Mode = Literal["all", "positive_only", "negative_only", "one_only", "binary"]


@dataclass(frozen=True)
class DiffusionNFT(PairObjective):
    """The settings of the public code."""

    pairs: int = 0  # code: the whole grid
    share: Share = "none"  # code: fresh noise per sample
    times: Times = "grid"  # code; "stratified" with `pairs` is the cheaper choice
    fraction: float = 0.99  # code: of ten times a random one is left out, another for each sample
    anchor: float = 1e-4  # λ, code
    beta: float = 1.0  # β, mixture of old and current; code: 1 for one reward, 0.1 for several
    bound: float = 5.0  # A_max, code
    schedule: Literal["copy", "ramp", "late"] = "ramp"  # types 0, 1, 2 of the code
    mode: Mode = "all"  # which advantages count, code

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta <= 0 or self.bound <= 0:
            raise ValueError(
                f"`beta` and `bound` must be positive, got {self.beta} and {self.bound}"
            )

    def old_decay(self, updates: int) -> float:
        """Type 0: 0; type 1: min(0.001 k, 0.5); type 2: 0, then min(0.0075 (k − 75), 0.999).

        k is the number of updates made so far.  [diffusion-nft] (decay)
        """
        rows = {"copy": (0.0, 0.0), "ramp": (0.001, 0.5), "late": (0.0075, 0.999, 75)}
        return climb(updates, *rows[self.schedule])

    def matching(self, answers: Answers) -> tuple[Tensor, dict[str, Tensor]]:
        """mean (r ℓ⁺ + (1 − r) ℓ⁻) A_max/β.  [diffusion-nft] (loss)"""
        old, rows = answers.old, answers.rows
        better = (1 - self.beta) * old + self.beta * answers.new
        worse = (1 + self.beta) * old - self.beta * answers.new
        target = answers.read(answers.target, "x0")
        plus, minus = (
            self_normalised_error(answers.read(v, "x0"), target) for v in (better, worse)
        )
        r = self.optimality(rows.advantage)[:, None]
        loss = (r * plus + (1 - r) * minus).mean() * self.bound / self.beta
        metrics = {
            "optimality/mean": r.mean(),
            "error/plus": plus.detach().mean(),
            "error/minus": minus.detach().mean(),
        }
        return loss, metrics

    def optimality(self, advantage: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """r = A/(2 A_max) + ½ in [0, 1].  [diffusion-nft] (optimality)"""
        match self.mode:
            case "positive_only":
                advantage = advantage.clamp(min=0)
            case "negative_only":
                advantage = advantage.clamp(max=0)
            case "one_only":
                advantage = (advantage > 0).to(advantage)
            case "binary":
                advantage = advantage.sign()
            case "all":
                pass
        return (advantage / (2 * self.bound) + 0.5).clamp(0, 1)
