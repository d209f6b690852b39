"""Numbers and verdicts as a person would say them."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scoreward.report.folder import SavedRun, number, section, series, total

DIVERSITY_LIMIT = 0.70  # share of the base's diversity that must be left; ours
NEAREST_LIMIT = 1.05  # how much further than the base from the nearest training picture; ours
VISIBLE = 0.01  # a change of a score smaller than this is called none; ours

# name: (what a reader calls it, what it measures)
MEASURES = {
    "reward": ("Reward", "what training maximises"),
    "judge": ("Judge", "a second scorer that never enters training"),
    "strict": (
        "Judge strict",
        "share of pictures in which the judge finds everything right",
    ),
    "diversity": ("Diversity", "pixel standard deviation over several noises of one prompt"),
    "nearest": ("Nearest picture", "mean distance to the nearest training picture"),
    "palette": ("Palette", "colours of the right region, checked without any network"),
    "accuracy": ("Accuracy", "share of held-out pairs in which the method puts the winner ahead"),
    "implicit_accuracy": (
        "Implicit accuracy",
        "the same by the change of log-probability since the start",
    ),
    "plain_accuracy": ("Plain accuracy", "the same by log-probability alone"),
    "margin": ("Margin", "β times how much more the winner's log-probability rose, in nats"),
    "loss": ("Loss", "mean over held-out pairs"),
    "log_prob_winner": (
        "Log-probability of winner",
        "nats; a fall is usual, a collapse is a failure",
    ),
    "success": ("Success", "share of answers that meet every constraint and are sane"),
    "score": ("Score", "mean degree to which the constraints are met, 0 if not sane"),
    "written_length": ("Words written", "mean per text"),
}


def label(name: str) -> str:
    """The name a reader sees."""
    plain = name.replace("_", " ")
    return MEASURES[name][0] if name in MEASURES else plain[:1].upper() + plain[1:]


def show(value: Any, digits: int = 3) -> str:
    """A number for a table: 0.903, 12.4, 6,400; a dash if absent."""
    if isinstance(value, float) and not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    exact = number(value)
    if exact is None:
        return "–"
    size = abs(exact)
    if exact == int(exact) and (size >= 100 or isinstance(value, int)):
        return f"{int(exact):,}".replace("-", "−")
    if size >= 1e6 or 0 < size < 10**-digits:
        return f"{exact:.1e}".replace("-", "−")
    places = digits if size < 10 else 2 if size < 100 else 0
    return f"{exact:,.{places}f}".replace("-", "−")


def change(before: float | None, after: float | None) -> str:
    """A signed difference, or nothing."""
    if before is None or after is None:
        return ""
    rise = after - before
    text = f"{rise:+.3f}" if abs(rise) < 10 else f"{rise:+,.0f}"
    return text.replace("-", "−")


def plural(count: int, noun: str) -> str:
    """1 round, 2 rounds."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def duration(seconds: float | None) -> str:
    """42 s, 3 min 5 s, 2 h 10 min."""
    if seconds is None:
        return "–"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment(text: Any) -> str:
    """An ISO time as `3 May 2026, 14:05`; anything else as it is."""
    try:
        when = datetime.fromisoformat(str(text))
    except ValueError:
        return str(text)
    return f"{when.day} {when:%B %Y, %H:%M}"


def facts_line(run: SavedRun) -> list[str]:
    """When, how far and how long, for the line under the title."""
    about = run.about
    ran = number(section(run.summary, "seconds").get("total"))
    commit = section(about, "git").get("commit")
    return [
        *([moment(about["started"])] if about.get("started") else []),
        *([str(about["status"])] if about.get("status") else []),
        *([plural(run.last_round, "round")] if run.last_round else []),
        *([f"{duration(ran)} in all"] if ran is not None else []),
        *([f"seed {about['seed']}"] if number(about.get("seed")) is not None else []),
        *([f"commit {str(commit)[:10]}"] if commit else []),
    ]


