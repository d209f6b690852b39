"""What is wrong from the first round on, and a training loss that rises again."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scoreward.records.run import RoundRecord, RunProgress, SavedRun, Scores
from scoreward.verdict.decisions import (
    FLAT,
    RISING,
    flat_from_start,
    rise_of_loss,
    saturated_from_start,
)
from scoreward.verdict.health import check_round, check_run
from tests.diagnosis.made_up import run_of

REWARDED: Any = {"reward/mean": 0.5}


def test_flat_groups_are_told_from_the_first_round_on() -> None:
    def level(now: float, first: float) -> str | None:
        metrics, start = ({"groups/zero_variance": v} for v in (now, first))
        found = [f for f in check_round(metrics, start) if f.check == "flat_start"]
        return found[0].level if found else None

    warn, alarm = FLAT
    assert [level(1.0, v) for v in (warn - 0.01, warn, alarm - 0.01, alarm)] == [
        *(None, "warn", "warn", "alarm"),
    ]
    assert [level(v, 1.0) for v in (0.0, warn - 0.01, warn, alarm)] == ["ok", "ok", "warn", "alarm"]
    assert flat_from_start({}, {}) is None


def losses(
    *parts: float, each: int = 10, noise: float = 0.0, **more: Any
) -> list[dict[str, float]]:
    rng = np.random.default_rng(11)
    means = np.repeat(parts, each)
    return [{"loss": float(v), **more} for v in means + rng.normal(0, noise or 1e-12, len(means))]


def test_a_loss_that_rises_by_half_of_its_first_size_warns_and_by_all_of_it_alarms() -> None:
    def rise(last: float) -> float:
        return rise_of_loss(losses(0.7, 0.7, 0.7, 0.7, last)) or 0.0

    warn, alarm = RISING
    assert rise(0.7 * (1 + warn - 0.02)) < warn < rise(0.7 * (1 + warn + 0.02)) < alarm
    assert rise(0.7 * (1 + alarm - 0.02)) < alarm < rise(0.7 * (1 + alarm + 0.02))


def test_a_loss_is_compared_with_its_lowest() -> None:
    assert rise_of_loss(losses(0.7, 0.3, 0.1, 0.3, 0.5)) == pytest.approx(0.4 / 0.7)
    assert rise_of_loss(losses(0.7, 0.6, 0.5, 0.4, 0.3)) == 0.0


def test_noise_is_no_rise() -> None:
    """Losses around 0, as of clipped ratios, and a small loss as noisy as it is large."""
    for seed in range(50):
        values = np.random.default_rng(seed).normal(0, 0.02, 80)
        assert (rise_of_loss([{"loss": float(v)} for v in values]) or 0.0) < RISING[0]
        assert (rise_of_loss([{"loss": float(abs(v))} for v in values]) or 0.0) < RISING[0]


def test_single_rounds_do_not_make_a_loss_diverge() -> None:
    rounds = losses(0.7, 0.7, 0.7, 0.7, 0.7, noise=0.01)
    for at in (5, 22, 41, 49):
        rounds[at] = {"loss": 1e3}
    assert (rise_of_loss(rounds) or 0.0) < RISING[0]


def test_where_rewards_are_drawn_a_loss_may_grow_with_its_anchor() -> None:
    grown = [0.0, 0.02, 0.04, 0.06, 0.1]
    assert (rise_of_loss(losses(*grown, **REWARDED)) or 0.0) < RISING[0]
    assert (rise_of_loss(losses(0.0, 0.02, 0.1, 1.0, 30.0, **REWARDED)) or 0.0) > 1


def test_a_loss_that_is_not_finite_is_an_infinite_rise_and_few_rounds_are_none() -> None:
    assert rise_of_loss([*losses(0.7, each=9), {"loss": float("nan")}]) == float("inf")
    assert rise_of_loss(losses(0.7, each=9)) is None
    assert rise_of_loss([{"reward/mean": 1.0}] * 30) is None


def finding(run: SavedRun, check: str) -> str:
    return next((f.level for f in check_run(run) if f.check == check), "none")


def test_the_loss_of_a_run_is_watched() -> None:
    def run(*parts: float) -> SavedRun:
        found = [RoundRecord(RunProgress(i), m) for i, m in enumerate(losses(*parts), 1)]
        return replace(run_of([0.5], [0.5]), rounds=found)

    assert finding(run(0.7, 0.7, 0.7, 0.7, 0.7), "loss") == "ok"
    assert finding(run(0.7, 0.5, 0.7, 1.0, 1.5), "loss") == "alarm"


def test_pairs_that_are_decided_before_training_are_told() -> None:
    def run(share: float, evaluations: int = 1) -> SavedRun:
        found = run_of([0.5] * evaluations, [0.5] * evaluations)
        scores = [replace(e, samplers={"held_out": Scores({"saturated": share})}) for e in
                  found.evaluations]  # fmt: skip
        return replace(found, evaluations=scores)

    assert [finding(run(v), "saturated") for v in (0.09, 0.1, 0.49, 0.5)] == [
        *("ok", "warn", "warn", "alarm"),
    ]
    assert finding(run(0.9, evaluations=2), "saturated") == "none"  # it was told at the start
    first = [RoundRecord(RunProgress(1), {"logit/saturated": 0.7})]
    assert saturated_from_start(replace(run_of([0.5], [0.5]), rounds=first)) == 0.7
    later = [RoundRecord(RunProgress(2), {"logit/saturated": 0.7})]
    assert saturated_from_start(replace(run_of([0.5], [0.5]), rounds=later)) is None


def test_the_first_round_alone_tells_of_saturated_pairs() -> None:
    first, later = {"logit/saturated": 0.6, "loss": 1.0}, {"logit/saturated": 0.6, "loss": 0.9}
    assert [f.level for f in check_round(first, first) if f.check == "saturated"] == ["alarm"]
    assert [f for f in check_round(later, first) if f.check == "saturated"] == []
