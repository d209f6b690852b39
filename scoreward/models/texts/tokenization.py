"""Prompts and answers as the tokens that a language model sees; no weights are needed for that."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from scoreward.data.preferences.records import Prompt, Turns
from scoreward.models.texts.endings import Encoded, Endings


@dataclass(frozen=True)
class Tokenization:
    """A `transformers` tokenizer, and what its model says about lengths and ends.

    `context` is the most tokens of prompt and completion together; `also` are further tokens at
    which the model was made to stop; `name` is where all was loaded from.
    """

    tokenizer: Any
    context: int
    also: tuple[int, ...] = ()
    name: str = ""
    lenient: bool = False  # let control tokens pass inside answers

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
        return Endings(self.tokenizer, self.also, self.lenient)

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
