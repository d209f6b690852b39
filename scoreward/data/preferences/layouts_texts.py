"""Layouts of public text preferences: UltraFeedback binarized, and the formats that TRL reads.

A completion may be text or messages, and the prompt may stand in its own column or only be what
both completions begin with. Messages become the chat before the last answer, and that answer.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from scoreward.data.preferences.layouts import (
    TIE,
    Layout,
    Made,
    cell,
    flag,
    maybe,
    messages,
    prompt_of,
    word,
)
from scoreward.data.preferences.layouts_images import chosen_pictures, labelled_picture
from scoreward.data.preferences.records import (
    ImageBinary,
    ImagePair,
    Prompt,
    TextBinary,
    TextPair,
    Turns,
    Unusable,
)
from scoreward.data.preferences.tables import Row
from scoreward.data.texts import blank


def _scored(rows: Sequence[Row], folder: Path) -> Made:
    """UltraFeedback binarized; equal scores are a tie."""
    row = rows[0]
    better, worse = maybe(row, "score_chosen"), maybe(row, "score_rejected")
    if better is not None and better == worse:
        yield TIE
        return
    yield TextPair(*_halves(row), better, worse, word(row, "prompt_id"))


def _pair(rows: Sequence[Row], folder: Path) -> Made:
    row = rows[0]
    scores = maybe(row, "score_w"), maybe(row, "score_l")
    yield TextPair(*_halves(row), *scores, word(row, "id"), word(row, "source"))


def _unpaired(rows: Sequence[Row], folder: Path) -> Made:
    row = rows[0]
    prompt, completion = prompt_of(row), cell(row, "completion")
    if first := _system(row):
        prompt = [*first, *_joined(prompt)]
    if not isinstance(completion, str):
        prompt, completion = _joined(prompt), messages("completion", completion)
        completion = _answer("completion", completion)
    yield TextBinary(prompt, completion, flag(row, "label"), id=word(row, "id"))


def _system(row: Row) -> list[dict[str, str]]:
    """What a system said, as the first message of a chat.  Raises Unusable."""
    value = row.get("system")
    if not isinstance(value, str | None):
        raise Unusable(f"system is {value!r}, which is not text"[:200])
    return [] if value is None or blank(value) else [{"role": "system", "content": value}]


def _halves(row: Row) -> tuple[Prompt, str, str]:
    """(prompt, chosen, rejected) in whatever form the row has them, below what a system said."""
    chosen, rejected = cell(row, "chosen"), cell(row, "rejected")
    prompt = None if row.get("prompt") is None else prompt_of(row)
    if first := _system(row):
        prompt = [*first, *_joined(prompt or [])]
    if isinstance(chosen, str) and isinstance(rejected, str):
        if prompt is not None:
            return prompt, chosen, rejected
        halves = _cut(chosen, rejected)
        if len(halves[0].split()) < 2:  # answers often begin with the same word
            raise Unusable(
                f"there is no prompt: chosen and rejected only share {halves[0]!r}; --columns "
                "prompt=COLUMN says where it is"
            )
        return halves
    if isinstance(chosen, str) or isinstance(rejected, str):
        raise Unusable("of chosen and rejected one is text and the other messages")
    return _chats(prompt, messages("chosen", chosen), messages("rejected", rejected))


def _alike(one: Sequence[object], other: Sequence[object]) -> int:
    """How far both begin with the same."""
    pairs = enumerate(zip(one, other))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _cut(chosen: str, rejected: str) -> tuple[str, str, str]:
    """The prompt is what both begin with; a space where they part belongs to the completions."""
    at = _alike(chosen, rejected)
    if at and chosen[at - 1] == " ":
        at -= 1
    return chosen[:at], chosen[at:], rejected[at:]


def _chats(
    prompt: Prompt | None, chosen: list[dict[str, str]], rejected: list[dict[str, str]]
) -> tuple[Prompt, str, str]:
    same = _alike(chosen, rejected)
    if chosen == rejected:
        raise Unusable("chosen and rejected are the same messages")
    before: Prompt = chosen[:same]
    if not isinstance(prompt, str | None):
        before = [*prompt, *chosen[:same]]
    elif prompt and not same:
        before = _joined(prompt)
    answers = [_answer(n, m[same:]) for n, m in (("chosen", chosen), ("rejected", rejected))]
    return before, answers[0], answers[1]


def _joined(prompt: Prompt) -> Prompt:
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt


def _answer(name: str, chat: Sequence[Mapping[str, str]]) -> str:
    """What an assistant said that is left of a chat without its prompt, in one turn or several."""
    roles = [one["role"] for one in chat]
    ends = chat and roles[0] == roles[-1] == "assistant"
    if not ends or ("assistant", "assistant") in pairwise(roles):
        said = ", ".join(roles) or "nothing"
        raise Unusable(f"{name} should end in one answer of the assistant, and ends in {said}")
    if any(blank(one["content"]) for one in chat):
        raise Unusable(f"a turn of {name} is empty")
    return chat[0]["content"] if len(chat) == 1 else Turns(chat)


PUBLIC_TEXTS = (
    Layout("ultrafeedback", frozenset({"chosen", "rejected", "score_chosen", "score_rejected"}),
           {TextPair: _scored, ImagePair: chosen_pictures}),
    Layout("trl explicit", frozenset({"prompt", "chosen", "rejected"}),
           {TextPair: _pair, ImagePair: chosen_pictures}),
    Layout("trl implicit", frozenset({"chosen", "rejected"}), {TextPair: _pair}),
    Layout("trl unpaired", frozenset({"prompt", "completion", "label"}),
           {TextBinary: _unpaired, ImageBinary: labelled_picture}),
)  # fmt: skip
