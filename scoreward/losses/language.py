"""One objective for pairs of completions; the published losses are its settings (methods.py).

    v = (log π − α log π_ref) / |y|^η          for winner and loser
    x = shape(v_w) − shape(v_l) − κ γ          κ = 1 − α with mixing, 1 without
    L = w f(φ β x) − λ log π(y_w) / |y_w|^η'   or of another completion to imitate

With mixing the policy is compared with π_ref^α π_γ^(1−α), where π_γ is a fictitious policy whose
winner is ahead by exactly γ. The normaliser of that mixture cancels for η = 0; for η = 1 a term
is left over that the method ignores.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.losses.links import Link, Logistic, saturated
from scoreward.losses.pairs import Pairs
from scoreward.losses.shapes import Shape, Straight


@runtime_checkable
class Offset(Protocol):
    """γ: by how much the winner has to be ahead, in the units of x."""

    def __call__(self, pairs: Pairs) -> Float[Tensor, " batch"]: ...


@dataclass(frozen=True)
class Constant:
    """The same γ for every pair.  [simpo] (margin)"""

    gamma: float = 0.0

    def __call__(self, pairs: Pairs) -> Float[Tensor, " batch"]:
        return torch.full_like(pairs.policy()[0], self.gamma)


@dataclass(frozen=True)
class LengthGap:
    """γ = −a (|y_w| − |y_l|): a winner that is longer has to be ahead by less.  [r-dpo] (margin)

    This follows from a reward that is penalised by length. The sign printed in a survey is the
    other one; a negative `per_token` gives it.
    """

    per_token: float

    def __call__(self, pairs: Pairs) -> Float[Tensor, " batch"]:
        len_w, len_l = pairs.lengths()
        return -self.per_token * (len_w - len_l)


@dataclass(frozen=True)
class ScoreGap:
    """γ = a g(score_w − score_l).  [odpo] (offset)

    With g = log it is negative for gaps below 1.
    """

    factor: float
    growth: Literal["log", "identity"]

    def __call__(self, pairs: Pairs) -> Float[Tensor, " batch"]:
        score_w, score_l = pairs.scores()
        gap = score_w - score_l
        if self.growth == "identity":
            return self.factor * gap
        if not bool((gap > 0).all()):
            raise ValueError(
                f"the logarithm of a score gap needs score_w > score_l, got a gap of "
                f'{gap.min().item():g}; drop such pairs or use growth="identity"'
            )
        return self.factor * gap.log()


@dataclass(frozen=True)
class WinnerDrop:
    """γ = λ max(0, log π_ref(y_w) − log π(y_w)), with gradient.  [dpop] (penalty)"""

    factor: float

    def __call__(self, pairs: Pairs) -> Float[Tensor, " batch"]:
        return self.factor * (-pairs.log_ratios()[0]).clamp(min=0)


@dataclass(frozen=True)
class Dispersion:
    """φ = norm · (−log H̄), with H̄ the mean normalised entropy of both.  [mallows-po] (dispersion)

    Where the reference is undecided (H̄ near 1) the pair pushes less. `norm` is 1/mean(−log H̄)
    over the data, so that φ averages 1.
    """

    norm: float

    def __call__(self, pairs: Pairs) -> Float[Tensor, " batch"]:
        return -self.norm * mean_entropy(pairs).log()


def mean_entropy(pairs: Pairs) -> Float[Tensor, " batch"]:
    """H̄, both completions alike, kept within [1e-6, 1 − 1e-6]."""
    entropy_w, entropy_l = pairs.entropies()
    return ((entropy_w + entropy_l) / 2).clamp(1e-6, 1 - 1e-6)


def dispersion_norm(pairs: Pairs) -> float:
    """1/mean(−log H̄) over pairs; take at least a thousand.  [mallows-po] (norm)"""
    return 1 / float(-mean_entropy(pairs).log().mean())


@dataclass(frozen=True)
class PreferenceLoss:
    """The objective at the head of this module, per pair.  [rainbow-po] (objective)

    α is the exponent of the reference, β is in 1/nats, and γ is inside β. With Bradley-Terry
    labels for rewards r on every pair, the logistic link, η = 0 and neither γ nor φ, the best
    policy is π ∝ π_ref^α e^(r/β).  [dpo] (optimum)
    """

    link: Link = field(default_factory=Logistic)
    beta: float = 1.0
    length_exponent: float = 0.0  # η; 1 compares means per token
    reference_exponent: float = 1.0  # α; 0 needs no reference
    offset: Offset = field(default_factory=Constant)
    mixing: bool = False
    scale: Dispersion | None = None  # φ; None is 1
    shape: Shape = field(default_factory=Straight)
    weight: float = 1.0
    weighted: bool = False  # also by the pairs' weight_w · weight_l
    sft: float = 0.0  # λ
    sft_length_exponent: float = 1.0  # η'; 1 is the mean per token

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"expected beta > 0, got {self.beta}")
        if not 0 <= self.reference_exponent <= 1:
            raise ValueError(
                f"expected a reference exponent in [0, 1], got {self.reference_exponent}"
            )
        if self.weight < 0 or self.sft < 0:
            raise ValueError(f"expected weights >= 0, got weight={self.weight}, sft={self.sft}")

    def advantage(self, pairs: Pairs) -> Float[Tensor, " batch"]:
        """x, by how much the winner is ahead, in log-probability.  [rainbow-po] (mixing)"""
        value_w, value_l = pairs.policy()
        if self.reference_exponent:
            ref_w, ref_l = pairs.reference()
            value_w = value_w - self.reference_exponent * ref_w
            value_l = value_l - self.reference_exponent * ref_l
        len_w, len_l = pairs.lengths()
        value_w = self.shape(value_w / len_w**self.length_exponent)
        value_l = self.shape(value_l / len_l**self.length_exponent)
        share = 1 - self.reference_exponent if self.mixing else 1.0
        return value_w - value_l - share * self.offset(pairs)

    def logit(self, pairs: Pairs) -> Float[Tensor, " batch"]:
        """φ β x"""
        x = self.beta * self.advantage(pairs)
        return x if self.scale is None else self.scale(pairs) * x

    def __call__(self, pairs: Pairs) -> Float[Tensor, " batch"]:
        """The loss of each pair."""
        loss = self.weight * self.link(self.logit(pairs))
        if self.weighted:  # [wpo] (weights)
            weight_w, weight_l = pairs.weights()
            loss = weight_w * weight_l * loss
        if self.sft:
            logp, length = pairs.imitated()
            loss = loss - self.sft * logp / length**self.sft_length_exponent
        return loss


@torch.no_grad()
def metrics(loss: PreferenceLoss, pairs: Pairs) -> dict[str, float]:
    """What to watch while training.

    `reward/…` is β log π/π_ref as usually reported, which knows nothing of γ, α, φ and lengths;
    `logit/…` is what the link sees. `drift/nats` is the mean log-ratio of both completions: no KL
    divergence, for the completions need not come from the policy.
    """
    logit, (logp_w, logp_l) = loss.logit(pairs), pairs.policy()
    len_w, len_l = pairs.lengths()
    shown = {
        "loss/mean": loss(pairs),
        "logit/mean": logit,
        "logit/std": logit.std(correction=0),
        "logit/saturated": saturated(logit),
        "pair/accuracy": (logit > 0).to(logit),
        "log_prob/winner": logp_w,
        "log_prob/loser": logp_l,
        "length/winner": len_w,
        "length/loser": len_l,
    }
    if pairs.ref_w is not None and pairs.ref_l is not None:
        ratio_w, ratio_l = pairs.log_ratios()
        shown |= {
            "reward/winner": loss.beta * ratio_w,
            "reward/loser": loss.beta * ratio_l,
            "reward/margin": loss.beta * (ratio_w - ratio_l),
            "drift/nats": (ratio_w + ratio_l) / 2,
        }
    if loss.scale is not None:
        shown |= {"scale/mean": loss.scale(pairs), "entropy/mean": mean_entropy(pairs)}
    return {name: value.mean().item() for name, value in shown.items()}
