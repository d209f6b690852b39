"""The tables of the report as plain rows, ready for the template."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from scoreward.records.fields import Json, Numbers
from scoreward.records.run import LEVELS, HealthRecord, Level, SavedRun, StoredUse
from scoreward.verdict.decisions import Ends, Limit, Moved, ends, limits
from scoreward.verdict.health import NAMED
from scoreward.verdict.words import change, duration, label, plural, show

LONGEST = 400  # characters of one setting; ours
GUARDS = ("palette", "diversity", "nearest")  # shown after the scores
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
    """One measure before and after; a `bound` is on the ratio of the two, `kept` or not."""

    name: str
    before: float | None
    after: float | None
    bound: Limit | None = None
    kept: bool | None = None
    moved: Moved | None = None  # with its interval

    @property
    def label(self) -> str:
        return label(self.name)

    @property
    def limit(self) -> str:
        return "" if self.bound is None else self.bound.wanted

    @property
    def change(self) -> str:
        if self.bound and self.before and self.after is not None:
            return f"{self.after / self.before:.2f} × base"
        return change(self.before, self.after)

    @property
    def better(self) -> bool | None:
        """By its limit, or else by its interval."""
        return self.kept if self.kept is not None or self.moved is None else self.moved.better

    @property
    def word(self) -> str:
        """What the interval says; "" of what has only a limit."""
        return "" if self.moved is None or self.bound else self.moved.word

    @property
    def over(self) -> str:
        """The interval and its counts."""
        if self.moved is None or self.bound or not self.moved.prompts:
            return ""
        return ", ".join(filter(None, (self.moved.ends, self.moved.counted)))


def changes(pair: Ends, names: list[str]) -> list[Change]:
    """Scores, then what has a limit."""
    limited = {one.name: (one, kept) for one, _, kept in limits(pair)}
    rows = [*names, *(n for n in GUARDS if pair.pair(n) != (None, None))]
    return [
        Change(n, *pair.pair(n), *limited.get(n, (None, None)), moved=pair.move(n)) for n in rows
    ]


def attributes(run: SavedRun, sampler: str) -> list[Change]:
    """Per-attribute accuracy at the first and last evaluation."""
    found = [e.scores(sampler).attributes for e in run.evaluations]
    if not found:
        return []
    pair = Ends(found[0], found[-1] if len(found) > 1 else {})
    return [Change(name, *pair.pair(name)) for name in dict.fromkeys([*pair.before, *pair.after])]


def scale(rows: list[Change]) -> float:
    """Where a scale that ends at 1 may start, in tenths, so that small changes show."""
    values = [v for row in rows for v in (row.before, row.after) if v is not None]
    return max(0.0, math.floor(10 * min(values, default=0.0) - 0.2) / 10)


def by_measure(run: SavedRun, names: list[str]) -> list[list[tuple[str, Change]]]:
    """For each measure, its change under every sampler; nothing to compare if there is one."""
    pairs = [(s, ends(run, s)) for s in run.samplers]
    rows = [
        [(s, Change(n, *p.pair(n), moved=p.move(n))) for s, p in pairs if p.pair(n) != (None, None)]
        for n in (*names, *GUARDS)
    ]
    return [row for row in rows if row] if len(pairs) > 1 else []


@dataclass(frozen=True)
class Mark:
    """A warning on the time line of a check: where, how wide (percent), how bad."""

    left: float
    width: float
    level: Level


@dataclass(frozen=True)
class CheckLine:
    """One line of the health panel: the worst moment speaks, and the last value is shown."""

    label: str
    meaning: str
    level: Level
    value: str
    message: str
    when: str
    marks: list[Mark]


def checks(run: SavedRun) -> list[CheckLine]:
    """Every check that was made, the worst first."""
    rows = [
        _check([h for h in run.health if h.check == name], max(run.last_round, 1))
        for name in dict.fromkeys(h.check for h in run.health)
    ]
    return sorted(rows, key=lambda row: -LEVELS.index(row.level))


def _check(records: list[HealthRecord], last: int) -> CheckLine:
    """One check of a run of `last` rounds."""
    level = LEVELS[max(LEVELS.index(h.level) for h in records)]
    bad = [h for h in records if h.level == level]
    spoken, known = bad[-1], NAMED.get(records[0].check)
    times = f"{len(bad)} times, last" if len(bad) > 1 else "once,"
    round_ = "?" if spoken.round is None else spoken.round
    # each record holds until the next one of its check, or for the gap it usually has
    starts = [h.round or 0 for h in records]
    gap = min((b - a for a, b in pairwise(starts) if b > a), default=1)
    marks = [
        Mark(100 * (start - gap if start >= gap else 0) / last, 100 * gap / last, h.level)
        for start, h in zip(starts, records, strict=True)
        if h.level != "ok"
    ]
    return CheckLine(
        *(known or (label(spoken.check), "")),
        level,
        show(records[-1].value),
        spoken.message,
        "" if level == "ok" else f"{times} in round {round_}",
        marks,
    )


@dataclass(frozen=True)
class Part:
    """One piece of a stacked bar."""

    label: str
    value: float
    share: float  # of the whole, in percent
    text: str
    shade: int


def parts(values: Numbers, text: Callable[[float], str] = show) -> list[Part]:
    """Positive numbers as shares of their sum."""
    known = {k: v for k, v in values.items() if v >= 0}
    whole = sum(known.values())
    if not whole:
        return []
    return [
        Part(PARTS.get(k, label(k)), v, 100 * v / whole, text(v), i % 6)
        for i, (k, v) in enumerate(known.items())
    ]


def spent(run: SavedRun) -> list[Part]:
    """Network evaluations by kind, from the last record that counts them."""
    records = [r.at for r in (*run.evaluations[-1:], *run.rounds[-1:])]
    best = max(records, key=lambda at: at.total or 0, default=None)
    counted = best.spent if best and best.spent else run.summary.spent
    return parts(counted, lambda value: show(int(value)))


def flat(settings: Json, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as (dotted name, text); lists of hundreds of prompts stay in run.json."""
    if isinstance(settings, dict) and settings:
        for key, value in settings.items():
            yield from flat(value, f"{prefix}.{key}" if prefix else str(key))
        return
    text = "none" if settings is None else str(settings)
    if len(text) > LONGEST:
        text = f"{text[:LONGEST]}… ({len(text):,} characters, all of them in run.json)"
    yield prefix, text


