"""`scoreward diagnose` and the report's section."""

import json
import re
from pathlib import Path

import pytest

from scoreward import verdict
from scoreward.cli import main
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.training.geometry import Geometry
from tests.training.toys import finish, toy

SMALL = ["--budget.rounds", "8", "--every", "8", "--optimizer.lr", "0.1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("diagnosed") / "run"
    assert main(["train", "toy_vgrpo", *SMALL, "--folder", str(folder)]) == 0
    return folder


def test_it_reads_repeats_and_answers(run: Path, capsys: pytest.CaptureFixture) -> None:
    capsys.readouterr()
    before = (run / "metrics.jsonl").read_text()
    assert main(["diagnose", str(run), "--rounds", "4"]) == 0
    out = capsys.readouterr().out
    assert "4 rounds at 100 times the learning rate" in out
    assert "(fine)" in out
    told = json.loads((run / "diagnosis.json").read_text())
    assert [s["factor"] for s in told["probe"]["ladder"]] == [0.01, 0.1, 1.0, 10.0, 100.0]
    assert told["causes"][0]["kind"] == "fine"
    assert (run / "metrics.jsonl").read_text() == before


def test_without_the_probe_it_reads_alone(run: Path, capsys: pytest.CaptureFixture) -> None:
    capsys.readouterr()
    assert main(["diagnose", str(run), "--no-probe"]) == 0
    assert "rounds at" not in capsys.readouterr().out
    assert json.loads((run / "diagnosis.json").read_text())["probe"] == {}


def test_the_report_says_why(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert 'id="why"' in page
    assert "no check complains" in page


def test_a_run_from_python_can_be_read_but_not_repeated(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    finish(toy(tmp_path / "mine", rounds=5))
    assert main(["diagnose", str(tmp_path / "mine")]) == 2
    assert "add --no-probe" in capsys.readouterr().err
    assert main(["diagnose", str(tmp_path / "mine"), "--no-probe"]) == 0


def test_a_folder_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["diagnose", str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err


def test_every_metric_a_rule_reads_is_one_that_runs_write(tmp_path: Path) -> None:
    text = "".join(p.read_text() for p in Path(str(verdict.__file__)).parent.glob("*.py"))
    wanted = set(re.findall(r'e\.values\("([^"]+)"\)', text))
    geometry = Geometry(prompts=4, group=4, minibatches=2, micro_batch=4)
    run = toy(tmp_path / "mine", geometry=geometry, objective=VGRPO(clip=0.1))
    written = {name for moment in finish(run) for name in moment.metrics}
    assert len(wanted) > 8
    assert wanted - written == {"weights/disagreement"}  # of several processes only
