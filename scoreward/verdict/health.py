"""Is this run healthy?  Each check is a number, a level and a plain sentence.

Checks read only a round's metrics and the evaluations so far, so the live view, the metrics file
and the report say the same thing. Limits are ours, set on the portraits.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log

from scoreward.records.run import LEVELS, Level, SavedRun
from scoreward.verdict.decisions import (
    FLAT,
    OF_PAIRS,
    RISING,
    SATURATED,
    Ends,
    ends,
    flat_from_start,
    rise_of_loss,
    saturated_from_start,
)
from scoreward.verdict.outcome import hacked
from scoreward.verdict.words import label

FLOAT32 = 1e-4  # tolerance of the first ratio; a coarser network's own is brought to this scale
UNIFORM = FLAT[1]
STOPPED = 0.8  # share of samples at which a ratio clip stops nearly all; ours

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Finding:
    """One check of one round."""

    check: str
    value: float
    level: Level
    message: str


@dataclass(frozen=True)
class Check:
    """A number, None where the metrics lack it, with two rising limits and three sentences.

    A reader is told its title and what it compares, whatever came of it.
    """

    name: str
    title: str
    compares: str
    value: Callable[[Metrics, Metrics], float | None]  # of the round's and of the first metrics
    warn: float
    alarm: float
    says: tuple[str, str, str]  # ok, warn, alarm

    def find(self, metrics: Metrics, first: Metrics) -> Finding | None:
        """The finding of one round."""
        value = self.value(metrics, first)
        if value is None:
            return None
        level = level_of(value, self.warn, self.alarm)
        return Finding(self.name, value, level, self.says[LEVELS.index(level)])


def level_of(value: float, warn: float, alarm: float) -> Level:
    """Which of two rising limits a value has passed."""
    return "alarm" if value >= alarm else "warn" if value >= warn else "ok"


def check_round(metrics: Metrics, first: Metrics) -> list[Finding]:
    """The checks of one round; `first` are the metrics of the run's first round."""
    found = (check.find(metrics, first) for check in (*CHECKS, OVER_A_RUN[0]))
    return [finding for finding in found if finding is not None]


def check_run(run: SavedRun) -> list[Finding]:
    """What shows over a run so far: reward against judges, the loss, pairs decided at the start."""
    pair = ends(run, next(iter(run.samplers), "ode"))
    start = saturated_from_start(run) if len(run.evaluations) < 2 else None
    rise = rise_of_loss([r.metrics for r in run.rounds])
    numbers = {"logit/saturated": start, "rise": rise}
    known = {name: value for name, value in numbers.items() if value is not None}
    found = [check.find(known, known) for check in OVER_A_RUN]
    return [f for f in (against_judges(pair), *found) if f is not None]


def against_judges(pair: Ends) -> Finding | None:
    """Whether the reward rises without what judges it."""
    reward, judges = pair.move(pair.trained), pair.judges
    if reward is None or not judges or reward.name in OF_PAIRS:
        return None
    hack, past = pair.hacked, pair.past
    judge = hack.judge if hack else judges[0]
    level, said = "ok", "The reward has not risen, so there was nothing to hack."
    if hack is not None:
        advice = "Use an earlier checkpoint, a stronger anchor or a lower learning rate."
        level, said = "alarm", f"{hacked(hack.reward, hack.judge)} {advice}"
    elif past is not None:
        level = "alarm" if past.reward.better else "warn"
        said = f"The {label(past.judge.name).lower()} was best in round {past.round} and {{}}."
        said = said.format(f"has fallen since, {past.judge.bare}: use that checkpoint")
    elif reward.better and not any(m.better for m in judges):
        level, said = "warn", f"The reward rises; of the judge, {judge.word}."
    elif reward.better:
        said = "The judge, which never enters training, rises with the reward."
    return Finding("reward_vs_judge", reward.change - judge.change, level, said)


def _first_ratio(metrics: Metrics, first: Metrics) -> float | None:
    if "first/ratio/max" not in metrics:
        return None
    off = max(metrics["first/ratio/max"] - 1, 1 - metrics["first/ratio/min"])
    return off * FLOAT32 / metrics.get("first/ratio/tolerance", FLOAT32)


def _first_nats(metrics: Metrics, first: Metrics) -> float | None:
    low, high = metrics.get("first/ratio/min", 0.0), metrics.get("first/ratio/max", 0.0)
    return max(abs(log(low)), abs(log(high))) if low > 0 and high > 0 else None


def _spread(metrics: Metrics, first: Metrics) -> float | None:
    if "ratio/max" not in metrics:
        return None
    return max(metrics["ratio/max"], 1 / max(metrics["ratio/min"], 1e-9)) - 1


