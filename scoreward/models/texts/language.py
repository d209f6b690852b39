"""A causal language model as something the trainer can train: tokens in, log-probabilities out.

It is asked (tokens, mask, wanted) as a denoiser is asked (x_t, t, cond), so the snapshots and
counters around it are the same. Sequences are padded on the right: a causal network never looks
there, so padding needs no attention mask and changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from scoreward.core.denoiser import NetworkReading
from scoreward.core.policy import Policy
from scoreward.core.rows import Rows
from scoreward.losses import tokens
from scoreward.models.base import RoundFacts, Save
from scoreward.models.texts.endings import Encoded
from scoreward.models.texts.tokenization import Tokenization


@dataclass(frozen=True)
class Sequences(Rows):
    """Prompts and completions as tokens, padded on the right; `mask` is true on completions."""

    token: Int[Tensor, "batch length"]
    mask: Bool[Tensor, "batch length"]

    def lengths(self) -> Int[Tensor, " batch"]:
        """Tokens of each completion."""
        return self.mask.sum(1)

    def shortened(self) -> "Sequences":
        """Without the columns behind the longest completion."""
        used = self.mask.any(0).nonzero()
        end = int(used[-1]) + 1 if len(used) else 1
        return Sequences(self.token[:, :end], self.mask[:, :end])


@dataclass(frozen=True)
class Wanted:
    """What to say besides log-probabilities; the same for every row."""

    entropy: bool = False
    weight: bool = False

    def __getitem__(self, index: Any) -> "Wanted":
        return self


@dataclass(frozen=True)
class Said(Rows):
    """What a language model says of sequences; log-probabilities are 0 outside completions."""

    log_prob: Float[Tensor, "batch length"]  # nats, of each token given those before it
    entropy: Float[Tensor, " batch"] | None = None  # tokens.mean_entropy
    weight: Float[Tensor, " batch"] | None = None  # tokens.on_policy_weight


@dataclass(frozen=True)
class LanguageReading:
    """(tokens, mask, wanted) → Said; float32 or better, whatever the network computes in.

    Only the positions that predict a completion's token meet the vocabulary, in pieces. `plain`
    says that the head is all there is between hidden states and logits.
    """

    network: nn.Module
    plain: bool = True

    def __call__(
        self,
        token: Int[Tensor, "batch length"],
        mask: Bool[Tensor, "batch length"],
        wanted: Wanted | None,
        /,
    ) -> Said:
        network: Any = self.network
        asked, ahead = wanted or Wanted(), mask[:, 1:]
        if self.plain:
            inside = network.get_decoder()(input_ids=token, use_cache=False)
            states, head = inside.last_hidden_state[:, :-1][ahead], network.get_output_embeddings()
        else:
            said = network(input_ids=token, use_cache=False)
            states, head = said.logits[:, :-1][ahead], nn.Identity()
        target, values = token[:, 1:][ahead], _Values(asked)
        for piece, at in zip(states.split(tokens.PIECE), target.split(tokens.PIECE), strict=True):
            values.add(head(piece)[None], at[None])
        return values.said(mask)


class _Values:
    """Numbers of single tokens, put back where the tokens are."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.log_prob: list[Tensor] = []
        self.entropy: list[Tensor] = []
        self.collision: list[Tensor] = []

    def add(self, logits: Tensor, at: Tensor) -> None:
        self.log_prob.append(tokens.token_log_probs(logits, at)[0])
        if self.wanted.entropy:
            self.entropy.append(tokens.entropies(logits)[0])
        if self.wanted.weight:
            self.collision.append(tokens.log_collisions(logits)[0])

    def said(self, mask: Tensor) -> Said:
        log_prob = _placed(self.log_prob, mask)
        entropy = weight = None
        if self.wanted.entropy:
            entropy = tokens.mean(_placed(self.entropy, mask), mask)
        if self.wanted.weight:
            surprise = log_prob.detach() - _placed(self.collision, mask)
            weight = tokens.mean(surprise, mask).exp()
        return Said(log_prob, entropy, weight)


def _placed(values: list[Tensor], mask: Tensor) -> Tensor:
    """Values of the completion's tokens at their places, 0 elsewhere."""
    flat = torch.cat(values)
    whole = flat.new_zeros(mask.shape)
    return whole.masked_scatter(mask, flat)


LanguageReader = NetworkReading[Wanted | None, Said]
TextPolicy = Policy[LanguageReader]


@dataclass(frozen=True)
class LanguageModel:
    """A `transformers` causal language model with its tokenizer.

    `save` writes trained weights in the format of transformers.
    """

    network: nn.Module
    text: Tokenization
    plain: bool = True  # see LanguageReading
    save: Save | None = None

    @property
    def reading(self) -> LanguageReading:
        return LanguageReading(self.network, self.plain)

    @property
    def name(self) -> str:
        """Where it was loaded from."""
        return self.text.name

    def guided(self, reading: LanguageReader, scale: float) -> LanguageReader:
        if scale != 1.0:
            raise ValueError("a language model has no null condition; set `guidance` to 1")
        return reading

    def policy(
        self, readings: TextPolicy, slow: LanguageReader | None, asking: RoundFacts
    ) -> TextPolicy:
        return readings

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def padded(self, rows: Sequence[tuple[list[int], int]], width: int = 0) -> Sequences:
        """Tokens of different lengths as one block of at least `width` columns."""
        width = max([width, *(len(ids) for ids, _ in rows)])
        token = torch.full((len(rows), width), self.text.padding)
        mask = torch.zeros(len(rows), width, dtype=torch.bool)
        for row, one in enumerate(rows):
            ids, given = one
            token[row, : len(ids)] = torch.tensor(ids)
            mask[row, given : len(ids)] = True
            for start, end in one.gaps if isinstance(one, Encoded) else ():
                mask[row, start:end] = False
        return Sequences(token, mask)
