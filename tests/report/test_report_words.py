"""The verdict says what the numbers say, and trusts the judge before the reward."""

from dataclasses import replace

import pytest

from scoreward.records.reading import read_run
from scoreward.records.run import HealthRecord, RunSummary, SavedRun, Scores
from scoreward.verdict.outcome import Ends, ends, headline, lesson, limits, outcome, verdict
from scoreward.verdict.words import change, duration, show
from tests.report.conftest import FakeRun

BASE = {"reward": 0.90, "judge": 0.92, "strict": 0.53, "diversity": 0.232, "nearest": 7.46}
BETTER = {"reward": 0.97, "judge": 0.97, "strict": 0.78, "diversity": 0.18, "nearest": 7.5}


def after(**changed: float) -> Ends:
    return Ends(BASE, BETTER | changed)


@pytest.mark.parametrize(
    ("pair", "sentence"),
    [
        (after(), "Better, and the checks agree."),
        (after(diversity=0.16), "Better, at a price."),
        (after(nearest=7.9), "Better, at a price."),
        (after(strict=0.40), "The reward rose while the judge fell: the reward was hacked."),
        (after(strict=0.53), "The reward rose, and the judge saw no difference."),
        (after(reward=0.90, strict=0.53), "Training changed little."),
        (Ends(BASE, {}), "There is no evaluation to compare."),
        (Ends({"clip": 0.2}, {"clip": 0.3}), "The reward rose; no judge was there to check it."),
    ],
)
def test_the_headline_follows_the_numbers(pair: Ends, sentence: str) -> None:
    assert outcome(pair)[1] == sentence


def test_a_palette_that_breaks_is_a_price() -> None:
    broken = Ends(BASE | {"palette": 0.8}, BETTER | {"palette": 0.6})
    assert outcome(broken) == ("warn", "Better, at a price.")


def test_a_run_that_ends_in_alarm_is_not_simply_better(fake_run: FakeRun) -> None:
    run = read_run(fake_run(rounds=4))
    pair = ends(run, "ode")
    alarm, fine = HealthRecord(4, "drift", "alarm"), HealthRecord(5, "drift", "ok")
    assert headline(run, pair)[0] == "ok"
    assert headline(replace(run, health=[alarm]), pair)[0] == "alarm"
    assert headline(replace(run, health=[alarm, fine]), pair)[0] == "ok"


def test_limits_are_kept_at_exactly_the_limit() -> None:
    exact = Ends({"diversity": 1.0, "nearest": 1.0}, {"diversity": 0.70, "nearest": 1.05})
    assert [kept for *_, kept in limits(exact)] == [True, True]


@pytest.mark.parametrize(
    ("status", "level", "start"),
    [
        ("failed", "alarm", "The run failed"),
        ("stopped", "warn", "The run was stopped after round 4"),
        ("running", "warn", "Not finished"),
    ],
)
def test_an_unfinished_run_says_so_first(
    fake_run: FakeRun, status: str, level: str, start: str
) -> None:
    run = read_run(fake_run(rounds=4, about={"status": status, "reason": "disk full."}))
    said = headline(run, ends(run, "ode"))
    assert said[0] == level
    assert said[1].startswith(start)
    assert "Reason given: disk full." in verdict(run, ends(run, "ode"))


def test_the_summary_speaks_before_the_last_evaluation(fake_run: FakeRun) -> None:
    run = read_run(fake_run(rounds=4))
    spoken = ends(replace(run, summary=RunSummary(after={"ode": Scores({"reward": 0.123})})), "ode")
    assert spoken.after["reward"] == 0.123
    assert spoken.after["judge"] == run.evaluations[-1].scores("ode").numbers["judge"]


def test_the_lesson_names_a_hacked_reward(fake_run: FakeRun) -> None:
    mine, other = read_run(fake_run()), read_run(fake_run("other", hacked=True))
    text = " ".join(lesson(mine, other, "ode"))
    assert "a reward of 0.979, this one with 0.968" in text
    assert "It was hacked." in text
    assert "as training went on" in text


def test_the_lesson_accuses_no_run_that_is_only_better(fake_run: FakeRun) -> None:
    mine, other = read_run(fake_run(hacked=True)), read_run(fake_run("other"))
    assert "hacked" not in " ".join(lesson(mine, other, "ode"))


def test_a_lesson_without_scores_still_has_words(fake_run: FakeRun) -> None:
    run: SavedRun = replace(read_run(fake_run(rounds=2)), evaluations=[], summary=RunSummary())
    assert len(lesson(run, run, "ode")) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.9031, "0.903"),
        (-0.0613, "−0.061"),
        (12.345, "12.35"),
        (92160, "92,160"),
        (3, "3"),
        (1e-4, "1.0e−04"),
        (None, "–"),
        (float("nan"), "not a number"),
        (float("inf"), "infinite"),
    ],
)
def test_numbers_read_well(value: float | None, text: str) -> None:
    assert show(value) == text


def test_a_change_carries_its_sign() -> None:
    assert change(0.5, 0.75) == "+0.250"
    assert change(0.75, 0.5) == "−0.250"
    assert change(None, 0.5) == ""


def test_durations_are_said_in_two_units() -> None:
    values = [4.2, 42.0, 60.0, 176.0, 7800.0, None]
    said = ["4.2 s", "42 s", "1 min", "2 min 56 s", "2 h 10 min", "–"]
    assert [duration(v) for v in values] == said
