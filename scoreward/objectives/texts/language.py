"""Pairs of completions and any loss of `scoreward.losses` on them.

The reference's log-probabilities come with the data, so an update asks the trained network alone.
Winners and losers go through it in one call.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.core.rows import Rows, join
from scoreward.losses import tokens
from scoreward.losses.language import Dispersion, PreferenceLoss, metrics
from scoreward.losses.pairs import PairLoss, Pairs
from scoreward.models.texts.language import LanguageReader, Sequences, TextPolicy, Wanted
from scoreward.objectives.base import Objective

NORM = "scale/norm"  # where a source leaves 1/mean(−log H̄) of its pairs


@dataclass(frozen=True)
class TextPairs(Rows):
    """Pairs as tokens, all of one width, with what is known of them before training.

    The reference's sums are in two parts: the tokens up to the shorter completion's length, and
    those beyond.
    """

    winner: Sequences
    loser: Sequences
    sample: Int[Tensor, " batch"]
    ref_w: Float[Tensor, "batch two"] | None = None
    ref_l: Float[Tensor, "batch two"] | None = None
    entropy_w: Float[Tensor, " batch"] | None = None
    entropy_l: Float[Tensor, " batch"] | None = None
    score_w: Float[Tensor, " batch"] | None = None
    score_l: Float[Tensor, " batch"] | None = None
    partner_w: Float[Tensor, " batch"] | None = None  # of methods that compare across a batch
    partner_l: Float[Tensor, " batch"] | None = None


def said_of(
    reading: LanguageReader, rows: TextPairs, tail: float, wanted: Wanted = Wanted()
) -> Pairs:
    """What a reading says of pairs, beside what the rows know.  [ld-dpo] (likelihood)"""
    both = join([rows.winner, rows.loser]).shortened()
    said = reading(both.token, both.mask, wanted)
    len_w, len_l = both.lengths().chunk(2)
    if tail == 1:
        logp = tokens.summed(said.log_prob, both.mask)
    else:
        shared = torch.minimum(len_w, len_l).repeat(2)
        logp = tokens.length_desensitised(said.log_prob, both.mask, shared, tail)
    logp_w, logp_l = logp.chunk(2)
    weight_w, weight_l = (None, None) if said.weight is None else said.weight.chunk(2)
    return Pairs(
        logp_w=logp_w,
        logp_l=logp_l,
        len_w=len_w,
        len_l=len_l,
        ref_w=_whole(rows.ref_w, tail),
        ref_l=_whole(rows.ref_l, tail),
        entropy_w=rows.entropy_w,
        entropy_l=rows.entropy_l,
        score_w=rows.score_w,
        score_l=rows.score_l,
        weight_w=weight_w,
        weight_l=weight_l,
    )


def _whole(parts: Tensor | None, tail: float) -> Tensor | None:
    return None if parts is None else parts[:, 0] + tail * parts[:, 1]


def shown(loss: PairLoss, pairs: Pairs) -> dict[str, Tensor]:
    """Metrics of pairs that are means over them.  Of a separate loss the logit is β(a − b)."""
    setting = loss if isinstance(loss, PreferenceLoss) else PreferenceLoss(beta=loss.beta)
    left_out = ("loss/mean", "logit/std")  # the first is `loss`, the second is no mean over pairs
    found = {k: v for k, v in metrics(setting, pairs).items() if k not in left_out}
    return {k: torch.tensor(v) for k, v in found.items()}


@dataclass(frozen=True)
class LanguagePreferences(Objective[TextPairs, TextPairs, TextPolicy]):
    """A loss on pairs.  `tail` is how much tokens beyond the shorter completion count."""

    method: PairLoss = PreferenceLoss(beta=0.1)
    tail: float = 1.0  # 1 is no LD-DPO
    norm_of_data: bool = False  # φ's norm is that of the source's pairs, not the method's

    @property
    def entropy(self) -> bool:
        """Whether the reference's entropies are needed."""
        return isinstance(self.method, PreferenceLoss) and self.method.scale is not None

    @property
    def reference(self) -> bool:
        """Whether the reference's log-probabilities are needed."""
        loss = self.method
        return not isinstance(loss, PreferenceLoss) or loss.reference_exponent > 0 or self.entropy

    def made(self, memory: dict[str, Tensor]) -> PairLoss:
        """The loss with the norm of the data, where that is wanted."""
        method = self.method
        if not self.norm_of_data or not isinstance(method, PreferenceLoss):
            return method
        return replace(method, scale=Dispersion(float(memory[NORM])))

    def prepare(self, samples: TextPairs, policy: TextPolicy, key: Key) -> TextPairs:
        return samples

    def loss(self, rows: TextPairs, policy: TextPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        method = self.made(policy.memory)
        weighted = isinstance(method, PreferenceLoss) and method.weighted
        wanted = Wanted(weight=weighted)
        pairs = said_of(policy.current, rows, self.tail, wanted)
        return method(pairs).mean(), shown(method, pairs)
