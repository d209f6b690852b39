"""`scoreward curate` from the command line, and its page."""

import json
from pathlib import Path

import pytest

from scoreward.cli import main
from scoreward.report.curation import write_curation

DOUBLES = str(Path(__file__).with_name("doubles.py"))


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, however it was wrapped."""
    return " ".join(capsys.readouterr().out.split())


def curate(folder: Path, *words: str) -> int:
    return main(["curate", f"{DOUBLES}:pipeline", "--folder", str(folder), *words])


def test_a_pipeline_of_ones_own_ends_in_pairs_and_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert curate(tmp_path, "--pairs", "6", "--success", "1.0") == 0
    assert "the winner is better in 100.0%" in said(capsys)
    page = (tmp_path / "curate.html").read_text()
    assert "make the square red" in page
    assert "finds 100.0% of the winners better" in page
    assert "nothing to fix" in page
    assert page.count("data:image/png") > 12
    assert (tmp_path / "pairs.parquet").exists()
    assert json.loads((tmp_path / "summary.json").read_text())["pairs"] == 6


def test_the_same_command_again_goes_on_or_says_that_it_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    curate(tmp_path, "--pairs", "6")
    page = (tmp_path / "curate.html").read_bytes()
    capsys.readouterr()
    assert curate(tmp_path, "--pairs", "6") == 0
    assert "finished already" in said(capsys)
    assert (tmp_path / "curate.html").read_bytes() == page
    assert curate(tmp_path, "--pairs", "12") == 0
    assert "going on in" in said(capsys)
    assert curate(tmp_path, "--pairs", "1000") == 0
    assert "no prompts are left" in said(capsys)
    assert curate(tmp_path, "--pairs", "1000") == 0
    assert "no prompts are left" in said(capsys)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "which pipeline?"),
        (["potraits"], "unknown pipeline 'potraits'"),
        ([f"{DOUBLES}:nothing"], "has no function 'nothing' that could be a pipeline"),
        ([f"{DOUBLES}:untyped"], "setting 'success' of the pipeline has no type"),
        ([f"{DOUBLES}:prompts"], "it must return a scoreward.curation.stages.Pipeline"),
        ([f"{DOUBLES}:pipeline", "--pairs", "0"], "`pairs` must be at least 1"),
    ],
)
def test_wrong_words_are_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = ["--folder", str(tmp_path / "x")] if words else []
    assert main(["curate", *words, *folder]) == 2
    assert sentence in capsys.readouterr().err


def test_no_pairs_at_all_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert curate(tmp_path, "--success", "0.0") == 0
    assert "only 0 of 500 pairs" in said(capsys)
    assert "No pair was kept" in (tmp_path / "curate.html").read_text()
    assert not (tmp_path / "pairs.parquet").exists()


def test_a_folder_without_a_curation_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no finished curation"):
        write_curation(tmp_path)
