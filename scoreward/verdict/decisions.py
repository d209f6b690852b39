"""What a measured number came to: better, worse, no difference seen, or too few prompts to tell.

The one place that decides it, and whether a reward was hacked, for the live view, the last lines of
`train`, the report, `diagnose` and `compare`. Before and after are paired, on the same prompts and
noise, so every change has a bootstrap interval over prompts. All limits are ours.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import inf, isfinite
from statistics import median
from typing import Literal

import numpy as np

from scoreward.records.fields import Numbers
from scoreward.records.run import NOT_SCORES, NOTHING, EachRecord, SavedRun
from scoreward.verdict.statistics import RISK, Pair, paired
from scoreward.verdict.words import MEASURES, change, plural, show

LEAST = 8  # prompts below which no interval is trusted
COARSE = 0.5  # half an interval over the spread of scores from which it is too wide to tell
DIVERSITY_LIMIT = 0.70  # share of the base's diversity that must be left
NEAREST_LIMIT = 1.05  # how much further than the base from the nearest training picture
FLAT = (0.5, 0.9)  # share of samples in groups without spread that warns, that leaves no signal
SATURATED = (0.1, 0.5)  # share of pairs with |logit| > 5 before training that warns, that alarms
RISING = (0.5, 1.0)  # rise of the training loss over its first size that warns, that alarms
WINDOWS = 5  # parts of a run whose median losses are compared
NOISE = 20.0  # standard errors of such a median below which no rise is seen

LOWER = ("loss", "nearest")  # lower is better
NEUTRAL = ("log_prob_winner", "written_length", "saturated")  # neither good nor bad by themselves
OF_PAIRS = ("accuracy", "implicit_accuracy", "plain_accuracy", "margin", "loss")  # no judges

Side = Literal["up", "down", "same", "few", "unknown"]
WORDS = {
    (True, "same"): "no difference seen",
    (True, "few"): "not enough held-out prompts to tell",
    (False, "same"): "no difference seen",
    (False, "few"): "not enough prompts to tell",
}


@dataclass(frozen=True)
class Moved:
    """One number before and after, and the interval of its mean change."""

    name: str
    before: float
    after: float
    interval: Pair | None = None  # of after − before, 95 %
    prompts: int = 0
    rows: int = 0
    unit: str = "pictures"  # what a row is, in the plural
    spread: float = 0.0  # standard deviation of the rows' scores, the larger of the two
    unseen: bool = True  # whether the prompts are held out
    within: bool = False  # whether it speaks of these prompts alone
    unknown: str = "this run kept no numbers per prompt"  # why there is no interval

    @property
    def change(self) -> float:
        return self.after - self.before

    @property
    def side(self) -> Side:
        """Which way it went, as far as the interval tells."""
        if self.interval is None:
            return "unknown" if self.prompts == 0 else "few"
        low, high = self.interval
        if (self.rows if self.within else self.prompts) < LEAST:
            return "few"
        if low > 0 or high < 0:
            return "up" if low > 0 else "down"
        return "few" if (high - low) / 2 > COARSE * self.spread else "same"

    @property
    def better(self) -> bool | None:
        """None where it is neither better nor worse, or cannot be told."""
        if self.side not in ("up", "down") or self.name in NEUTRAL:
            return None
        return (self.side == "up") != (self.name in LOWER)

    @property
    def telling(self) -> bool:
        """Whether a judge could have said otherwise: one that gives every row the same cannot."""
        return self.spread > 0

    @property
    def word(self) -> str:
        if self.side == "unknown":
            return f"no interval: {self.unknown}"
        if self.better is not None:
            return "better" if self.better else "worse"
        return WORDS.get((self.unseen, self.side), {"up": "higher"}.get(self.side, "lower"))

    @property
    def counted(self) -> str:
        rows = plural(self.rows, self.unit.removesuffix("s"))
        return f"{plural(self.prompts, 'prompt')}, {rows}"

    @property
    def ends(self) -> str:
        """The interval; "" without one."""
        return (
            ""
            if self.interval is None
            else "[{}, {}]".format(*(change(0.0, end) for end in self.interval))
        )

    @property
    def bare(self) -> str:
        """The change and its interval."""
        return f"{change(self.before, self.after)} {self.ends}".rstrip()

    @property
    def told(self) -> str:
        """The change, its interval and what it is over."""
        return f"{self.bare}, {self.counted}" if self.prompts else f"{self.bare} ({self.word})"

    @property
    def said(self) -> str:
        """How it moved, in words that claim no more than the interval."""
        verb = {"up": "rose", "down": "fell"}.get(self.side, "went")
        moved = f"{verb} from {show(self.before)} to {show(self.after)}"
        if self.change == 0 and self.side not in ("up", "down"):
            moved = f"stayed at {show(self.after)}"
        return f"{moved} ({self.bare}): {self.word}" if self.prompts else moved


def moves(
    before: Sequence[EachRecord],
    after: Sequence[EachRecord],
    unseen: bool = True,
    risk: float = RISK,
) -> dict[str, Moved]:
    """Every score that the same rows have in two evaluations, or in two runs."""
    found = {}
    for one in before:
        other = next((e for e in after if e.unit == one.unit), None)
        names = [] if other is None else [n for n in one.values if n in other.values]
        if other is None or not names or not one.groups:
            continue
        prompts, rows = len(set(one.groups)), min(len(one.groups), len(other.groups))
        both = [[e.values[n][:rows] for n in names] for e in (one, other)]
        table = np.asarray(both, dtype=float)
        # prompts that are trained on stand for no others: what was drawn of them is the noise
        within = not unseen and rows >= 2 * prompts
        same = list(one.groups) == list(other.groups)
        whole = [bool(np.isfinite(columns).all()) for columns in table.transpose(1, 0, 2)]
        intervals: list[Pair | None] = [None] * len(names)
        if same and (rows if within else prompts) > 1:
            differences = np.where(np.asarray(whole)[:, None], table[1] - table[0], 0.0).T
            intervals = [*paired(differences, one.groups, within, risk)]
        for i, name in enumerate(names):
            start, end = (float(np.mean(column)) for column in table[:, i])
            if not same or not whole[i]:
                why = "not all of it is finite" if same else "other prompts were measured on before"
                found[name] = Moved(name, start, end, unseen=unseen, unknown=why)
                continue
            spread = float(table[:, i].std(1).max())
            counted = (intervals[i], prompts, rows, one.unit, spread, unseen, within)
            found[name] = Moved(name, start, end, *counted)
    return found


@dataclass(frozen=True)
class Hack:
    """The trained reward rose, and what judges it independently fell (or did not rise)."""

    reward: Moved
    judge: Moved
    fell: bool


def hack_of(reward: Moved | None, judges: Sequence[Moved]) -> Hack | None:
    """The one definition: the reward is better, and a judge is worse, or none is better.

    Each has its own interval. A judge of too few prompts, or one that says the same of everything,
    proves nothing.
    """
    if reward is None or reward.name in OF_PAIRS or not reward.better:
        return None
    fell = [m for m in judges if m.better is False]
    if fell:
        return Hack(reward, fell[0], True)
    same = [m for m in judges if m.side == "same" and m.telling]
    return Hack(reward, same[0], False) if same and not any(m.better for m in judges) else None


@dataclass(frozen=True)
class Past:
    """The best evaluation of a judge, since which it fell."""

    round: int
    reward: Moved
    judge: Moved


@dataclass(frozen=True)
class Ends:
    """One sampler's scores before and after training; `after` is empty if there is none yet."""

    before: Numbers
    after: Numbers
    moved: Mapping[str, Moved] = field(default_factory=dict)
    rewards: Sequence[str] = ()  # names of what trained
    past: Past | None = None
    unseen: bool = True  # whether something is held out

    def pair(self, name: str) -> tuple[float | None, float | None]:
        return self.before.get(name), self.after.get(name)

    def move(self, name: str | None) -> Moved | None:
        """Its change; without an interval where no row was kept."""
        before, after = self.pair(name or "")
        if name is None or before is None or after is None:
            return None
        return self.moved.get(name) or Moved(name, before, after, unseen=self.unseen)

    def ratio(self, name: str) -> float | None:
        before, after = self.pair(name)
        return after / before if before and after is not None else None

    @property
    def trained(self) -> str | None:
        """The score that training maximised; the first one if none is called so."""
        other = (n for n in self.before if n not in MEASURES)
        known = ("reward", *self.rewards, "accuracy", "plain_accuracy", *other)
        return next((n for n in known if self.move(n) is not None), None)

    @property
    def judges(self) -> list[Moved]:
        """What training did not see, the strictest first."""
        own = ("reward", self.trained, *self.rewards, *NOT_SCORES, *OF_PAIRS, *NEUTRAL)
        names = [n for n in ("strict", "judge", *self.before) if n not in own]
        return [m for n in dict.fromkeys(names) if (m := self.move(n)) is not None]

    @property
    def over(self) -> str:
        """What the intervals are over, or why there are none."""
        known = {m.counted: None for m in self.moved.values() if m.prompts}
        if known:
            alone = any(m.within for m in self.moved.values())
            these = ", which speak of these prompts alone" if alone else ""
            return f"Intervals are 95 %, paired over {'; '.join(known)}{these}."
        told = [m.word for m in (self.move(self.trained), *self.judges) if m is not None]
        return f"{told[0][:1].upper()}{told[0][1:]}." if told else ""

    @property
    def hacked(self) -> Hack | None:
        return hack_of(self.move(self.trained), self.judges)


