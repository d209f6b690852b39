"""What a run came to: its ends, the limits they must keep, and the sentences that say so."""

from dataclasses import dataclass

from scoreward.records.fields import Numbers
from scoreward.records.run import NOTHING, SavedRun
from scoreward.verdict.words import MEASURES, change, duration, label, plural, show

DIVERSITY_LIMIT = 0.70  # share of the base's diversity that must be left; ours
NEAREST_LIMIT = 1.05  # how much further than the base from the nearest training picture; ours
VISIBLE = 0.01  # a change of a score smaller than this is called none; ours


@dataclass(frozen=True)
class Ends:
    """One sampler's scores before and after training; `after` is empty if there is none yet."""

    before: Numbers
    after: Numbers

    def pair(self, name: str) -> tuple[float | None, float | None]:
        return self.before.get(name), self.after.get(name)

    def gain(self, name: str) -> float | None:
        before, after = self.pair(name)
        return None if before is None or after is None else after - before

    def ratio(self, name: str) -> float | None:
        before, after = self.pair(name)
        return after / before if before and after is not None else None

    @property
    def judged(self) -> str | None:
        """The strictest score that training did not see."""
        return next((n for n in ("strict", "judge") if self.gain(n) is not None), None)

    @property
    def trained(self) -> str | None:
        """The score that training maximised; the first one if none is called reward."""
        other = (n for n in self.before if n not in MEASURES)
        return next((n for n in ("reward", "accuracy", *other) if self.gain(n) is not None), None)


def ends(run: SavedRun, sampler: str) -> Ends:
    """summary.json where it speaks, else the first and the last evaluation."""
    found = [e.scores(sampler).numbers for e in run.evaluations]
    first, last = found[0] if found else {}, found[-1] if len(found) > 1 else {}
    before, after = (
        end.get(sampler, NOTHING).numbers for end in (run.summary.before, run.summary.after)
    )
    return Ends({**first, **before}, {**last, **after})


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


def headline(run: SavedRun, pair: Ends) -> tuple[str, str]:
    """(level, one short sentence) that says how it went."""
    match run.about.status:
        case "failed":
            return "alarm", "The run failed."
        case "stopped":
            return "warn", f"The run was stopped after round {run.last_round}."
        case "running":
            return "warn", f"Not finished: this is how it stood after round {run.last_round}."
    return outcome(pair, "alarm" in {h.check: h.level for h in run.health}.values())


def outcome(pair: Ends, alarmed: bool = False) -> tuple[str, str]:
    """What the numbers of a finished run say, the judge before the reward.

    `alarmed`: whether some health check ended in alarm.
    """
    reward, judge = pair.trained, pair.judged
    broken = not all(kept for *_, kept in limits(pair)) or (pair.gain("palette") or 0) < -VISIBLE
    up = pair.gain(reward) or 0.0 if reward else 0.0
    right = pair.gain(judge) or 0.0 if judge else 0.0
    if not pair.before or not pair.after:
        return "warn", "There is no evaluation to compare."
    if judge and up > VISIBLE and right < -VISIBLE:
        return "alarm", "The reward rose while the judge fell: the reward was hacked."
    if judge and right > VISIBLE:
        if alarmed:
            return "alarm", "Better, but a health check ended in alarm."
        return (
            ("warn", "Better, at a price.") if broken else ("ok", "Better, and the checks agree.")
        )
    if not judge and reward == "accuracy" and up > VISIBLE:
        return "ok", "Held-out pairs are told apart better."
    if not judge and up > VISIBLE:
        return "warn", "The reward rose; no judge was there to check it."
    if up > VISIBLE:
        return "warn", "The reward rose, and the judge saw no difference."
    return "warn", "Training changed little."


