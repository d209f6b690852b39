"""A run folder is read as it is; only what is no run folder is refused."""

import json
from pathlib import Path

import pytest

from scoreward.records.fields import finite
from scoreward.records.reading import read_run
from scoreward.report import write_report
from tests.report.conftest import FakeRun


def test_a_missing_folder_is_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`folder` must be a run folder, but .* does not exist"):
        write_report(tmp_path / "nowhere")


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ValueError, match=r"has no run\.json; give the folder"):
        write_report(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("content", ["", "{", "[1, 2]", "\xff"])
def test_a_broken_run_json_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match="is not a JSON object"):
        write_report(tmp_path)


def test_a_wrong_folder_beside_is_named_as_such(fake_run: FakeRun, tmp_path: Path) -> None:
    run = fake_run(rounds=2)
    with pytest.raises(ValueError, match="`beside` must be a run folder"):
        write_report(run, beside=tmp_path / "nowhere")
    assert not (run / "report.html").exists()


def test_a_run_is_not_its_own_lesson(fake_run: FakeRun) -> None:
    run = fake_run(rounds=2)
    with pytest.raises(ValueError, match="`beside` must be another run"):
        write_report(run, beside=run)


def test_a_line_cut_off_by_a_kill_is_left_out_and_noted(fake_run: FakeRun) -> None:
    folder = fake_run(rounds=4)
    whole = read_run(folder)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "round", "round": 5, "rewa')
    cut = read_run(folder)
    assert cut.rounds == whole.rounds
    (note,) = cut.notes
    last = len((folder / "metrics.jsonl").read_text().splitlines())
    assert note.startswith(
        f'Line {last} of metrics.jsonl should be a JSON object, not \'{{"kind": '
    )
    assert note.endswith("a kill may cut off the last line, any other was changed by hand.")


def test_a_round_written_again_after_a_resume_counts_once(fake_run: FakeRun) -> None:
    folder = fake_run(rounds=4)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"kind": "round", "round": 3, "loss": 42.0}) + "\n")
    rounds = read_run(folder).rounds
    assert [r.at.round for r in rounds] == [1, 2, 3, 4]
    assert rounds[2].metrics["loss"] == 42.0


def test_unknown_kinds_are_no_rounds(fake_run: FakeRun) -> None:
    folder = fake_run(rounds=2)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "weather", "round": 99}\n[]\n"text"\n')
    assert read_run(folder).last_round == 2


def test_a_value_of_another_kind_is_left_out_and_said_once(fake_run: FakeRun) -> None:
    folder = fake_run(rounds=2)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "round", "round": 3, "seconds": "long"}\n' * 3)
    run = read_run(folder)
    assert run.rounds[-1].at.seconds is None
    (note,) = run.notes
    assert "of metrics.jsonl `seconds` should be a number, not 'long', and was left out" in note
    assert note.endswith("; so were 2 more.")


def test_null_is_absent_and_no_fault(fake_run: FakeRun) -> None:
    folder = fake_run(rounds=2)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "round", "round": 3, "seconds": null, "loss": NaN}\n')
    run = read_run(folder)
    assert run.rounds[-1].metrics == {}
    assert run.notes == []


def test_only_finite_numbers_are_numbers() -> None:
    values = [1, 0.5, True, None, "3", float("nan"), float("inf"), [1]]
    assert [finite(v) for v in values] == [1.0, 0.5, None, None, None, None, None, None]


@pytest.mark.parametrize(
    ("evaluations", "total"),
    [
        ({"behaviour": 3, "training": 4, "other": "?"}, 7),
        ({"training_forward": 5, "training_backward": 5}, 15),
        ({}, None),
        ("many", None),
    ],
)
def test_a_total_skips_what_is_no_number(
    tmp_path: Path, evaluations: object, total: float | None
) -> None:
    (tmp_path / "run.json").write_text("{}")
    line = {"kind": "round", "round": 1, "evaluations": evaluations}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(line))
    assert read_run(tmp_path).rounds[0].at.total == total


def test_scorers_come_reward_first_and_guards_are_none(fake_run: FakeRun) -> None:
    assert read_run(fake_run(rounds=2)).scorers("ode") == ["reward", "judge", "strict"]
