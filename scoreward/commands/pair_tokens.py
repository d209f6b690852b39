"""What a language model sees of a file of preferences: the tokens, and where its loss starts."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from scoreward.data.preferences.records import TextBinary, TextGroup, TextPair, completions
from scoreward.data.preferences.summary import NAMED, spread
from scoreward.models.texts.endings import Encoded
from scoreward.models.texts.loading import tokenization_of
from scoreward.models.texts.tokenization import Tokenization
from scoreward.report.pairs import PairCard, Pane, Token
from scoreward.training.sources.texts import encoded


def seen_by(model: str, kind: type[Any], cards: list[PairCard]) -> "Seen":
    """What a model by folder or name sees.  Raises ValueError for records without answers."""
    if kind not in (TextPair, TextBinary):
        more = ", or make pairs of it first: scoreward pairs make" if kind is TextGroup else ""
        raise ValueError(
            "--model shows the tokens of pairs of texts and of labelled answers, and this file "
            f"holds {kind.__name__} records; leave the option out{more}"
        )
    return Seen(tokenization_of(model), cards)


@dataclass(frozen=True)
class Seen:
    """Of one model; `cards` are the records that a page shows, the first of all."""

    text: Tokenization
    cards: list[PairCard]

    def numbers(self, records: Iterable[Any]) -> dict[str, Any]:
        """Lengths in tokens, how many answers are cut, and what training would refuse.

        The cards get the tokens of every answer that training would take.
        """
        given, trained, cut, refused = list[int](), list[int](), 0, list[str]()
        for row, record in enumerate(records):
            try:
                found = [encoded(self.text, row, record.prompt, s) for s in completions(record)]
            except ValueError as why:
                refused.append(str(why))
                continue
            given.append(found[0][1])
            trained += [one.length for one in found]
            cut += sum(one.cut for one in found)
            if row < len(self.cards):
                card = self.cards[row]
                panes = [self._pane(*one) for one in zip(card.panes, found, strict=True)]
                self.cards[row] = replace(card, panes=panes)
        about = {"prompt": spread(given), "trained": spread(trained)} if given else {}
        return {"model": self.text.name, **about, "cut": cut, "refused": refused[:NAMED]}

    def _pane(self, pane: Pane, found: Encoded) -> Pane:
        ids, start = found
        between = {place for a, b in found.gaps for place in range(a, b)}
        kinds = ["given" if i < start or i in between else "trained" for i in range(len(ids))]
        tokens = [Token(self._shown(i), kind) for i, kind in zip(ids, kinds, strict=True)]
        end = f"; cut at the context of {self.text.context}" if found.cut else ""
        seen = f"{len(ids)} tokens, {found.length} of them trained, from token {start + 1} on{end}"
        return replace(pane, tokens=tokens, seen=seen)

    def _shown(self, token: int) -> str:
        """A token as text; by its own name where it is a part of a letter."""
        text = self.text.tokenizer.decode([token], clean_up_tokenization_spaces=False)
        if not text or "\ufffd" in text:
            text = str(self.text.tokenizer.convert_ids_to_tokens(token))
        return text.replace("\n", "↵\n")