def verdict(run: SavedRun, pair: Ends) -> list[str]:
    """The sentences under the headline."""
    reason, name = run.about.reason, pair.trained
    bad = {h.check for h in run.health if h.level != "ok"}
    warned = "One health check warned." if len(bad) == 1 else f"{len(bad)} health checks warned."
    said = [
        f"Reason given: {reason.rstrip('.')}." if reason else "",
        _effort(run),
        *(one.sentence for one in run.about.held_out if one.few),
        _judge(pair, run.measured_on),
        f"The {label(name).lower()} {_moved(*pair.pair(name))}." if name else "",
        _price(pair),
        "" if pair.gain("palette") is None
        else f"The palette check, which uses no network, {_moved(*pair.pair('palette'))}.",
        warned if bad else "",
    ]  # fmt: skip
    return [s for s in said if s]


def _effort(run: SavedRun) -> str:
    """How much training, from the last round; a run without rounds says so."""
    if not run.last_round:
        return "No round of training was recorded."
    last = (run.rounds[-1] if run.rounds else run.evaluations[-1]).at
    seconds = run.summary.training_seconds or last.seconds
    parts = [f"The run made {plural(run.last_round, 'round')}"]
    parts += [f"in {duration(seconds)}"] if seconds is not None else []
    parts += [f"with {show(int(last.total))} network evaluations"] if last.total else []
    return " ".join(parts) + "."


def _judge(pair: Ends, prompts: str) -> str:
    name = pair.judged
    if name is None:
        return ""
    before, after = pair.pair(name)
    numbers = f"{show(after)} of the {prompts}, {show(before)} before"
    if name == "strict":
        return (
            f"The judge, which never enters training, finds everything right on {numbers} "
            f"({change(before, after)})."
        )
    return f"On {prompts} the judge, which never enters training, {_moved(before, after)}."


def _moved(before: float | None, after: float | None) -> str:
    rise = (after or 0.0) - (before or 0.0)
    verb = "rose" if rise > 0 else "fell"
    return f"{verb} from {show(before)} to {show(after)}" if rise else f"stayed at {show(after)}"


def _price(pair: Ends) -> str:
    rows = limits(pair)
    if not rows:
        return ""
    text = " and ".join(f"{one.said.format(r)} ({one.wanted} wanted)" for one, r, _ in rows)
    end = "" if all(kept for *_, kept in rows) else ", so a limit is broken"
    return f"{text[0].upper()}{text[1:]}{end}."


def lesson(mine: SavedRun, other: SavedRun, sampler: str) -> list[str]:
    """What the run beside teaches: a higher reward need not be a better picture."""
    here, there = ends(mine, sampler), ends(other, sampler)
    name = here.judged if here.judged == there.judged else None
    reward = here.trained if here.trained == there.trained else None
    sentences = [
        "The same start, trained another way. A reward is a measurement with blind spots, and "
        "training looks for them: whatever fools the scorer counts as progress. Only what training "
        "never sees can tell: a judge, the variety, the eye. A judge that is asked the same "
        "question may miss it too."
    ]
    if reward and name:
        sentences.append(_compare(here, there, reward, name))
    if there.ratio("diversity") is not None:
        price = _price(there)
        sentences.append(f"In the run beside, {price[:1].lower()}{price[1:]}")
    known = [v for v in other.series(sampler, name) if v is not None] if name else []
    if len(known) >= 3 and max(known) - known[-1] > 2 * VISIBLE:
        peak = show(max(known))
        sentences.append(
            f"On the way its judge had reached {peak}; then it fell as training went on."
        )
    return sentences


def _compare(here: Ends, there: Ends, reward: str, name: str) -> str:
    mine, theirs = here.pair(reward)[1] or 0.0, there.pair(reward)[1] or 0.0
    judge, rival = here.pair(name)[1] or 0.0, there.pair(name)[1] or 0.0
    what = "finds everything right on" if name == "strict" else "gives"
    numbers = (
        f"The run beside ends with a {label(reward).lower()} of {show(theirs)}, this one with "
        f"{show(mine)}; the judge {what} {show(rival)} there and {show(judge)} here"
    )
    if theirs > mine and rival < judge:
        return numbers + ": the higher reward belongs to the worse pictures. It was hacked."
    return numbers + "."
