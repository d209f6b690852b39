"""The package grows without a name that means two things, a circle, or the same lines again."""

from pathlib import Path

import pytest

from tools.counts import circles, classes_twice, same_shape

SAME_SHAPE = 91
"""Pairs of runs of six lines or more of one shape.  This number may only fall."""
SIX = "\n".join(f"{name} = {name}({i}, '{name}')" for i, name in enumerate("abcdef")) + "\n"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """An empty package; what is counted is read once, so every test has its own."""
    (tmp_path / "scoreward").mkdir()
    return tmp_path


def write(root: Path, **modules: str) -> None:
    for name, text in modules.items():
        (root / "scoreward" / f"{name}.py").write_text(text, encoding="utf-8")


def test_no_public_class_has_the_name_of_another() -> None:
    assert classes_twice() == []


def test_a_class_name_of_two_modules_is_noticed(package: Path) -> None:
    write(
        package,
        one="class Kernel: ...\nclass _Part: ...\nclass Mine: ...\n",
        other="class Kernel: ...\nclass _Part: ...\ndef f():\n    class Mine: ...\n",
    )
    assert classes_twice(package) == ["Kernel"]


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circles() == []


def test_a_circle_of_imports_is_noticed(package: Path) -> None:
    write(
        package,
        one="from scoreward.two import x\n",
        two="from scoreward.three import y\n",
        three="from scoreward.one import z\n",
        beside="from scoreward.one import z\n\ndef f():\n    from scoreward.beside import f\n",
    )
    assert circles(package) == ["one", "three", "two"]


def test_lines_of_one_shape_become_no_more() -> None:
    assert same_shape() <= SAME_SHAPE


def test_six_lines_of_one_shape_are_noticed_whatever_their_names(package: Path) -> None:
    write(package, one=SIX, other=SIX.replace("a", "longer").replace("3", "33"))
    assert same_shape(package) == 1


def test_five_lines_of_one_shape_are_none(package: Path) -> None:
    five = "".join(SIX.splitlines(keepends=True)[1:])
    write(package, one=five, other=five + "x = {1: 2}\n")
    assert same_shape(package) == 0
