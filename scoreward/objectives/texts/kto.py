"""KTO: single completions that are wanted or not, against a baseline of mismatched ones.  [kto]"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scoreward.core.device import wide
from scoreward.core.keys import Key
from scoreward.core.rows import Rows
from scoreward.losses import separate, tokens
from scoreward.losses.pairs import positive
from scoreward.models.texts.language import Sequences, TextPolicy
from scoreward.objectives.base import Needs, Objective

BASELINE = "kto/baseline"


@dataclass(frozen=True)
class LabelledRows(Rows):
    """Completions with their label; `other` is the next one's completion after this prompt."""

    text: Sequences
    other: Sequences
    desirable: Bool[Tensor, " batch"]
    weight: Float[Tensor, " batch"]
    sample: Int[Tensor, " batch"]
    ref: Float[Tensor, " batch"] | None = None


@dataclass(frozen=True)
class KTO(Objective[LabelledRows, LabelledRows, TextPolicy]):
    """λ_D(1 − σ(β(u − z))) or λ_U(1 − σ(β(z − u))).  [kto] (loss)

    z is the mean log-ratio of mismatched completions of the round, over all processes, before its
    first update.  [kto] (baseline)
    """

    beta: float = 0.1  # inverse temperature, 1/nats
    weight_desirable: float = 1.0  # λ_D
    weight_undesirable: float = 1.0  # λ_U

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        if min(self.weight_desirable, self.weight_undesirable) < 0:
            raise ValueError(
                "the weights of desirable and undesirable completions must not be negative, got "
                f"{self.weight_desirable} and {self.weight_undesirable}"
            )

    @property
    def needs(self) -> Needs:
        return Needs(everyone=True)

    def prepare(self, samples: LabelledRows, policy: TextPolicy, key: Key) -> LabelledRows:
        rows = samples
        other = rows.other.shortened()
        said = [
            reading(other.token, other.mask, None).log_prob
            for reading in (policy.old, policy.reference)
        ]
        ratio = tokens.summed(said[0] - said[1], other.mask)
        sums = policy.total(torch.stack([ratio.sum(), ratio.new_tensor(float(len(rows)))]))
        policy.memory[BASELINE] = separate.kto_baseline(sums[:1] / sums[1]).cpu()
        return rows

    def loss(self, rows: LabelledRows, policy: TextPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        if rows.ref is None:
            raise ValueError("KTO needs the reference's log-probabilities of the data")
        text = rows.text.shortened()
        said = policy.current(text.token, text.mask, None)
        logp = tokens.summed(said.log_prob, text.mask)
        ratio, baseline = logp - rows.ref, policy.memory[BASELINE].to(logp)
        weights = (self.weight_desirable, self.weight_undesirable)
        each = separate.kto(ratio, rows.desirable, self.beta, baseline, *weights)
        return (rows.weight * each).mean(), self._metrics(rows, ratio.detach(), logp, baseline)

    def _metrics(
        self, rows: LabelledRows, ratio: Tensor, logp: Tensor, baseline: Tensor
    ) -> dict[str, Tensor]:
        right = ((ratio > baseline) == rows.desirable).to(ratio)
        sign = torch.where(rows.desirable, 1.0, -1.0)
        return {
            "label/accuracy": right.mean(),
            "reward/signed": (self.beta * sign * ratio).mean(),
            "log_prob/mean": logp.detach().mean(),
            "length/mean": wide(rows.text.lengths()).mean(),
            "baseline/nats": baseline,
            "drift/nats": ratio.mean(),
        }
