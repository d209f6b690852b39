"""What a run came to, in sentences; `decisions` says what may be said."""

from scoreward.records.run import SavedRun
from scoreward.verdict.decisions import OF_PAIRS, Ends, Moved, ends, limits
from scoreward.verdict.words import duration, label, plural, show

SAID = ("flat_start", "saturated", "loss")  # checks whose sentence stands under the headline


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
    """What the numbers of a finished run say, the judges before the reward, with an interval.

    `alarmed`: whether some health check ended in alarm.
    """
    reward, judges, hack = pair.move(pair.trained), pair.judges, pair.hacked
    better = [m for m in judges if m.better]
    worse = [m for m in (*judges, *([reward] if reward else [])) if m.better is False]
    palette = pair.move("palette")
    broken = not all(kept for *_, kept in limits(pair)) or (palette and palette.better is False)
    if not pair.before or not pair.after or (reward is None and not judges):
        return "warn", "There is no evaluation to compare."
    if hack is not None:
        return "alarm", hacked(hack.reward, hack.judge)
    if pair.past is not None and pair.past.reward.better:
        since = f"The best round was {pair.past.round}. Since then: "
        return "alarm", since + hacked(pair.past.reward, pair.past.judge)
    if worse:
        return "alarm", f"Worse: {_told(worse[0])}."
    if better:
        said = f"{_told(better[0])}."
        if not pair.unseen:
            return "warn", f"Better on training prompts; nothing was held out: {said}"
        if alarmed:
            return "alarm", f"Better, but a health check ended in alarm: {said}"
        if broken:
            return "warn", f"Better, at a price: {said}"
        return "ok", f"Better, and the checks agree: {said}"
    if reward is not None and reward.better:
        said = f"{_told(reward)}."
        if not pair.unseen:
            return "warn", f"The reward rose on training prompts; nothing was held out: {said}"
        if reward.name in OF_PAIRS:
            return "ok", f"Held-out pairs are told apart better: {said}"
        why = f"of the judge, {judges[0].word}" if judges else "no judge was there to check it"
        return "warn", f"The reward rose; {why}: {said}"
    told = judges[0] if judges else reward
    if told is None or told.side == "unknown":
        return "warn", f"No interval, so nothing is claimed: {_told(told)}." if told else ""
    return "warn", f"{told.word[:1].upper()}{told.word[1:]}: {_told(told)}."


def hacked(reward: Moved, judge: Moved) -> str:
    """What a reward that was hacked is told as."""
    what = label(judge.name).lower()
    did = f"while the {what} fell" if judge.better is False else f"and the {what} did not"
    first = f"{label(reward.name).lower()} {reward.bare}"
    return f"The reward rose {did}: the reward was hacked ({first}; {_told(judge)})."


def _told(moved: Moved) -> str:
    return f"{label(moved.name).lower()} {moved.told}"


def verdict(run: SavedRun, pair: Ends) -> list[str]:
    """The sentences under the headline."""
    reason, reward, palette = run.about.reason, pair.move(pair.trained), pair.move("palette")
    bad = {h.check: h.message for h in run.health if h.level != "ok"}
    warned = "One health check warned." if len(bad) == 1 else f"{len(bad)} health checks warned."
    named = f"The {label(reward.name).lower()} {reward.said}." if reward else ""
    past = pair.past
    said = [
        f"Reason given: {reason.rstrip('.')}." if reason else "",
        _effort(run),
        *(one.sentence for one in run.about.held_out if one.few),
        _judge(pair, run.measured_on),
        named,
        "" if past is None
        else f"Since its best, in round {past.round}, the {label(past.judge.name).lower()} fell "
        f"({past.judge.bare}): an earlier checkpoint may be better.",
        _price(pair),
        "" if palette is None
        else f"The palette check, which uses no network, {palette.said}.",
        warned if bad else "",
        *(bad[check] for check in SAID if check in bad),
        pair.over,
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
    """The first judge; its mean says of `strict` on how many pictures it finds everything right."""
    if not pair.judges:
        return ""
    judge = pair.judges[0]
    who = "the judge, which never enters training,"
    if judge.name == "strict":
        return f"Of the {prompts} the share on which {who} finds everything right {judge.said}."
    return (
        f"On {prompts} {who if judge.name == 'judge' else label(judge.name).lower()} {judge.said}."
    )


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
    judged = [m.name for m in here.judges if there.move(m.name) is not None]
    reward = here.trained if here.trained == there.trained else None
    sentences = [
        "The same start, trained another way. A reward is a measurement with blind spots, and "
        "training looks for them: whatever fools the scorer counts as progress. Only what training "
        "never sees can tell: a judge, the variety, the eye. A judge that is asked the same "
        "question may miss it too."
    ]
    if reward and judged:
        sentences.append(_compare(here, there, reward, judged[0]))
    if there.ratio("diversity") is not None:
        price = _price(there)
        sentences.append(f"In the run beside, {price[:1].lower()}{price[1:]}")
    if there.past is not None:
        peak, end = show(there.past.judge.before), there.past.judge.bare
        sentences.append(
            f"On the way its judge had reached {peak}; then it fell as training went on ({end})."
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
        numbers += ": the higher reward belongs to the worse pictures"
    hack = there.hacked
    return numbers + (f". {hacked(hack.reward, hack.judge)}" if hack else ".")
