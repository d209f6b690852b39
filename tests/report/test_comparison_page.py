"""The page of a comparison: sections, pictures side by side, what it refuses to show."""

import json
from pathlib import Path

import pytest

from scoreward.records.reading import read_run
from scoreward.report.comparison.comparison import read_inputs, tasks
from scoreward.report.comparison.page import Asked, render, write_comparison
from scoreward.report.comparison.side_by_side import sheet
from scoreward.report.run.samples import read_sheets
from tests.report.conftest import FakeRun
from tests.report.lines import FAST, LOST, SLOW, line, write
from tests.report.test_comparison import LESSON
from tests.report.test_report_page import Ids


def test_the_page_has_its_sections_numbers_and_no_address_outside(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", *FAST, *SLOW, *LOST, line("guided", [0.3]))
    found = tasks(read_inputs([path]))
    text = render(found, Asked(levels=(0.5,)))
    assert {"task-toy", "how"} <= set(Ids(text).ids)
    assert all(a.startswith(("#", "data:")) for a in Ids(text).addresses)
    assert "script" not in Ids(text).tags
    for title in (
        "Reward against network evaluations",
        "Judge against seconds",
        "Judge against drift",
    ):
        assert title in text
    assert "2.00 × [1.00, 4.00]" in text
    assert "1 of 2 seeds" in text
    assert "guided 0.300</text>" in text
    assert "not trained" in text


def test_the_page_is_the_same_every_time_and_names_are_text_in_it(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", line("<b>x", [0.0, 1.0]), line("y", [0.0, 1.0]))
    text = render(tasks(read_inputs([path])))
    assert text == render(tasks(read_inputs([path])))
    assert "<b>x" not in text
    assert "&lt;b&gt;x" in text


def test_every_task_has_a_section_of_its_own(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", line("a", [0.0, 1.0]), line("a", [0.0, 9.0], task="other"))
    found = Ids(render(tasks(read_inputs([path]))))
    assert {"task-toy", "task-other"} <= set(found.ids)
    assert {"#task-toy", "#task-other", "#how"} <= set(found.addresses)


def test_runs_with_pictures_are_shown_side_by_side(fake_run: FakeRun) -> None:
    good, hacked = fake_run("good", rounds=8), fake_run("bad", hacked=True, rounds=8)
    (task,) = tasks(read_inputs([good, hacked]))
    shown = sheet(task)
    assert shown is not None
    assert [len(b.prompts) for b in shown.blocks] == [8, 6]  # of 32 prompts 14 are distinct
    labels = [s.label for s in shown.blocks[0].strips]
    assert shown.same_start is False  # the made-up pictures differ before training
    assert labels == [n for m in task.methods for n in (f"{m.name}, before", m.name)]
    assert all(len(s.tiles) == 8 for s in shown.blocks[0].strips)
    assert render([task]).count("data:image/png") == 14 * 4


def test_a_common_start_is_shown_once(fake_run: FakeRun) -> None:
    folders = [fake_run(n, rounds=8, about={"recipe": f"portraits_{n}"}) for n in ("one", "two")]
    (task,) = tasks(read_inputs(folders))
    shown = sheet(task)
    assert shown is not None
    assert shown.blocks[0].strips[0].label == "before"
    kept = read_sheets(read_run(folders[0]))
    for strip, round_ in zip(shown.blocks[0].strips, (0, 8, 8), strict=True):
        places = [kept.prompts.index(p) for p in shown.blocks[0].prompts]
        assert [t.uri for t in strip.tiles] == [kept.pictures[round_][i] for i in places]
    assert len(shown.blocks[0].strips) == 3


def test_wrong_wishes_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "c.jsonl", line("a", [0.0, 1.0]), line("b", [0.0, 1.0]))
    with pytest.raises(
        ValueError, match="`against` must be one of the compared methods, a, b, got"
    ):
        write_comparison([path], tmp_path / "x.html", Asked(against="c"))
    with pytest.raises(ValueError, match="`out` must be a file in a folder that exists"):
        write_comparison([path], tmp_path / "absent" / "x.html")
    nothing = {k: [None, None] for k in ("drift", "diversity")}
    write(path, line("a", [None, None]) | nothing)
    with pytest.raises(ValueError, match="no run of the task 'toy' has ODE numbers to compare"):
        write_comparison([path], tmp_path / "x.html")
    assert not (tmp_path / "x.html").exists()


def test_the_committed_run_can_be_compared(tmp_path: Path) -> None:
    text = write_comparison([LESSON], tmp_path / "x.html").read_text()
    assert "One method: nothing to compare it with." in text
    assert json.loads((LESSON / "samples" / "index.json").read_text())["prompts"][0] in text