def _clipped(metrics: Metrics, first: Metrics) -> float | None:
    return metrics["clip/above"] + metrics["clip/below"] if "clip/above" in metrics else None


def _sample_change(metrics: Metrics, first: Metrics) -> float | None:
    now, start = metrics.get("sample/rms"), first.get("sample/rms")
    return abs(now / start - 1) if now and start else None


CHECKS = (
    Check(
        *("ratio", "Ratio before the first update", "how far new to old likelihood is from 1"),
        *(_first_ratio, 1e-5, FLOAT32),
        (
            "Before the first update the ratio is 1: old and new passes see the same network.",
            "Before the first update the ratio is slightly off 1: precision is marginal.",
            "Before the first update the ratio is not 1: old and new passes differ.",
        ),
    ),
    Check(
        *("replay", "Replay", "stored log-probability against the same one computed again"),
        *(_first_nats, 1e-5, 1e-4),
        (
            "Log-likelihoods computed again equal the stored ones.",
            "Log-likelihoods computed again differ slightly from the stored ones.",
            "Log-likelihoods computed again differ from the stored ones: dropout, precision, "
            "guidance or stale weights.",
        ),
    ),
    Check(
        *("ratio_spread", "Ratio within a round", "how far any likelihood ratio moved from 1"),
        *(_spread, 1.0, 5.0),
        (
            "The likelihood ratio stays near 1 within a round.",
            "The likelihood ratio moves by more than a factor of 2 within a round: fewer updates "
            "per round or a lower learning rate would be safer.",
            "The likelihood ratio has exploded; the updates no longer belong to the rollouts.",
        ),
    ),
    Check(
        *("zero_variance", "Groups without variance", "groups with equal rewards teach nothing"),
        *(lambda metrics, first: metrics.get("groups/zero_variance"), *FLAT),
        (
            "Enough groups have a spread of rewards to learn from.",
            "Half of the groups have no spread of rewards: harder prompts or larger groups would "
            "teach more.",
            "Almost no group has a spread of rewards: there is no signal left, or the reward is "
            "constant.",
        ),
    ),
    Check(
        *("flat_start", "Groups flat from the first round on", "groups that never had a spread"),
        *(flat_from_start, *FLAT),
        (
            "Groups have had a spread of rewards since the first round.",
            "Half of the groups have had no spread of rewards since the first round: larger groups "
            "or prompts on which samples differ more would teach more.",
            "From the first round on almost all groups have equal rewards: nothing can be learnt "
            "from this reward with these prompts and groups.",
        ),
    ),
    Check(
        *("clip", "Clip fraction", "share of ratios outside the clip range"),
        *(_clipped, 0.4, STOPPED),
        (
            "Few samples are stopped by the ratio clip.",
            "Many samples are stopped by the ratio clip: widen it or lower the learning rate.",
            "Nearly all samples are stopped by the ratio clip: the updates do almost nothing.",
        ),
    ),
    Check(
        *("drift", "Drift", "mean squared distance of the velocity from the base model's"),
        *(lambda metrics, first: metrics.get("drift/velocity"), 0.05, 0.2),
        (
            "The model stays near the one it started from.",
            "The model has moved far from its start: look at diversity and at the judge.",
            "The model has left its start behind; its pictures are probably not its data's.",
        ),
    ),
    Check(
        *("sample_norm", "Sample norm", "change of the samples' size since the first round"),
        *(_sample_change, 0.15, 0.4),
        (
            "Samples keep the size they had at the start.",
            "Samples have grown or shrunk by more than 15 %: over-saturation often starts so.",
            "Samples have grown or shrunk by more than 40 %: the model is breaking down.",
        ),
    ),
)

OVER_A_RUN = (
    Check(
        *("saturated", "Pairs decided before training", "share of pairs with |logit| > 5"),
        *(lambda now, first: now.get("logit/saturated") if now == first else None, *SATURATED),
        (
            "Few pairs are decided before training.",
            "Many pairs have |logit| > 5 before training: the loss is saturated for them; lower β.",
            "Most pairs have |logit| > 5 before training: the loss is saturated and teaches next "
            "to nothing; lower β, or take a loss with a reference or normalised lengths.",
        ),
    ),
    Check(
        *("loss", "Training loss", "rise above its lowest, in units of its first size"),
        *(lambda metrics, first: metrics.get("rise"), *RISING),
        (
            "The training loss stays near its lowest.",
            "The training loss is rising again: an earlier checkpoint may be better.",
            "The training loss diverges: lower the learning rate.",
        ),
    ),
)

_WATCHED = {  # the check that is a decision of its own, title and what it compares
    "reward_vs_judge": ("Reward against judge", "gain of the reward less that of the judge")
}
NAMED = {c.name: (c.title, c.compares) for c in (*CHECKS, *OVER_A_RUN)} | _WATCHED
