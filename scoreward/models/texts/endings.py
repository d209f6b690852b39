"""How a chat template ends an answer, and where an answer of one or several turns is trained.

The template is asked, not the tokenizer: an answer ends in what the template writes behind it up to
the first control token. Text that is no chat ends in the end of sequence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from scoreward.data.preferences.records import Turns

Messages = Sequence[Mapping[str, str]]
PROBE = "Qz7probe"  # no spaces at its ends, for templates trim


class Encoded(tuple[list[int], int]):
    """Tokens of prompt and completion, and how many are prompt.

    `gaps` are places (from, to) of the completion that others said and that are not trained;
    `cut` says that it was longer than the context.
    """

    gaps: tuple[tuple[int, int], ...]
    cut: bool

    def __new__(
        cls, ids: list[int], given: int, gaps: Sequence[tuple[int, int]] = (), cut: bool = False
    ) -> "Encoded":
        made = super().__new__(cls, (ids, given))
        made.gaps, made.cut = tuple(gaps), cut
        return made

    @property
    def length(self) -> int:
        """Tokens that are trained."""
        return len(self[0]) - self[1] - sum(end - start for start, end in self.gaps)


@dataclass(frozen=True)
class Ending:
    """What a template writes behind an answer: all of it, the part that is trained, its tokens."""

    tail: str
    text: str
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class Endings:
    """Of one tokenizer; `also` are further tokens at which its model was made to stop."""

    tokenizer: Any
    also: tuple[int, ...] = ()
    lenient: bool = False  # let control tokens pass inside answers

    @cached_property
    def control(self) -> frozenset[int]:
        """Tokens that are marks, not text."""
        added = self.tokenizer.get_added_vocab().values()
        return frozenset({*self.tokenizer.all_special_ids, *added})

    @property
    def plain(self) -> Ending:
        """Of text that is no chat."""
        return Ending("", "", (int(self.tokenizer.eos_token_id),))

    def stops(self, ending: Ending) -> tuple[int, ...]:
        """Tokens at which an answer ends, the one it is trained to end in first."""
        every = (ending.tokens[-1], int(self.tokenizer.eos_token_id), *self.also)
        return tuple(dict.fromkeys(every))

    def rendered(self, messages: Messages, asked: bool) -> str:
        """The template's text, ready for an answer if one is `asked`."""
        return self.tokenizer.apply_chat_template(
            [dict(one) for one in messages], tokenize=False, add_generation_prompt=asked
        )

    def tokens(self, text: str) -> list[int]:
        """Of text that stands within a chat."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def of(self, messages: Messages) -> Ending:
        """How an answer to these messages ends.  ValueError for a template that writes none."""
        roles = tuple(one["role"] for one in messages)
        if roles not in self._known:
            whole = self.rendered([*messages, {"role": "assistant", "content": PROBE}], False)
            if PROBE not in whole:
                raise ValueError("the chat template does not write the answer of the assistant")
            tail = whole.rpartition(PROBE)[2]
            ids = self.tokens(tail)
            end = next((i for i, token in enumerate(ids) if token in self.control), None)
            if end is None:
                self._known[roles] = Ending(tail, "", self.plain.tokens)
            else:
                mark = self.tokenizer.convert_ids_to_tokens(ids[end])
                text = tail[: tail.find(mark) + len(mark)] if mark in tail else tail
                self._known[roles] = Ending(tail, text, tuple(ids[: end + 1]))
        return self._known[roles]

    @cached_property
    def _known(self) -> dict[tuple[str, ...], Ending]:
        return {}

    def answer(self, text: str, ending: Ending) -> list[int]:
        """Tokens of one answer and its end.  ValueError for control tokens within it."""
        ids, stops = self.tokens(text), self.stops(ending)
        ended = bool(ids) and ids[-1] in stops
        inside = ids[:-1] if ended else ids
        if not self.lenient and (marks := [one for one in inside if one in self.control]):
            name = self.tokenizer.convert_ids_to_tokens(marks[0])
            raise ValueError(
                f"the answer holds the control token {name!r}, and an answer cannot open or close "
                "turns; mend the data, or let it pass: --model.loading.allow-control-tokens"
            )
        return ids if ended else [*ids, *ending.tokens]

    def said(self, messages: Messages, asked: str, answer: str, ending: Ending) -> str:
        """The text of an answer as the template writes it behind the text `asked`."""
        whole = self.rendered([*messages, {"role": "assistant", "content": answer}], False)
        if not (whole.startswith(asked) and whole.endswith(ending.tail)):
            return answer
        return whole[len(asked) : len(whole) - len(ending.tail)]

    def chat(self, messages: Messages, answer: str) -> Encoded:
        """A chat and its answer, or the turns of an answer with what was said between them."""
        turns = answer.messages if isinstance(answer, Turns) else ({"content": answer},)
        before, text = list(messages), self.rendered(messages, True)
        ids = self.tokens(text)
        given, gaps = len(ids), list[tuple[int, int]]()
        for number, turn in enumerate(turns):
            if number and turn["role"] != "assistant":
                before.append(turn)
                continue
            if number:
                ahead = self.rendered(before, True)
                if not ahead.startswith(text):
                    raise ValueError(
                        "the chat template rewrites earlier turns once more follow; train on the "
                        "last turn alone"
                    )
                between = self.tokens(ahead[len(text) :])
                gaps.append((len(ids), len(ids) + len(between)))
                ids, text = [*ids, *between], ahead
            ending = self.of(before)
            said = self.said(before, text, turn["content"], ending)
            ids, text = [*ids, *self.answer(said, ending)], text + said + ending.text
            before.append({"role": "assistant", "content": turn["content"]})
        return Encoded(ids, given, gaps)
