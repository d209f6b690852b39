"""A run as its folder tells it: budget, records, how it ended and why."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import torch

import scoreward
from scoreward.records.reading import read_run
from scoreward.training.folder import RunFolder, RunFolderError
from scoreward.training.interrupt import Stop
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping, Session
from scoreward.verdict.decisions import ends
from scoreward.verdict.health import check_run
from tests.training.toys import (
    about,
    finish,
    records,
    saved_rounds,
    toy,
)


def test_a_budget_in_rounds_is_exact(tmp_path: Path) -> None:
    moments = finish(toy(tmp_path / "run", rounds=4))
    assert [m.round for m in moments] == [0, 1, 2, 3, 4]
    assert [m.fraction for m in moments] == [0, 0.25, 0.5, 0.75, 1]


def test_a_budget_in_evaluations_ends_with_the_round_that_reaches_it(tmp_path: Path) -> None:
    """16 samples: 160 + 64 · 3 = 352 a round, and 64 more in the first, which is verified."""
    run = replace(toy(tmp_path / "run"), budget=Budget(evaluations=416 + 352 + 1))
    moments = finish(run)
    assert moments[-1].round == 3
    assert moments[-1].evaluations.total == 416 + 2 * 352


def test_a_budget_in_seconds_counts_training_only(tmp_path: Path) -> None:
    run = replace(toy(tmp_path / "run"), budget=Budget(seconds=0.05, rounds=1000))
    moments = finish(run)
    assert moments[-1].fraction == 1
    assert moments[-1].seconds >= 0.05
    assert moments[-2].seconds < 0.05


def test_the_first_limit_reached_ends_the_run() -> None:
    budget = Budget(rounds=10, seconds=100.0, evaluations=1000)
    assert budget.spent(1, 50.0, 20) == 0.5
    assert budget.spent(9, 1.0, 20) == 0.9
    assert budget.spent(0, 1.0, 2000) == 2


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({}, "a budget needs at least one of `rounds`, `seconds`, `evaluations`"),
        ({"rounds": 0}, "`rounds` of a budget must be positive, got 0"),
        ({"seconds": -1.0, "rounds": 3}, "`seconds` of a budget must be positive, got -1.0"),
    ],
)
def test_a_budget_that_ends_nothing_is_refused(limits: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=rf"^{sentence}$"):
        Budget(**limits)


@pytest.mark.parametrize("keeping", [{"every": 0}, {"last": 0}])
def test_keeping_nothing_is_refused(keeping: dict) -> None:
    with pytest.raises(ValueError, match=r"^checkpoints need `every` and `last` of at least 1"):
        Keeping(**keeping)


def test_checkpoints_are_kept_as_often_and_as_many_as_asked(tmp_path: Path) -> None:
    run = toy(tmp_path / "run", rounds=7, keeping=Keeping(every=2, last=2))
    finish(run)
    assert saved_rounds(run) == ["000006", "000007"]


def test_evaluations_come_at_the_start_when_due_and_at_the_end(tmp_path: Path) -> None:
    run = toy(tmp_path / "run", rounds=12)
    moments = finish(run)
    assert [m.round for m in moments if m.evaluation is not None] == [0, 5, 10, 12]
    lines = records(run.folder, "evaluation")
    assert [line["round"] for line in lines] == [0, 5, 10, 12]
    assert lines[-1]["ode"] == (moments[-1].evaluation or {})["ode"]


def test_a_run_keeps_what_every_row_scored_and_tells_changes_with_intervals(tmp_path: Path) -> None:
    """The means of the rows are the numbers of the evaluation; the change is of the same rows."""
    run = toy(tmp_path / "run", rounds=12)
    moments = finish(run)
    saved = read_run(run.folder)
    assert saved.notes == []
    assert [(e.round, e.sampler) for e in saved.each] == [
        (r, s) for r in (0, 5, 10, 12) for s in ("ode", "sde")
    ]
    for each in saved.each:
        numbers = next(e for e in saved.evaluations if e.at.round == each.round)
        values = [v for v in each.values["reward"] if v is not None]
        assert fmean(values) == pytest.approx(numbers.scores(each.sampler).numbers["reward"], 1e-4)
        assert len(values) == len(each.groups) == len(run.evaluation.prompts)  # pyright: ignore
        assert len(set(each.groups)) == len(set(run.evaluation.prompts))  # pyright: ignore
    assert moments[0].moved == {"ode": {}, "sde": {}}
    told = moments[-1].moved["ode"]["reward"]
    assert told == ends(saved, "ode").move("reward")
    assert told.interval is not None
    assert told.interval[0] < told.change < told.interval[1]


def test_what_is_found_at_the_start_is_written_too(tmp_path: Path) -> None:
    run = toy(tmp_path / "run", rounds=2)
    folder = RunFolder(run.folder)
    (start, *_) = finish(run)
    assert [h["check"] for h in folder.records("health") if h["round"] == 0] == [
        f.check for f in start.findings
    ]
    (run.folder / "metrics.jsonl").unlink()
    folder.append({"kind": "evaluation", "round": 0, "held_out": {"saturated": 0.75}})
    assert [(f.check, f.level) for f in check_run(read_run(run.folder))] == [("saturated", "alarm")]


def test_every_line_of_the_metrics_counts_evaluations_and_rounds(tmp_path: Path) -> None:
    run = toy(tmp_path / "run", rounds=2)
    moments = finish(run)
    lines = records(run.folder, "round")
    assert [line["round"] for line in lines] == [1, 2]
    assert lines[-1]["evaluations"] == vars(moments[-1].evaluations)
    assert lines[-1]["reward/mean"] == moments[-1].metrics["reward/mean"]
    checks = [line["check"] for line in records(run.folder, "health") if line["round"] == 2]
    assert checks == [f.check for f in moments[-1].findings] != []


def test_a_number_that_is_not_finite_is_written_as_null(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    nan, inf = float("nan"), float("inf")
    folder.append({"kind": "round", "a": nan, "b": {"c": inf, "e": [0.5, nan]}, "d": 1.5})
    assert folder.records() == [
        {"kind": "round", "a": None, "b": {"c": None, "e": [0.5, None]}, "d": 1.5}
    ]


def test_the_summary_is_first_against_last(tmp_path: Path) -> None:
    run = toy(tmp_path / "run", rounds=6)
    moments = finish(run)
    summary = json.loads((run.folder / "summary.json").read_text())
    lines = records(run.folder, "evaluation")
    assert summary["before"] == {k: lines[0][k] for k in ("ode", "sde")}
    assert summary["after"] == {k: lines[-1][k] for k in ("ode", "sde")}
    assert set(summary["before"]["ode"]) == {"reward", "diversity", "drift"}
    assert summary["seconds"]["rl"] == moments[-1].seconds < summary["seconds"]["total"]
    spent = moments[-1].evaluations
    assert summary["evaluations"] == {
        "behaviour": spent.behaviour,
        "training": 3 * spent.training_forward,
    }


def test_run_json_says_what_ran(tmp_path: Path) -> None:
    run = toy(tmp_path / "run", rounds=1, seed=7, origin={"command": "scoreward train toy_vgrpo"})
    finish(run)
    told = about(run)
    assert (told["recipe"], told["seed"], told["command"]) == (
        *("toy_vgrpo", 7),
        "scoreward train toy_vgrpo",
    )
    assert (told["status"], told["reason"], told["threads"]) == ("finished", None, 1)
    assert told["versions"]["torch"] == torch.__version__
    assert told["versions"]["scoreward"] == scoreward.__version__
    settings = told["settings"]
    assert settings["optimizer"]["lr"] == 0.02
    assert settings["source"]["geometry"]["prompts"] == 4
    assert settings["source"]["rewards"] == {"closeness": "closeness"}
    assert settings["objective"]["pairs"] == 4
    assert settings["model"]["network"] == "GaussianPolicy, 8 parameters"
    assert settings["guards"]["ratio_limit"] == 10.0
    assert told["started"].endswith("+00:00")


def test_run_json_knows_the_commit_it_ran_from(tmp_path: Path) -> None:
    root = Path(scoreward.__file__).parent
    asked = subprocess.run(
        ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    run = toy(tmp_path / "run", rounds=1)
    finish(run)
    git = about(run)["git"]
    assert git is None if asked.returncode else git["commit"] == asked.stdout.strip()


def test_the_seed_decides_the_run(tmp_path: Path) -> None:
    seeds = [0, 0, 1]
    runs = [toy(tmp_path / str(i), rounds=2, seed=seed) for i, seed in enumerate(seeds)]
    for run in runs:
        finish(run)
    zero, again, one = (records(run.folder, "round") for run in runs)
    assert zero == again
    assert zero != one
    first = [records(run.folder, "evaluation")[0]["ode"] for run in runs]
    assert first[0] == first[2]


def test_a_folder_with_a_finished_run_is_refused_and_left_alone(tmp_path: Path) -> None:
    run = toy(tmp_path / "run", rounds=1)
    finish(run)
    before = {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}
    with pytest.raises(
        RunFolderError, match=r"already holds a finished run; choose another folder"
    ):
        run.start()
    with pytest.raises(RunFolderError, match=r"holds a finished run; there is nothing to resume$"):
        run.resume()
    assert before == {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}


def test_a_folder_with_an_unfinished_run_points_to_resume(tmp_path: Path) -> None:
    run = toy(tmp_path / "run", rounds=3)
    next(run.start())
    with pytest.raises(RunFolderError, match=rf"go on with it by: scoreward resume {run.folder}"):
        run.start()


def test_a_folder_that_is_none_is_not_resumed_nor_made(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"is not a run folder: it has no run.json; runs are"):
        toy(tmp_path / "nothing").resume()
    assert not (tmp_path / "nothing").exists()


def test_a_damaged_run_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(RunFolderError, match=r"run.json cannot be read: "):
        toy(tmp_path).resume()


def test_a_folder_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(
        RunFolderError, match=r"^could not start a run in .*: Not a directory; free"
    ):
        toy(tmp_path / "file" / "run").start()
    assert (tmp_path / "file").read_text() == "mine"


def test_a_stop_asked_for_in_the_last_round_is_the_end(tmp_path: Path) -> None:
    run = toy(tmp_path / "run", rounds=1)
    session = Session(run)
    session.begin()
    stop = Stop()
    stop.asked = True
    list(session._loop(stop))
    assert about(run)["status"] == "finished"


def test_a_budget_of_evaluations_takes_the_learning_rate_to_its_end(tmp_path: Path) -> None:
    """416 evaluations in the first round, then 352; the rate is what was left before the round."""
    run = replace(
        toy(tmp_path / "run", optimizer=Optimizer(lr=0.02, decay="linear")),
        budget=Budget(evaluations=1600),
    )
    rates = [m.metrics["learning_rate"] for m in finish(run) if m.metrics]
    spent = [0, 416, 416 + 352, 416 + 2 * 352, 416 + 3 * 352]
    assert rates == pytest.approx([0.02 * (1 - done / 1600) for done in spent])
