"""The command `gap`: what it draws, prints and measures, and what it refuses in one sentence."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from scoreward.cli import main
from scoreward.records.reading import read_run
from scoreward.report import write_report
from scoreward.report.run import gap
from tests.report.conftest import FakeRun

SMALL = ["--geometry.prompts", "2", "--geometry.group", "2", "--budget.rounds", "2", "--every", "1"]
MEASURE = ["--etas", "0.5", "1", "--steps", "2", "--converged", "4"]
FEW = ["--prompts", "4", "--noises", "1"]
RECORDED = [f"--gap.{word[2:]}" if word.startswith("--") else word for word in [*MEASURE, *FEW]]


def trained(folder: Path, *words: str) -> Path:
    assert main(["train", "toy_vgrpo", *SMALL, *words, "--folder", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that measured no gap."""
    return trained(tmp_path_factory.mktemp("plain") / "run")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, measured before and after training."""
    return trained(tmp_path_factory.mktemp("asked") / "run", *RECORDED)


@pytest.fixture
def copied(tmp_path: Path, plain: Path) -> Path:
    return Path(shutil.copytree(plain, tmp_path / "copied"))


def said(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["gap", *words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_what_training_recorded_is_drawn_and_printed(
    asked: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "out.png"
    capsys.readouterr()
    assert main(["gap", str(asked), "--out", str(picture)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    cells = [row[:4] for row in rows if row and row[0] in ("0", "2")]
    assert [row[1] for row in cells] == ["ODE", "ODE", *["η"] * 4] * 2
    assert len([row for row in rows if "4*" in row]) == 6
    with Image.open(picture) as image:
        assert image.width > 3 * 300
        assert image.getcolors(maxcolors=1 << 20) is not None
    assert not (asked / "gap.jsonl").exists()


def test_json_gives_the_records_as_numbers(asked: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, str(asked))
    records = [
        json.loads(line)
        for line in (asked / "metrics.jsonl").read_text().splitlines()
        if json.loads(line)["kind"] == "gap"
    ]
    assert len(told["points"]) == len(records) == 12
    places = {(p["round"], p["eta"], p["steps"]): p for p in told["points"]}
    for record in records:
        point = places[record["round"], record["eta"], record["steps"]]
        for part in ("mean", "gap", "grid"):
            assert (point[part] is None) == (part not in record)
            if part in record:
                theirs = record[part]["reward"]
                assert point[part]["value"] == theirs["value"]
                assert point[part]["error"] == theirs["standard_error"]
                assert (point[part]["low"], point[part]["high"]) == (theirs["low"], theirs["high"])
        assert point["converged"] == (record["steps"] == 4)
    assert Path(told["picture"]).is_file()


def test_a_run_that_was_not_measured_is_measured_now(
    asked: Path, copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Same seed, same model: before training and at the end what training itself records."""
    before = (copied / "metrics.jsonl").read_text()
    mine = said(capsys, str(copied), *MEASURE, *FEW)["points"]
    theirs = said(capsys, str(asked))["points"]
    assert [p for p in mine if p["round"] in (0, 2)] == theirs
    assert {p["round"] for p in mine} == {0, 1, 2}  # and the checkpoint between them
    assert (copied / "metrics.jsonl").read_text() == before
    assert len(read_run(copied).gaps) == 18


