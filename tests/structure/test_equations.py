"""The index from papers to lines is complete, and refuses what it should."""

import subprocess
import sys
from pathlib import Path

import pytest

from scoreward import equations
from scoreward.equations import Equation, Paper, Tag
from tests.structure.source import ROOT
from tools.equations_page import PAGE, page

TABLE = {"ddim": Paper("ddim", "t", "a", None, 2020, {"12": Equation("a step", "verified")})}
LINE = Tag("ddim", "12", "scoreward/core/kernel.py", 3)
TEST = Tag("ddim", "12", "tests/test_kernel.py", 5)


def test_every_tag_is_listed_and_every_listed_equation_has_a_line_and_a_test() -> None:
    problems = equations.check()
    assert not problems, "\n".join(problems)


def test_a_complete_index_has_no_problems() -> None:
    assert equations.check([LINE, TEST], TABLE) == []


def test_an_unknown_paper_is_refused_with_the_nearest_key() -> None:
    wrong = Tag("ddin", "12", "scoreward/core/kernel.py", 9)
    (problem,) = equations.check([LINE, TEST, wrong], TABLE)
    assert "scoreward/core/kernel.py:9" in problem
    assert "perhaps you meant 'ddim'" in problem


def test_an_equation_that_is_not_listed_is_refused() -> None:
    (problem,) = equations.check([LINE, TEST, Tag("ddim", "13", "scoreward/a.py", 1)], TABLE)
    assert "does not list equation (13) of ddim" in problem


def test_a_listed_equation_needs_a_line_and_a_test() -> None:
    assert equations.check([TEST], TABLE) == [
        "[ddim] (12) is listed in papers.toml, but no line has its tag"
    ]
    assert equations.check([LINE], TABLE) == [
        "[ddim] (12) is listed in papers.toml, but no test has its tag"
    ]


def test_tags_are_read_from_comments_and_docstrings_only(tmp_path: Path) -> None:
    source = '"""One.\n\n[ddim] (12) and [dpm-solver++] (Alg. 2)\n"""\n'
    source += 'x = "[ddim] (99)"  # [edm] (3)\n'
    (tmp_path / "a.py").write_text(source)
    found = [(tag.paper, tag.equation, tag.line) for tag in equations.index([tmp_path])]
    assert found == [("ddim", "12", 3), ("dpm-solver++", "Alg. 2", 3), ("edm", "3", 5)]


def test_an_unknown_provenance_is_refused() -> None:
    with pytest.raises(ValueError, match="use one of verified, second-hand, ours"):
        Equation("a step", "certain")


def test_the_printed_index_names_line_test_and_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    equations.print_index("ddim")
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == len(equations.papers()["ddim"].equations)
    assert all(row.startswith("ddim ") and "scoreward/" in row for row in rows)


def test_printing_an_unknown_paper_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"no paper 'dim' in papers\.toml; perhaps you meant 'ddim'"
    ):
        equations.print_index("dim")


def test_the_command_answers_without_torch() -> None:
    code = "import sys; from scoreward.cli import main; main(['equations', 'ddim'])"
    code += "; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_an_installed_package_without_tests_still_has_its_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(equations, "PACKAGE", tmp_path / "scoreward")
    assert equations.roots() == [tmp_path / "scoreward"]


def test_the_page_of_equations_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make pages`"