@dataclass(frozen=True)
class Ends:
    """One sampler's scores before and after training; `after` is empty if there is none yet."""

    before: dict[str, Any]
    after: dict[str, Any]

    def pair(self, name: str) -> tuple[float | None, float | None]:
        return number(self.before.get(name)), number(self.after.get(name))

    def gain(self, name: str) -> float | None:
        before, after = self.pair(name)
        return None if before is None or after is None else after - before

    def ratio(self, name: str) -> float | None:
        before, after = self.pair(name)
        return after / before if before and after is not None else None


def ends(run: SavedRun, sampler: str) -> Ends:
    """summary.json where it speaks, else the first and the last evaluation."""
    first = section(run.evaluations[0], sampler) if run.evaluations else {}
    last = section(run.evaluations[-1], sampler) if len(run.evaluations) > 1 else {}
    before = {**first, **section(run.summary, "before", sampler)}
    return Ends(before, {**last, **section(run.summary, "after", sampler)})


def limits(pair: Ends) -> list[tuple[str, float, float, bool]]:
    """(name, ratio to the base, its limit, kept?) for what reward hacking spoils first."""
    diversity, nearest = pair.ratio("diversity"), pair.ratio("nearest")
    rows = []
    if diversity is not None:
        rows.append(("diversity", diversity, DIVERSITY_LIMIT, diversity >= DIVERSITY_LIMIT))
    if nearest is not None:
        rows.append(("nearest", nearest, NEAREST_LIMIT, nearest <= NEAREST_LIMIT))
    return rows


def judged(pair: Ends) -> str | None:
    """The strictest score that training did not see."""
    return next((n for n in ("strict", "judge") if pair.gain(n) is not None), None)


def trained(pair: Ends) -> str | None:
    """The score that training maximised; the first one if none is called reward."""
    for name in ("reward", "accuracy"):
        if pair.gain(name) is not None:
            return name
    other = [n for n in pair.before if n not in MEASURES and pair.gain(n) is not None]
    return other[0] if other else None


def headline(run: SavedRun, pair: Ends) -> tuple[str, str]:
    """(level, one short sentence) that says how it went."""
    status = run.about.get("status")
    if status == "failed":
        return "alarm", "The run failed."
    if status == "stopped":
        return "warn", f"The run was stopped after round {run.last_round}."
    if status == "running":
        return "warn", f"Not finished: this is how it stood after round {run.last_round}."
    return outcome(pair, _alarmed(run))


def _alarmed(run: SavedRun) -> bool:
    """Whether some check ended in alarm."""
    return "alarm" in {str(h.get("check")): h.get("level") for h in run.health}.values()


def outcome(pair: Ends, alarmed: bool = False) -> tuple[str, str]:
    """What the numbers of a finished run say, the judge before the reward."""
    reward, judge = trained(pair), judged(pair)
    broken = [row for row in limits(pair) if not row[3]] or (pair.gain("palette") or 0) < -VISIBLE
    up = pair.gain(reward) or 0.0 if reward else 0.0
    right = pair.gain(judge) or 0.0 if judge else 0.0
    if not pair.before or not pair.after:
        return "warn", "There is no evaluation to compare."
    if judge and up > VISIBLE and right < -VISIBLE:
        return "alarm", "The reward rose while the judge fell: the reward was hacked."
    if judge and right > VISIBLE:
        return _better(bool(broken), alarmed)
    if not judge and reward == "accuracy" and up > VISIBLE:
        return "ok", "Held-out pairs are told apart better."
    if not judge and up > VISIBLE:
        return "warn", "The reward rose; no judge was there to check it."
    if up > VISIBLE:
        return "warn", "The reward rose, and the judge saw no difference."
    return "warn", "Training changed little."


def _better(broken: bool, alarmed: bool) -> tuple[str, str]:
    if alarmed:
        return "alarm", "Better, but a health check ended in alarm."
    return ("warn", "Better, at a price.") if broken else ("ok", "Better, and the checks agree.")


