"""Is this run healthy?  Each check is a number, a level and a plain sentence.

Checks read only a round's metrics and the evaluations so far, so the live view, the metrics file
and the report say the same thing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Literal

Level = Literal["ok", "warn", "alarm"]


@dataclass(frozen=True)
class Finding:
    """One check of one round."""

    check: str
    value: float
    level: Level
    message: str


def level_of(value: float, warn: float, alarm: float) -> Level:
    """Which of two rising limits a value has passed."""
    return "alarm" if value >= alarm else "warn" if value >= warn else "ok"


def check_round(metrics: Mapping[str, float], first: Mapping[str, float]) -> list[Finding]:
    """The checks of one round; `first` are the metrics of the run's first round."""
    checks = (_ratio, _replay, _spread, _zero_variance, _clip)
    found = [check(metrics) for check in checks]
    found.append(_drift(metrics))
    found.append(_sample_norm(metrics, first))
    return [finding for finding in found if finding is not None]


def check_evaluations(evaluations: Sequence[Mapping]) -> list[Finding]:
    """Reward against judge since the first evaluation: rising reward, falling judge is hacking."""
    if len(evaluations) < 2:
        return []
    first, last = evaluations[0]["ode"], evaluations[-1]["ode"]
    if "reward" not in last or "judge" not in last:
        return []
    reward, judge = last["reward"] - first["reward"], last["judge"] - first["judge"]
    best = max(e["ode"]["judge"] for e in evaluations)
    loss = max(reward - judge, 0.0) if reward > 0 else 0.0
    level = level_of(max(loss, 2 * (best - last["judge"])), 0.05, 0.12)
    messages = {
        "ok": "The judge, which never enters training, agrees with the reward.",
        "warn": "The reward gains more than the judge: watch the pictures, stop if this grows.",
        "alarm": "The reward rises without the judge: the reward is being hacked. Use an earlier "
        "checkpoint, a stronger anchor or a lower learning rate.",
    }
    return [Finding("reward_vs_judge", reward - judge, level, messages[level])]


def _ratio(metrics: Mapping[str, float]) -> Finding | None:
    if "first/ratio/max" not in metrics:
        return None
    gap = max(metrics["first/ratio/max"] - 1, 1 - metrics["first/ratio/min"])
    level = level_of(gap, 1e-5, 1e-4)
    messages = {
        "ok": "Before the first update the ratio is 1: old and new passes see the same network.",
        "warn": "Before the first update the ratio is slightly off 1: precision is marginal.",
        "alarm": "Before the first update the ratio is not 1: old and new passes differ.",
    }
    return Finding("ratio", gap, level, messages[level])


def _replay(metrics: Mapping[str, float]) -> Finding | None:
    low, high = metrics.get("first/ratio/min", 0.0), metrics.get("first/ratio/max", 0.0)
    if low <= 0 or high <= 0:
        return None
    nats = max(abs(log(low)), abs(log(high)))
    level = level_of(nats, 1e-5, 1e-4)
    messages = {
        "ok": "Log-likelihoods computed again equal the stored ones.",
        "warn": "Log-likelihoods computed again differ slightly from the stored ones.",
        "alarm": "Log-likelihoods computed again differ from the stored ones: dropout, precision, "
        "guidance or stale weights.",
    }
    return Finding("replay", nats, level, messages[level])


def _spread(metrics: Mapping[str, float]) -> Finding | None:
    if "ratio/max" not in metrics:
        return None
    spread = max(metrics["ratio/max"] - 1, 1 - metrics["ratio/min"])
    level = level_of(spread, 1.0, 5.0)
    messages = {
        "ok": "The likelihood ratio stays near 1 within a round.",
        "warn": "The likelihood ratio moves by more than a factor of 2 within a round: fewer "
        "updates per round or a lower learning rate would be safer.",
        "alarm": "The likelihood ratio has exploded; the updates no longer belong to the rollouts.",
    }
    return Finding("ratio_spread", spread, level, messages[level])


def _zero_variance(metrics: Mapping[str, float]) -> Finding | None:
    if "groups/zero_variance" not in metrics:
        return None
    share = metrics["groups/zero_variance"]
    level = level_of(share, 0.5, 0.9)
    messages = {
        "ok": "Most groups have a spread of rewards to learn from.",
        "warn": "Half of the groups have no spread of rewards: harder prompts or larger groups "
        "would teach more.",
        "alarm": "Almost no group has a spread of rewards: there is no signal left, or the reward "
        "is constant.",
    }
    return Finding("zero_variance", share, level, messages[level])


def _clip(metrics: Mapping[str, float]) -> Finding | None:
    if "clip/above" not in metrics:
        return None
    share = metrics["clip/above"] + metrics["clip/below"]
    level = level_of(share, 0.4, 0.8)
    messages = {
        "ok": "Few samples are stopped by the ratio clip.",
        "warn": "Many samples are stopped by the ratio clip: widen it or lower the learning rate.",
        "alarm": "Nearly all samples are stopped by the ratio clip: the updates do almost nothing.",
    }
    return Finding("clip", share, level, messages[level])


def _drift(metrics: Mapping[str, float]) -> Finding | None:
    if "drift/velocity" not in metrics:
        return None
    drift = metrics["drift/velocity"]
    level = level_of(drift, 0.05, 0.2)
    messages = {
        "ok": "The model stays near the one it started from.",
        "warn": "The model has moved far from its start: look at diversity and at the judge.",
        "alarm": "The model has left its start behind; its pictures are probably not its data's.",
    }
    return Finding("drift", drift, level, messages[level])


def _sample_norm(metrics: Mapping[str, float], first: Mapping[str, float]) -> Finding | None:
    if not metrics.get("sample/rms") or not first.get("sample/rms"):
        return None
    change = abs(metrics["sample/rms"] / first["sample/rms"] - 1)
    level = level_of(change, 0.15, 0.4)
    messages = {
        "ok": "Samples keep the size they had at the start.",
        "warn": "Samples have grown or shrunk by more than 15 %: over-saturation often starts so.",
        "alarm": "Samples have grown or shrunk by more than 40 %: the model is breaking down.",
    }
    return Finding("sample_norm", change, level, messages[level])
