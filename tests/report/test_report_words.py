"""The verdict says what the numbers say, and trusts the judge before the reward."""

from dataclasses import replace

import pytest

from scoreward.records.reading import read_run
from scoreward.records.run import HealthRecord, RunSummary, SavedRun, Scores
from scoreward.verdict.decisions import Ends, ends, limits
from scoreward.verdict.outcome import headline, lesson, outcome, verdict
from scoreward.verdict.words import change, duration, show
from tests.report.conftest import FakeRun


def test_a_run_that_ends_in_alarm_is_not_simply_better(fake_run: FakeRun) -> None:
    run = read_run(fake_run(rounds=4))
    pair = ends(run, "ode")
    alarm, fine = HealthRecord(4, "drift", "alarm"), HealthRecord(5, "drift", "ok")
    assert headline(run, pair)[0] == "ok"
    assert headline(replace(run, health=[alarm]), pair)[0] == "alarm"
    assert headline(replace(run, health=[alarm, fine]), pair)[0] == "ok"


def test_a_limit_that_breaks_is_a_price(fake_run: FakeRun) -> None:
    pair = ends(read_run(fake_run(rounds=4)), "ode")
    assert outcome(pair)[1].startswith("Better, and the checks agree: judge strict +0.250 [+0.24")
    for name, value in (("diversity", 0.16), ("nearest", 7.9)):
        broken = replace(pair, after={**pair.after, name: value})
        assert outcome(broken)[1].startswith("Better, at a price: judge strict +0.250 [+0.24")
    assert outcome(Ends(pair.before, {})) == ("warn", "There is no evaluation to compare.")


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
    assert "the higher reward belongs to the worse pictures" in text
    assert "The reward rose while the judge strict fell: the reward was hacked" in text
    assert "as training went on" in text


def test_of_runs_without_numbers_per_prompt_the_lesson_claims_no_hacking(fake_run: FakeRun) -> None:
    mine = read_run(fake_run(prompts=0))
    other = read_run(fake_run("other", hacked=True, prompts=0))
    text = " ".join(lesson(mine, other, "ode"))
    assert "the higher reward belongs to the worse pictures" in text
    assert "hacked" not in text


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
    assert change(0.0, 0.0004) == "+4.0e−04"
    assert change(None, 0.5) == ""


def test_durations_are_said_in_two_units() -> None:
    values = [4.2, 42.0, 60.0, 176.0, 7800.0, None]
    said = ["4.2 s", "42 s", "1 min", "2 min 56 s", "2 h 10 min", "–"]
    assert [duration(v) for v in values] == said
