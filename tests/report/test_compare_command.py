"""The command `compare`: what it writes, what its options do, what it refuses."""

from pathlib import Path

import pytest

from scoreward.cli import main
from tests.report.lines import line, write


@pytest.fixture
def curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two methods, two seeds each, in an otherwise empty working folder."""
    monkeypatch.chdir(tmp_path)
    lines = [
        line(name, [0.0, 0.5 * rate, rate], seed, sde={"reward": [0.0, 0.1, 0.2 + rate]})
        for name, rate in (("fast", 1.0), ("slow", 0.5))
        for seed in (0, 1)
    ]
    return write(tmp_path / "curves.jsonl", *lines)


def test_it_writes_one_page_and_says_where(
    curves: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(curves)]) == 0
    assert capsys.readouterr().out == "comparison: compare.html\n"
    assert sorted(p.name for p in curves.parent.iterdir()) == ["compare.html", "curves.jsonl"]
    assert "toy: 2 methods compared" in Path("compare.html").read_text()


def test_levels_and_the_method_compared_against_can_be_given(curves: Path) -> None:
    """0.25 is reached after 50 and after 100 evaluations."""
    words = ["--out", "page.html", "--level", "0.25", "0.4", "--against", "slow"]
    assert main(["compare", str(curves), *words]) == 0
    text = Path("page.html").read_text()
    assert text.count("<small>asked for</small>") == 4
    assert "0.50 × [0.50, 0.50]" in text
    assert "2.00 ×" not in text


def test_the_other_sampler_can_be_compared(curves: Path) -> None:
    assert main(["compare", str(curves), "--sampler", "sde"]) == 0
    text = Path("compare.html").read_text()
    assert "SDE sampling" in text
    assert "the highest reward is that of fast, 1.200" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["absent"], "but absent does not exist"),
        (["curves.jsonl", "--against", "best"], "methods, fast, slow, got 'best'"),
        (["curves.jsonl", "--out", "no/page.html"], "`out` must be a file in a folder that exists"),
        (["."], "`runs` must be a run folder, but . has no run.json"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(
    curves: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert main(["compare", *words]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert sentence in said
    assert [p.name for p in curves.parent.iterdir()] == ["curves.jsonl"]


def test_it_needs_at_least_one_run(curves: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare"]) == 2
    assert capsys.readouterr().err == (
        "scoreward: nothing to compare; give run folders or curves.jsonl files\n"
    )