def ends(run: SavedRun, sampler: str) -> Ends:
    """summary.json where it speaks, else the first and the last evaluation."""
    found = [e.scores(sampler).numbers for e in run.evaluations]
    first, last = found[0] if found else {}, found[-1] if len(found) > 1 else {}
    before, after = (
        end.get(sampler, NOTHING).numbers for end in (run.summary.before, run.summary.after)
    )
    rounds = [e.at.round for e in run.evaluations]
    kept = [[e for e in run.each if (e.round, e.sampler) == (r, sampler)] for r in rounds]
    moved = moves(kept[0], kept[-1], run.unseen) if len(rounds) > 1 else {}
    numbers = {**first, **before}, {**last, **after}
    pair = Ends(*numbers, moved, list(run.about.rewards), unseen=run.unseen)
    reward, found = pair.trained, []
    for name in (m.name for m in pair.judges) if len(rounds) > 2 else ():
        series = list(enumerate(run.series(sampler, name)))[:-1]
        between = [(v, i) for i, v in series if v is not None]
        at = max(between, default=(0.0, 0))[1]
        # the best of several is so by luck in part, and its risk is shared among them
        since = moves(kept[at], kept[-1], run.unseen, RISK / len(between)) if at else {}
        if since.get(name) and since[name].better is False and reward in since:
            found.append(Past(rounds[at] or 0, since[reward], since[name]))
    return replace(pair, past=found[0] if found else None)