def verdict(run: SavedRun, pair: Ends) -> list[str]:
    """The sentences under the headline."""
    scored = [_judge(pair, run.measured_on), _reward(pair), _price(pair), _palette(pair)]
    few = [str(one.get("sentence", "")) for one in run.held_out if one.get("few")]
    return [s for s in (_reason(run), _effort(run), *few, *scored, _health(run)) if s]


def _reason(run: SavedRun) -> str:
    reason = run.about.get("reason")
    return f"Reason given: {str(reason).rstrip('.')}." if reason else ""


def _effort(run: SavedRun) -> str:
    """How much training, from the last round; a run without rounds says so."""
    if not run.last_round:
        return "No round of training was recorded."
    last = run.rounds[-1] if run.rounds else run.evaluations[-1]
    seconds = number(section(run.summary, "seconds").get("rl")) or number(last.get("seconds"))
    spent = total(last)
    parts = [f"The run made {plural(run.last_round, 'round')}"]
    parts += [f"in {duration(seconds)}"] if seconds is not None else []
    parts += [f"with {show(int(spent))} network evaluations"] if spent else []
    return " ".join(parts) + "."


def _judge(pair: Ends, prompts: str) -> str:
    name = judged(pair)
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


def _reward(pair: Ends) -> str:
    name = trained(pair)
    return f"The {label(name).lower()} {_moved(*pair.pair(name))}." if name else ""


def _moved(before: float | None, after: float | None) -> str:
    rise = (after or 0.0) - (before or 0.0)
    verb = "rose" if rise > 0 else "fell" if rise < 0 else "stayed"
    return f"{verb} from {show(before)} to {show(after)}" if rise else f"stayed at {show(after)}"


def _price(pair: Ends) -> str:
    said = {
        "diversity": "diversity is {:.2f} of the base's (at least {:.2f} wanted)",
        "nearest": "the nearest training picture is {:.2f} times as far (at most {:.2f} wanted)",
    }
    rows = limits(pair)
    if not rows:
        return ""
    text = " and ".join(said[name].format(ratio, limit) for name, ratio, limit, _ in rows)
    end = "" if all(kept for *_, kept in rows) else ", so a limit is broken"
    return f"{text[0].upper()}{text[1:]}{end}."


def _palette(pair: Ends) -> str:
    before, after = pair.pair("palette")
    if before is None or after is None:
        return ""
    return f"The palette check, which uses no network, {_moved(before, after)}."


def _health(run: SavedRun) -> str:
    """How many health checks were ever wrong."""
    bad = {str(h.get("check")): h.get("level") for h in run.health if h.get("level") != "ok"}
    if not bad:
        return ""
    return "One health check warned." if len(bad) == 1 else f"{len(bad)} health checks warned."


def lesson(mine: SavedRun, other: SavedRun, sampler: str) -> list[str]:
    """What the run beside teaches: a higher reward need not be a better picture."""
    here, there = ends(mine, sampler), ends(other, sampler)
    name = judged(here) if judged(here) == judged(there) else None
    reward = trained(here) if trained(here) == trained(there) else None
    sentences = [
        "The same start, trained another way. A reward is a measurement with blind spots, and "
        "training looks for them: whatever fools the scorer counts as progress. Only what training "
        "never sees can tell: a judge, the variety, the eye. A judge that is asked the same "
        "question may miss it too."
    ]
    if reward and name:
        sentences.append(_compare(here, there, reward, name))
    if there.ratio("diversity") is not None:
        sentences.append(f"In the run beside, {_lower(_price(there))}")
    dip = _fell_from_peak(series(other, sampler, name)) if name else ""
    return sentences + ([dip] if dip else [])


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


def _fell_from_peak(values: list[float | None]) -> str:
    known = [v for v in values if v is not None]
    if len(known) < 3 or max(known) - known[-1] <= 2 * VISIBLE:
        return ""
    return f"On the way its judge had reached {show(max(known))}; then it fell as training went on."


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