def test_it_is_measured_once_unless_asked_again(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = said(capsys, str(copied), *MEASURE, *FEW)
    assert said(capsys, str(copied), "--etas", "2", *FEW) == first
    again = said(capsys, str(copied), "--etas", "2", *MEASURE[3:], *FEW, "--again")
    assert {p["eta"] for p in again["points"]} == {0.0, 2.0}


def test_the_report_shows_it_where_there_is_one(asked: Path, fake_run: FakeRun) -> None:
    text = write_report(asked).read_text()
    assert text.count("gap to the ODE on") == 2
    assert "gap to the ODE on 4 steps, converged" in text
    assert "Reward against steps, after the last round measured" in text
    assert text.count(">η = 0.5<") == 3
    assert "gap to the ODE on" not in write_report(fake_run()).read_text()


def made(folder: Path, *records: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return folder


def record(round: int, eta: float, steps: int, value: float) -> dict[str, Any]:
    one = {"value": value, "standard_error": 0.1, "low": value - 0.2, "high": value + 0.2}
    head = {"kind": "gap", "round": round, "eta": eta, "steps": steps, "converged": steps == 40}
    body = {"mean": {"reward": one}} | ({"gap": {"reward": one}} if eta else {})
    return head | body


def test_curves_are_by_noise_and_grid_and_the_last_moment_counts(tmp_path: Path) -> None:
    cells = [(r, e, n) for r in (5, 0) for e in (1.0, 0.0) for n in (40, 10)]
    lines = [record(r, e, n, r + e + n / 100) for r, e, n in cells]
    broken = [{"kind": "gap", "round": 0}, record(0, 1.0, 10, 0.5) | {"eta": "much"}]
    found = gap.points(read_run(made(tmp_path / "run", *lines, *broken)).gaps, "reward")
    assert len(found) == 8
    assert [(x, e.value) for x, e in gap.of_gap(found, 1.0, 10)] == [(0, 1.1), (5, 6.1)]
    assert gap.of_gap(found, 0.0, 10) == []
    assert [(x, e.value) for x, e in gap.of_steps(found, 0.0)] == [(10, 5.1), (40, 5.4)]
    assert (gap.grids(found), gap.etas(found)) == ([10, 40], [0.0, 1.0])
    rows = gap.rows(found)
    assert rows[0] == ["0", "ODE", "10", "0.1000 ± 0.1000", "", ""]
    assert rows[-1] == ["5", "η = 1", "40*", "6.4000 ± 0.1000", "+6.4000 ± 0.2000", ""]


def test_evaluate_prints_it_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the shipped model: the ODE and one noise on two grids."""
    words = ["--held-out.prompts", "2", "--held-out.steps", "2"]
    asked = ["etas", "1", "steps", "2", "converged", "3", "prompts", "2", "noises", "1"]
    options = [f"--held-out.gap.{w}" if w.isalpha() else w for w in asked]
    assert main(["evaluate", *words]) == 0
    assert "gap ± 95 %" not in capsys.readouterr().out
    assert main(["evaluate", *words, *options]) == 0
    told = capsys.readouterr().out
    assert "gap ± 95 %" in told
    rows = [line.split() for line in told.splitlines() if line.strip().startswith("0 ")]
    assert [row[1:3] for row in rows] == [["ODE", "2"], ["ODE", "3*"], ["η", "="], ["η", "="]]


def python(folder: Path, plain: Path) -> Path:
    made(folder)
    shutil.copytree(plain / "checkpoints", folder / "checkpoints")
    return folder


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    capsys.readouterr()
    assert main(["gap", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_folder_with_nothing_to_measure_is_one_sentence(
    tmp_path: Path, plain: Path, asked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_hand = python(tmp_path / "hand", plain)
    assert "was started from Python, and no command line can say which method" in refusal(
        capsys, str(by_hand)
    )
    early = Path(shutil.copytree(plain, tmp_path / "early"))
    shutil.rmtree(early / "checkpoints")
    assert "has neither a gap in its records nor a checkpoint to measure" in refusal(
        capsys, str(early)
    )
    assert "does not exist" in refusal(capsys, str(tmp_path / "nowhere"))
    assert refusal(capsys, str(asked), "--score", "beauty").endswith(
        "has no gap of the score 'beauty'; it has reward"
    )
    damaged = Path(shutil.copytree(plain, tmp_path / "damaged"))
    other = json.loads((damaged / "run.json").read_text()) | {
        "origin_recipe": "portraits_vgrpo",
        "arguments": [],
    }
    (damaged / "run.json").write_text(json.dumps(other))
    assert "does not fit the recipe 'portraits_vgrpo'" in refusal(
        capsys, str(damaged), *MEASURE, *FEW
    )