@dataclass(frozen=True)
class Limit:
    """What reward hacking spoils first, as a ratio to the base."""

    name: str
    value: float
    most: bool  # whether the limit is from above
    said: str

    def kept(self, ratio: float) -> bool:
        return ratio <= self.value if self.most else ratio >= self.value

    @property
    def wanted(self) -> str:
        return f"at {'most' if self.most else 'least'} {self.value:.2f}"


LIMITS = (
    Limit("diversity", DIVERSITY_LIMIT, False, "diversity is {:.2f} of the base's"),
    Limit("nearest", NEAREST_LIMIT, True, "the nearest training picture is {:.2f} times as far"),
)


def limits(pair: Ends) -> list[tuple[Limit, float, bool]]:
    """(limit, ratio to the base, kept?) where it was measured."""
    found = [(one, pair.ratio(one.name)) for one in LIMITS]
    return [(one, ratio, one.kept(ratio)) for one, ratio in found if ratio is not None]


def flat_from_start(metrics: Numbers, first: Numbers) -> float | None:
    """Share of samples in groups of equal rewards, in the first round and in this one alike.

    None where the first round had enough spread.
    """
    now, start = (one.get("groups/zero_variance", 0.0) for one in (metrics, first))
    return min(now, start) if start >= FLAT[0] else None


def saturated_from_start(run: SavedRun) -> float | None:
    """Share of pairs with |logit| > 5 before training: held-out ones, or the first round's."""
    found = [
        one.numbers.get("saturated") for e in run.evaluations[:1] for one in e.samplers.values()
    ]
    found += [r.metrics.get("logit/saturated") for r in run.rounds[:1] if r.at.round == 1]
    return next((v for v in found if v is not None), None)


def rise_of_loss(rounds: Sequence[Numbers]) -> float | None:
    """How far the training loss is above its lowest, in units of what it was at first.

    Medians of five parts of the run are compared, so that single rounds do not matter, and the unit
    is at least 20 standard errors of such a median, so that noise does not. Where rewards are drawn
    the level of a loss means little (it grows with the anchor to the first model), so the unit is
    at least 1 there. A loss that is not finite is an infinite rise; None of fewer than 10 rounds.
    """
    losses = [r["loss"] for r in rounds if "loss" in r]
    if any(not isfinite(v) for v in losses):
        return inf
    width = len(losses) // WINDOWS
    if width < 2:
        return None
    starts = range(len(losses) % WINDOWS, len(losses), width)
    parts = [median(losses[i : i + width]) for i in starts]
    steps = median(abs(b - a) for a, b in pairwise(losses))
    error = 1.4826 * steps / 2**0.5 * (1.57 / width) ** 0.5  # of a median of normal noise
    unit = max(abs(parts[0]), NOISE * error, 1.0 if "reward/mean" in rounds[0] else 0.0)
    return (parts[-1] - min(parts)) / unit if unit else 0.0
