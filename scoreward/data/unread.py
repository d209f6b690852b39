"""How much of a list of prompts its readers do not see: what stands behind their last token."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

Tokens = Callable[[Sequence[str]], Sequence[Sequence[int]]]
"""Texts to token numbers, nothing cut."""


@dataclass(frozen=True)
class Unread:
    """Different prompts, those that no reader sees whole, those that say the same as another."""

    of: int
    cut: int
    same: int
    limit: int  # tokens of the reader that sees most

    def sentence(self, who: str) -> str:
        """For the start of a run and its report; "" where everything is read."""
        if not self.cut:
            return ""
        same = f", and {self.same} of them then say the same as another" if self.same else ""
        return (
            f"{self.cut} of {self.of} prompts are longer than the {self.limit} tokens that {who} "
            f"reads: the rest of them is not seen{same}."
        )


def unread(prompts: Sequence[str], readers: Sequence[tuple[Tokens, int]]) -> Unread:
    """Each reader gives tokens, and takes so many of them from the beginning."""
    texts = list(dict.fromkeys(map(str, prompts)))
    cut_by, seen = [0] * len(texts), [list[tuple[int, ...]]() for _ in texts]
    for tokens, limit in readers if texts else ():
        for i, ids in enumerate(tokens(texts)):
            cut_by[i] += len(ids) > limit
            # the mark at the end stays where a text is cut before it
            seen[i].append((*ids[: limit - 1], ids[-1]) if len(ids) > limit else tuple(ids))
    cut = sum(count == len(readers) for count in cut_by) if readers else 0
    same = len(texts) - len({tuple(one) for one in seen}) if cut else 0
    return Unread(len(texts), cut, same, max((limit for _, limit in readers), default=0))
