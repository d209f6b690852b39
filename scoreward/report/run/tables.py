"""The tables of the report as plain rows, ready for the template."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from scoreward.report.folder import (
    Record,
    SavedRun,
    items,
    number,
    priced,
    samplers,
    section,
    total,
)
from scoreward.report.words import Ends, change, ends, label, limits, show

LONGEST = 400  # characters of one setting; ours
LEVELS = ("ok", "warn", "alarm")
LOWER_IS_BETTER = ("loss",)
NEUTRAL = ("log_prob_winner", "written_length")  # neither good nor bad by themselves

# check: (what a reader calls it, what it compares)
CHECKS = {
    "ratio": ("Ratio before the first update", "how far new to old likelihood is from 1"),
    "ratio_spread": ("Ratio within a round", "how far any likelihood ratio moved from 1"),
    "replay": ("Replay", "stored log-probability against the same one computed again"),
    "zero_variance": ("Groups without variance", "groups with equal rewards teach nothing"),
    "clip": ("Clip fraction", "share of ratios outside the clip range"),
    "drift": ("Drift", "mean squared distance of the velocity from the base model's"),
    "reward_vs_judge": ("Reward against judge", "gain of the reward that the judge does not see"),
    "sample_norm": ("Sample norm", "change of the samples' size since the first round"),
}  # fmt: skip
PARTS = {
    "forward": "Forward passes",
    "backward": "Backward passes",
    "reward": "Rewards",
    "optimiser": "Optimiser",
    "other": "Everything else",
    "behaviour": "Behaviour, forward",
    "training_forward": "Training, forward",
    "training_backward": "Training, backward (two each)",
}


@dataclass(frozen=True)
class Change:
    """One measure before and after; a `limit` is on the ratio of the two, `kept` or not."""

    name: str
    before: float | None
    after: float | None
    limit: str = ""
    kept: bool | None = None

    @property
    def label(self) -> str:
        return label(self.name)

    @property
    def change(self) -> str:
        if self.limit and self.before and self.after is not None:
            return f"{self.after / self.before:.2f} × base"
        return change(self.before, self.after)

    @property
    def better(self) -> bool | None:
        if self.kept is not None or self.before is None or self.after is None:
            return self.kept
        if self.name in NEUTRAL or self.after == self.before:
            return None
        return (self.after > self.before) != (self.name in LOWER_IS_BETTER)


def changes(pair: Ends, names: list[str]) -> list[Change]:
    """Scores, then what has a limit."""
    limited = {name: (_wanted(name, limit), kept) for name, _, limit, kept in limits(pair)}
    rows = [*names, *(n for n in ("palette", "diversity", "nearest") if _known(pair, n))]
    return [Change(n, *pair.pair(n), *limited.get(n, ("", None))) for n in rows]


def _known(pair: Ends, name: str) -> bool:
    return pair.pair(name) != (None, None)


def _wanted(name: str, limit: float) -> str:
    return f"{'at most' if name == 'nearest' else 'at least'} {limit:.2f}"


def attributes(run: SavedRun, sampler: str) -> list[Change]:
    """Per-attribute accuracy at the first and last evaluation."""
    if not run.evaluations:
        return []
    first = section(run.evaluations[0], sampler, "attributes")
    later = run.evaluations[-1] if len(run.evaluations) > 1 else {}
    pair = Ends(first, section(later, sampler, "attributes"))
    return [Change(name, *pair.pair(name)) for name in dict.fromkeys([*pair.before, *pair.after])]


def scale(rows: list[Change]) -> float:
    """Where a scale that ends at 1 may start, in tenths, so that small changes show."""
    values = [v for row in rows for v in (row.before, row.after) if v is not None]
    return max(0.0, math.floor(10 * min(values, default=0.0) - 0.2) / 10)


def by_measure(run: SavedRun, names: list[str]) -> list[list[tuple[str, Change]]]:
    """For each measure, its change under every sampler; nothing to compare if there is one."""
    pairs = [(s, ends(run, s)) for s in samplers(run)]
    rows = [
        [(s, Change(name, *pair.pair(name))) for s, pair in pairs if _known(pair, name)]
        for name in [*names, "palette", "diversity", "nearest"]
    ]
    return [row for row in rows if row] if len(pairs) > 1 else []


@dataclass(frozen=True)
class Mark:
    """A warning on the time line of a check: where, how wide (percent), how bad."""

    left: float
    width: float
    level: str


@dataclass(frozen=True)
class CheckLine:
    """One line of the health panel: the worst moment speaks, and the last value is shown."""

    label: str
    meaning: str
    level: str
    value: str
    message: str
    when: str
    marks: list[Mark]


def checks(run: SavedRun) -> list[CheckLine]:
    """Every check that was made, the worst first."""
    names = dict.fromkeys(str(h.get("check") or "check") for h in run.health)
    rows = [_check(run, name) for name in names]
    return sorted(rows, key=lambda row: -LEVELS.index(row.level))


def _check(run: SavedRun, name: str) -> CheckLine:
    records = [h for h in run.health if str(h.get("check") or "check") == name]
    worst = max(records, key=lambda h: LEVELS.index(_level(h)))
    level = _level(worst)
    bad = [h for h in records if _level(h) == level]
    spoken = bad[-1]
    text, meaning = CHECKS.get(name, (label(name), ""))
    times = f"{len(bad)} times, last" if len(bad) > 1 else "once,"
    when = "" if level == "ok" else f"{times} in round {spoken.get('round', '?')}"
    message = str(spoken.get("message") or "")
    return CheckLine(
        text, meaning, level, show(records[-1].get("value")), message, when, _marks(run, records)
    )


def _level(record: Record) -> str:
    """A level that we do not know is shown as a warning rather than as fine."""
    level = record.get("level")
    return level if level in LEVELS else "warn"


def _marks(run: SavedRun, records: list[Record]) -> list[Mark]:
    """Each record holds until the next one of its check, or for the gap it usually has."""
    last = max(run.last_round, 1)
    starts = [number(r.get("round")) or 0 for r in records]
    gap = min((b - a for a, b in pairwise(starts) if b > a), default=1)
    return [
        Mark(100 * (start - gap if start >= gap else 0) / last, 100 * gap / last, _level(r))
        for start, r in zip(starts, records, strict=True)
        if _level(r) != "ok"
    ]


@dataclass(frozen=True)
class Part:
    """One piece of a stacked bar."""

    label: str
    value: float
    share: float  # of the whole, in percent
    text: str
    shade: int


def parts(record: Record, texts: Any = show) -> list[Part]:
    """A mapping of positive numbers as shares of their sum."""
    known = {k: v for k, value in record.items() if (v := number(value)) is not None and v >= 0}
    whole = sum(known.values())
    if not whole:
        return []
    return [
        Part(PARTS.get(k, label(k)), v, 100 * v / whole, texts(v), i % 6)
        for i, (k, v) in enumerate(known.items())
    ]


def spent(run: SavedRun) -> list[Part]:
    """Network evaluations by kind, from the last record that counts them."""
    records = [*run.evaluations[-1:], *run.rounds[-1:]]
    best = max(records, key=lambda r: total(r) or 0, default={})
    counted = priced(best) or section(run.summary, "evaluations")
    return parts(counted, lambda value: show(int(value)))


def flat(settings: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as (dotted name, text)."""
    if isinstance(settings, dict) and settings:
        for key, value in settings.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, "none" if settings is None else _cut(str(settings))