def differences(mine: SavedRun, other: SavedRun) -> list[tuple[str, str, str]]:
    """(setting, here, there) wherever two runs differ."""
    here, there = (dict(flat(run.about.settings)) for run in (mine, other))
    names = dict.fromkeys([*here, *there])
    rows = [(n, here.get(n, "absent"), there.get(n, "absent")) for n in names if n]
    return [row for row in rows if row[1] != row[2]]


def history(run: SavedRun, sampler: str, names: list[str]) -> tuple[list[str], list[list[str]]]:
    """Every evaluation in numbers."""
    gaps = [n for n in names if any(n in e.gap for e in run.evaluations)]
    extra = [n for n in GUARDS if any(v is not None for v in run.series(sampler, n))]
    head = ["Round", "Network evaluations", "Seconds", *map(label, names + extra)]
    head += [f"{label(n)} gap" for n in gaps]
    rows = [
        [
            show(e.at.round),
            *(show(None if v is None else round(v)) for v in (e.at.total, e.at.seconds)),
            *(show(e.scores(sampler).numbers.get(n)) for n in names + extra),
            *(change(0.0, e.gap.get(n)) for n in gaps),
        ]
        for e in run.evaluations
    ]
    return head, rows


def facts_line(run: SavedRun) -> list[str]:
    """When, how far and how long, for the line under the title."""
    about, ran = run.about, run.summary.total_seconds
    try:
        when = datetime.fromisoformat(about.started)
        started = f"{when.day} {when:%B %Y, %H:%M}"
    except ValueError:
        started = about.started
    line = [
        started,
        about.status,
        plural(run.last_round, "round") if run.last_round else "",
        "" if ran is None else f"{duration(ran)} in all",
        "" if about.seed is None else f"seed {about.seed}",
        f"commit {about.git.name[:10]}" if about.git and about.git.name else "",
    ]
    return [said for said in line if said]


def facts(run: SavedRun) -> list[tuple[str, str]]:
    """Versions, seed and git state."""
    about = run.about
    commit = about.git.name if about.git and about.git.name else "not recorded"
    rows = [("Seed", show(about.seed)), ("Git commit", commit)]
    if about.git:
        rows.append(("Uncommitted changes", "yes" if about.git.dirty else "no"))
    rows += about.versions.items()
    rows += [("Trained by", f"{weight:g} x {name}") for name, weight in about.rewards.items()]
    rows += [("Not seen", sentence) for sentence in about.unread]
    rows += [("Held out", one.sentence) for one in about.held_out]
    rows += data(about.data) if about.data else []
    return rows + ([("Arguments", " ".join(about.arguments))] if about.arguments else [])


def data(used: StoredUse) -> list[tuple[str, str]]:
    """What a run on stored preferences was trained on, and the rows left out with their reasons."""
    reasons = ", ".join(f"{why} ({show(n)})" for why, n in used.reasons.items())
    away = used.held_out
    measured = "" if away is None else f", {show(away)} of them held out"
    return [
        ("Data", f"{used.source or 'not recorded'}, {show(used.used)} records{measured}"),
        ("Ties left out", show(used.ties)),
        ("Rows skipped", show(used.skipped) + (f": {reasons}" if reasons else "")),
    ]
