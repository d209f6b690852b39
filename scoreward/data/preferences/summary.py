"""What a file of preferences holds, as plain numbers for a page, a program or run.json."""

from collections import Counter
from collections.abc import Sequence
from statistics import mean, median
from typing import Any

from scoreward.data.preferences.records import (
    Binary,
    Dropped,
    Pair,
    Record,
    completions,
    pictures,
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
        images = pictures(record)
        self.sizes.update("×".join(map(str, image.size)) for image in images)
        words = [len(text.split()) for text in completions(record)]
        first, second = self.lengths
        if isinstance(record, Pair):
            self.sources[record.source or "unknown"] += 1
            if record.score_w is not None and record.score_l is not None:
                self.gaps.append(record.score_w - record.score_l)
            first += words[:1]
            second += words[1:]
        elif isinstance(record, Binary):
            self.wanted += record.desirable
            self.lengths[not record.desirable].extend(words)
        else:
            first += words
            self.members.append(len(words) or len(images))

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
            found["gap"] = spread(self.gaps)
            found["gap"]["below_zero"] = sum(gap < 0 for gap in self.gaps)
        if any(self.lengths):
            found["words"] = [spread(words) for words in self.lengths if words]
        if issubclass(kind, Pair) and any(self.lengths):
            pairs = list(zip(*self.lengths))
            found["longer_won"] = sum(a > b for a, b in pairs) / len(pairs)
            found["equally_long"] = sum(a == b for a, b in pairs) / len(pairs)
        if issubclass(kind, Binary):
            found["wanted"] = self.wanted
        if self.members:
            found["members"] = spread(self.members)
        if self.sizes:
            found["sizes"] = dict(self.sizes.most_common(6))
        return found


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "mean": mean(values), "median": median(values), "low": min(values), "high": max(values),
    }  # fmt: skip
