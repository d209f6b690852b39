"""One run lives through two kills, a line cut in half and a Ctrl-C; another is left in peace.

Real processes, really killed; at the end the two runs are the same to the last bit.
"""

import json
import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from scoreward.cli import main
from scoreward.training.folder import RunFolder
from tests.systems.launch import ROOT, command
from tests.training.toys import records

pytestmark = pytest.mark.slow

RECIPE = f"{ROOT / 'tests' / 'systems' / 'lives.py'}:run"


@dataclass
class Life:
    """What a process left behind when it ended."""

    code: int
    said: str
    status: str
    reason: str | None
    rounds: list[int]
    checkpoints: list[str]


@dataclass
class Lives:
    """All lives of the run, and the folders of it and of the run that was left in peace."""

    broken: Path
    whole: Path
    lives: list[Life] = field(default_factory=list)

    def live(self, words: list[str], start: int, end: int, by: int) -> None:
        """One process, which ends itself in round `end`."""
        signals = {"START_AT": str(start), "END_AT": str(end), "END_BY": str(int(by))}
        code, said = command(words, self.broken.parent, **signals)
        told = json.loads((self.broken / "run.json").read_text())
        rounds = [line["round"] for line in RunFolder(self.broken).records("round")]
        kept = self.broken / "checkpoints"
        checkpoints = sorted(p.name for p in kept.iterdir()) if kept.exists() else []
        life = Life(code, said, told["status"], told["reason"], rounds, checkpoints)
        self.lives.append(life)


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Lives:
    folder = tmp_path_factory.mktemp("lives")
    all_of = Lives(folder / "broken", folder / "whole")
    # a run that begins is tried once before its first round, one that is resumed is not
    all_of.live(["train", RECIPE, "--folder", "broken"], 0, 3, signal.SIGKILL)
    all_of.live(["resume", "broken"], 1, 8, signal.SIGKILL)
    with (all_of.broken / "metrics.jsonl").open("a") as stream:
        stream.write('{"kind": "round", "round": 8, "evaluati')
    all_of.live(["resume", "broken"], 6, 12, signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["resume", "broken"]) == 0
        assert main(["train", RECIPE, "--folder", "whole"]) == 0
    return all_of


def test_a_run_killed_before_its_first_checkpoint_has_nothing_but_its_metrics(
    lives: Lives,
) -> None:
    life = lives.lives[0]
    assert (life.code, life.status) == (-signal.SIGKILL, "running")
    assert (life.rounds, life.checkpoints) == ([1, 2], [])


def test_it_starts_again_and_is_killed_beyond_a_checkpoint(lives: Lives) -> None:
    life = lives.lives[1]
    assert (life.code, life.status) == (-signal.SIGKILL, "running")
    assert (life.rounds, life.checkpoints) == ([1, 2, 3, 4, 5, 6, 7], ["000005"])


def test_ctrl_c_finishes_the_round_saves_and_says_how_to_go_on(lives: Lives) -> None:
    life = lives.lives[2]
    assert (life.code, life.status) == (0, "stopped")
    assert life.reason == "interrupted by the user"
    assert life.rounds == list(range(1, 13))
    assert life.checkpoints == ["000010", "000012"]
    assert "stopped; go on with: scoreward resume broken" in life.said
    assert "Traceback" not in life.said


def test_the_resumed_run_has_the_metrics_of_the_unbroken_one_to_the_last_bit(
    lives: Lives,
) -> None:
    ours, theirs = records(lives.broken), records(lives.whole)
    assert [line["round"] for line in ours if line["kind"] == "round"] == list(range(1, 17))
    assert ours == theirs
    text = (lives.broken / "metrics.jsonl").read_text()
    assert all(json.loads(line) for line in text.splitlines())


@pytest.mark.parametrize("file", ["weights.safetensors", "optimizer.safetensors"])
def test_the_resumed_run_ends_with_the_same_bytes(lives: Lives, file: str) -> None:
    ours, theirs = (f / "checkpoints" / "000016" / file for f in (lives.broken, lives.whole))
    assert ours.read_bytes() == theirs.read_bytes()


def test_both_runs_are_finished_with_the_same_summary(lives: Lives) -> None:
    told = [json.loads((f / "run.json").read_text()) for f in (lives.broken, lives.whole)]
    assert [t["status"] for t in told] == ["finished", "finished"]
    assert [t["reason"] for t in told] == [None, None]
    ours, theirs = (
        json.loads((f / "summary.json").read_text()) for f in (lives.broken, lives.whole)
    )
    for name in ("before", "after", "evaluations"):
        assert ours[name] == theirs[name]
    assert ours["seconds"]["total"] > ours["seconds"]["rl"] > 0
