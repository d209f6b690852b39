"""A run knows what it was made of, and is used again as it was: files, folder, settings."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scoreward import cli
from scoreward.made_of import SAMPLED, changes, content_of, note, noting
from scoreward.records.reading import read_run
from scoreward.training.folder import RunFolder
from tests.families import tiny, upstream
from tests.families.conftest import saved as saved

REWARD = "def score(media, prompts):\n    return media.flatten(1).mean(1)\n"


@pytest.fixture
def made(saved: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stopped run of two rounds on a tiny SD 1.5, started in a folder with relative paths."""
    monkeypatch.setenv("SCOREWARD_CACHE", str(tmp_path / "cache"))
    home = tmp_path / "home"
    home.mkdir()
    (home / "prompts.txt").write_text("\n".join([*upstream.PROMPTS, "a green dog", "a cup"]))
    (home / "mine.py").write_text(REWARD)
    (home / "model").symlink_to(saved("sd15"))
    monkeypatch.chdir(home)
    size = [w for k, v in tiny.size_of("sd15").items() for w in (f"--loading.{k}", str(v))]
    words = [
        *("ddpo", "--on", "sd15", "--model", "model", *size, "--loading.rank", "2"),
        *("--loading.dtype", "float32", "--reward", "mine.py:score", "--prompts", "prompts.txt"),
        *("--geometry.prompts", "2", "--geometry.group", "2", "--geometry.minibatches", "1"),
        *("--rollout.steps", "4", "--measured.steps", "3", "--measured.prompts", "2"),
        *("--share", "0.5"),
        *("--measured.every", "1", "--guidance", "3.0", "--budget.rounds", "1", "--folder", "run"),
    ]
    assert cli.main(["train", *words]) == 0
    about = json.loads((home / "run" / "run.json").read_text())
    at = about["arguments"].index("--budget.rounds") + 1
    about["arguments"][at], about["status"] = "2", "stopped"
    (home / "run" / "run.json").write_text(json.dumps(about))
    return home / "run"


def said(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The refusal of a command: one sentence."""
    capsys.readouterr()
    assert cli.main(list(words)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.slow
def test_a_run_goes_on_as_it_was_made_or_says_what_changed(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    noted = json.loads((made / "run.json").read_text())["made_of"]
    assert {Path(p).name for p in noted} >= {"prompts.txt", "mine.py"}
    for name, text in (("prompts.txt", "another\n"), ("mine.py", "# slower\n")):
        file = made.parent / name
        before = file.read_text()
        file.write_text(before + text)
        sentence = said(capsys, "resume", "run")
        assert f"run was started with other files: {file} has changed" in sentence
        assert "resume run --changed" in sentence
        file.write_text(before)
    rounds = len(read_run(made).rounds)
    elsewhere = made.parent.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert cli.main(["resume", os.path.relpath(made)]) == 0
    assert len(read_run(made).rounds) == rounds + 1
    assert not list(elsewhere.iterdir())


@pytest.mark.slow
def test_what_has_changed_is_accepted_when_told_and_recorded(made: Path) -> None:
    file = made.parent / "prompts.txt"
    file.write_text(file.read_text() + "\nanother")
    assert cli.main(["resume", "run", "--changed"]) == 0
    about = json.loads((made / "run.json").read_text())
    assert about["changed"] == [f"{file} has changed"]
    assert about["made_of"][str(file)] == content_of(file)


@pytest.mark.slow
def test_weights_and_model_are_enough_to_export_and_to_draw(
    made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The prompts and the reward are gone, the model lies elsewhere, and so does the user."""
    for name in ("prompts.txt", "mine.py"):
        (made.parent / name).unlink()
    elsewhere = made.parent.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert cli.main(["sample", "a red fox", "--run", str(made), "--count", "1"]) == 0
    assert (elsewhere / "samples.png").exists()
    assert cli.main(["export", str(made), "--to", "lora"]) == 0
    moved = made.parent.parent / "moved"
    (made.parent / "model").rename(moved)
    assert "model" in said(capsys, "export", str(made), "--to", "other")
    assert cli.main(["export", str(made), "--to", "other", "--model", str(moved)]) == 0
    one, other = (elsewhere / n / "pytorch_lora_weights.safetensors" for n in ("lora", "other"))
    assert one.read_bytes() == other.read_bytes()
    assert "prompts.txt" in said(capsys, "evaluate", "--run", str(made))


@pytest.mark.slow
def test_a_run_is_evaluated_as_it_measured_itself(
    made: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = RunFolder(made).records("evaluation")[-1]

    def measured(*words: str) -> tuple[list[float], str]:
        capsys.readouterr()
        assert cli.main(["evaluate", "--run", "run", *words]) == 0
        out = capsys.readouterr().out
        (row,) = [line for line in out.splitlines() if line.startswith("│ reward ")]
        return [float(cell) for cell in row.split("│")[2:4]], out

    numbers, out = measured()
    assert numbers == pytest.approx([last[s]["reward"] for s in ("ode", "sde")], abs=6e-5)
    assert "2 prompts, guidance 3, on cpu" in out
    others, out = measured("--guidance", "1", "--measured.prompts", "1")
    assert "1 prompts, on cpu" in out
    assert others != pytest.approx(numbers, abs=6e-5)


def test_what_is_read_is_noted_by_whoever_collects(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one")
    note(file)  # nobody collects
    with noting() as outer:
        with noting() as inner:
            note(file)
        file.write_text("two")
        note(tmp_path)
    assert inner == {str(file): outer[str(file)]}
    assert outer.keys() == {str(file), str(tmp_path)}


def test_content_is_told_apart_to_the_byte(tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    file.write_bytes(bytes(6 * SAMPLED))
    before = content_of(file)
    middle = bytearray(6 * SAMPLED)
    middle[2 * SAMPLED] = 1  # where weights are not looked at
    file.write_bytes(middle)
    assert content_of(file) != before
    weights = file.rename(tmp_path / "a.safetensors")
    other = content_of(weights)
    middle[0] = 1
    weights.write_bytes(middle)
    assert content_of(weights) != other
    folder = content_of(tmp_path)
    weights.rename(tmp_path / "b.safetensors")
    assert content_of(tmp_path) != folder


def test_what_lies_elsewhere_with_the_same_content_has_not_changed() -> None:
    assert changes({"/a": "1", "/b": "2"}, {"/c": "1", "/b": "2"}) == []
    assert changes({"/a": "1"}, {"/a": "2"}) == ["/a has changed"]
    assert changes({"/a": "1"}, {}) == ["/a was read then and is not now"]
    assert changes({}, {"/a": "1"}) == ["/a is read now and was not then"]
