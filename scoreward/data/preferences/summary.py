"""What a file of preferences holds, as plain numbers for a page, a program or run.json."""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import mean, median
from typing import Any

from scoreward.data.preferences.records import (
    Dropped,
    ImageBinary,
    ImageGroup,
    ImagePair,
    Record,
    TextBinary,
    TextGroup,
    TextPair,
)
from scoreward.data.preferences.sorting import key_of

NAMED = 20  # faults written out; ours


def left_out(dropped: Dropped, named: int = NAMED) -> dict[str, Any]:
    """Ties, faulty rows by reason, and the first of them as sentences."""
    reasons = Counter(fault.why for fault in dropped.bad)
    return {
        "ties": dropped.ties,
        "skipped": len(dropped.bad),
        "reasons": dict(reasons.most_common(named)),
        "first": [str(fault) for fault in dropped.bad[:named]],
    }


def facts(name: str, used: int, dropped: Dropped) -> dict[str, Any]:
    """For `Run.origin["data"]`: what a run was trained on, and what was left out of it."""
    return {"source": name, "used": used, **left_out(dropped, 5)}


class Summary:
    """Counts, lengths and gaps of records that pass by once."""

    def __init__(self) -> None:
        self.count = 0
        self.prompts: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.gaps: list[float] = []
        self.lengths: tuple[list[int], list[int]] = ([], [])  # words of the first and the second
        self.wanted = 0
        self.members: list[int] = []
        self.sizes: Counter[str] = Counter()

    def add(self, record: Record) -> None:
        """Count one record."""
        self.count += 1
        self.prompts[key_of(record.prompt)] += 1
        if isinstance(record, ImagePair | TextPair):
            self.sources[record.source or "unknown"] += 1
            if record.score_w is not None and record.score_l is not None:
                self.gaps.append(record.score_w - record.score_l)
        if isinstance(record, ImageBinary | TextBinary):
            self.wanted += record.desirable
        if isinstance(record, ImageGroup | TextGroup):
            members = record.images if isinstance(record, ImageGroup) else record.completions
            self.members.append(len(members))
        self._sizes(record)

    def _sizes(self, record: Record) -> None:
        if isinstance(record, TextPair):
            for words, text in zip(self.lengths, (record.chosen, record.rejected)):
                words.append(len(text.split()))
        elif isinstance(record, TextBinary):
            self.lengths[not record.desirable].append(len(record.completion.split()))
        elif isinstance(record, TextGroup):
            self.lengths[0].extend(len(text.split()) for text in record.completions)
        elif isinstance(record, ImagePair):
            self.sizes.update(_size(image) for image in (record.winner, record.loser))
        elif isinstance(record, ImageBinary):
            self.sizes[_size(record.image)] += 1
        else:
            self.sizes.update(_size(image) for image in record.images)

    def numbers(self, kind: type, dropped: Dropped) -> dict[str, Any]:
        """All as plain JSON."""
        found: dict[str, Any] = {
            "kind": kind.__name__,
            "records": self.count,
            "prompts": len(self.prompts),
            "most_of_one_prompt": max(self.prompts.values(), default=0),
            **left_out(dropped),
        }
        if self.sources:
            found["sources"] = dict(self.sources.most_common())
        if self.gaps:
            found["gap"] = _spread(self.gaps)
            found["gap"]["below_zero"] = sum(gap < 0 for gap in self.gaps)
        if any(self.lengths):
            found["words"] = [_spread(words) for words in self.lengths if words]
        if kind is TextPair and self.count:
            found |= self._longer()
        if kind in (ImageBinary, TextBinary):
            found["wanted"] = self.wanted
        if self.members:
            found["members"] = _spread(self.members)
        if self.sizes:
            found["sizes"] = dict(self.sizes.most_common(6))
        return found

    def _longer(self) -> dict[str, float]:
        pairs = list(zip(*self.lengths))
        return {
            "longer_won": sum(a > b for a, b in pairs) / len(pairs),
            "equally_long": sum(a == b for a, b in pairs) / len(pairs),
        }


def _size(image: Any) -> str:
    return "×".join(map(str, image.size))


def _spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "mean": mean(values), "median": median(values), "low": min(values), "high": max(values),
    }  # fmt: skip


def summarise(kind: type, records: Iterable[Record], dropped: Dropped) -> dict[str, Any]:
    """The numbers of all records, read once."""
    summary = Summary()
    for record in records:
        summary.add(record)
    return summary.numbers(kind, dropped)
