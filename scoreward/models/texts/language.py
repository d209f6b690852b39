"""A causal language model as something the trainer can train: tokens in, log-probabilities out.

It is asked (tokens, mask, wanted) as a denoiser is asked (x_t, t, cond), so the snapshots and
counters around it are the same. Sequences are padded on the right: a causal network never looks
there, so padding needs no attention mask and changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from scoreward.core.denoiser import NetworkReading
from scoreward.core.policy import Policy
from scoreward.core.rows import Rows
from scoreward.data.preferences.records import Turns
from scoreward.losses import tokens
from scoreward.models.base import RoundFacts, Save
from scoreward.models.texts.endings import Encoded, Endings

Prompt = str | Sequence[Mapping[str, str]]
"""Text, or the messages of a chat, which the tokenizer's template renders."""


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

    `context` is the most tokens of prompt and completion together. `save` writes trained weights
    in the format of transformers; `name` is where it was loaded from.
    """

    network: nn.Module
    tokenizer: Any
    context: int
    plain: bool = True  # see LanguageReading
    save: Save | None = None
    name: str = ""
    lenient: bool = False  # let control tokens pass inside answers

    @property
    def reading(self) -> LanguageReading:
        return LanguageReading(self.network, self.plain)

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

    @property
    def padding(self) -> int:
        """The token that fills up; any will do, for nothing looks at it."""
        known = self.tokenizer.pad_token_id
        return int(self.tokenizer.eos_token_id if known is None else known)

    def rendered(self, prompt: Prompt) -> str:
        """The prompt as text.  Raises ValueError for messages without a template."""
        if isinstance(prompt, str):
            return prompt
        if not self.tokenizer.chat_template:
            raise ValueError(
                f"the tokenizer of {self.name or 'this model'} has no chat template, so a prompt "
                "must be text, but messages came"
            )
        return self.endings.rendered(prompt, asked=True)

    @cached_property
    def endings(self) -> Endings:
        """How answers end."""
        told = getattr(getattr(self.network, "generation_config", None), "eos_token_id", None)
        also = [] if told is None else told if isinstance(told, list) else [told]
        return Endings(self.tokenizer, tuple(map(int, also)), self.lenient)

    def stops(self, prompt: Prompt) -> tuple[int, ...]:
        """Tokens at which an answer to this prompt ends."""
        ends = self.endings
        return ends.stops(ends.plain if isinstance(prompt, str) else ends.of(prompt))

    def prompt_tokens(self, prompt: Prompt) -> list[int]:
        """Tokens of the rendered prompt; one token at least, for the first has to follow one."""
        text = self.rendered(prompt)
        plain = isinstance(prompt, str)  # a template writes its own special tokens
        ids = list(self.tokenizer(text, add_special_tokens=plain)["input_ids"])
        if ids and ids[-1] == self.tokenizer.eos_token_id and plain:
            ids.pop()
        start = self.tokenizer.bos_token_id
        if start is not None and ids[:2] == [start, start]:  # one of them stood in the text
            ids.pop(0)
        return ids or [int(self.tokenizer.eos_token_id if start is None else start)]

    def sequence(self, prompt: Prompt, completion: str) -> Encoded:
        """Tokens, and how many of them are prompt; cut to the context at the end.

        An answer ends as the chat template ends it, or in the end of sequence behind text; that is
        learned too, and is not written twice. Raises ValueError where the prompt alone fills the
        context, and where the answer holds other control tokens.
        """
        if isinstance(prompt, str):
            if isinstance(completion, Turns):
                raise ValueError("an answer of several turns needs messages as its prompt")
            ids = self.prompt_tokens(prompt)
            whole = Encoded([*ids, *self.endings.answer(completion, self.endings.plain)], len(ids))
        else:
            self.rendered(prompt)  # refuses messages without a template
            whole = self.endings.chat(prompt, completion)
        ids, given = whole
        if given >= self.context:
            raise ValueError(
                f"the prompt has {given} tokens, which leaves no room for a completion in a "
                f"context of {self.context}"
            )
        if len(ids) <= self.context:
            return whole
        gaps = [(a, min(b, self.context)) for a, b in whole.gaps if a < self.context]
        return Encoded(ids[: self.context], given, gaps, cut=True)

    def padded(self, rows: Sequence[tuple[list[int], int]], width: int = 0) -> Sequences:
        """Tokens of different lengths as one block of at least `width` columns."""
        width = max([width, *(len(ids) for ids, _ in rows)])
        token = torch.full((len(rows), width), self.padding)
        mask = torch.zeros(len(rows), width, dtype=torch.bool)
        for row, one in enumerate(rows):
            ids, given = one
            token[row, : len(ids)] = torch.tensor(ids)
            mask[row, given : len(ids)] = True
            for start, end in one.gaps if isinstance(one, Encoded) else ():
                mask[row, start:end] = False
        return Sequences(token, mask)