def _cut(text: str) -> str:
    """Lists of hundreds of prompts stay in run.json."""
    if len(text) <= LONGEST:
        return text
    return f"{text[:LONGEST]}… ({len(text):,} characters, all of them in run.json)"


def differences(mine: SavedRun, other: SavedRun) -> list[tuple[str, str, str]]:
    """(setting, here, there) wherever two runs differ."""
    here, there = (dict(flat(section(run.about, "settings"))) for run in (mine, other))
    names = dict.fromkeys([*here, *there])
    rows = [(n, here.get(n, "absent"), there.get(n, "absent")) for n in names if n]
    return [row for row in rows if row[1] != row[2]]


def history(run: SavedRun, sampler: str, names: list[str]) -> tuple[list[str], list[list[str]]]:
    """Every evaluation in numbers."""
    gaps = [
        n
        for n in names
        if any(number(section(e, "gap").get(n)) is not None for e in run.evaluations)
    ]
    extra = [
        n for n in ("palette", "diversity", "nearest")
        if any(number(section(e, sampler).get(n)) is not None for e in run.evaluations)
    ]  # fmt: skip
    head = ["Round", "Network evaluations", "Seconds", *map(label, names + extra)]
    head += [f"{label(n)} gap" for n in gaps]
    rows = [
        [show(e.get("round")), show(_whole(total(e))), show(_whole(number(e.get("seconds"))))]
        + [show(section(e, sampler).get(n)) for n in names + extra]
        + [change(0.0, number(section(e, "gap").get(n))) for n in gaps]
        for e in run.evaluations
    ]
    return head, rows


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def facts(run: SavedRun) -> list[tuple[str, str]]:
    """Versions, seed and git state."""
    about = run.about
    git = section(about, "git")
    commit = str(git.get("commit") or "not recorded")
    rows = [("Seed", show(about.get("seed"))), ("Git commit", commit)]
    if git:
        rows.append(("Uncommitted changes", "yes" if git.get("dirty") else "no"))
    rows += [(str(k), str(v)) for k, v in section(about, "versions").items()]
    rows += [("Held out", str(one.get("sentence", ""))) for one in run.held_out]
    rows += data(section(about, "data"))
    arguments = items(about, "arguments")
    return rows + ([("Arguments", " ".join(map(str, arguments)))] if arguments else [])


def data(used: Record) -> list[tuple[str, str]]:
    """What a run on stored preferences was trained on, and the rows left out with their reasons."""
    if not used:
        return []
    reasons = ", ".join(f"{why} ({show(n)})" for why, n in section(used, "reasons").items())
    skipped = show(used.get("skipped")) + (f": {reasons}" if reasons else "")
    away = used.get("held_out")
    measured = "" if away is None else f", {show(away)} of them held out"
    source, count = used.get("source") or "not recorded", show(used.get("used"))
    return [
        ("Data", f"{source}, {count} records{measured}"),
        ("Ties left out", show(used.get("ties"))),
        ("Rows skipped", skipped),
    ]
