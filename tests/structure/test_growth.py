"""The package grows without a name that means two things, a circle, or the same lines again."""

from pathlib import Path

import pytest

from tools.counts import called_once, circles, classes_twice, lines, same_shape, untyped

LINES = 49_500
"""Lines of the package.  What is new finds its room by what is taken out; docs/decisions.md says why
it was raised."""
SAME_SHAPE = 72
"""Pairs of runs of six lines or more of one shape.  This number may only fall."""
CALLED_ONCE = 280
"""Private functions that their module calls once.  A thought stays in one place."""
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


def test_the_package_is_no_larger_than_it_was() -> None:
    assert lines() <= LINES


def test_private_functions_called_once_become_no_more() -> None:
    assert called_once() <= CALLED_ONCE


def test_a_private_function_called_once_is_counted_in_its_module(package: Path) -> None:
    write(
        package,
        one="def _f(): ...\ndef _g(): ...\ndef h():\n    _f()\n    _g()\n    _g()\n",
        two="def _f(): ...\ndef h():\n    _f()\n    _f()\n",
    )
    assert called_once(package) == 1


def test_types_do_not_end_where_a_round_crosses_from_part_to_part() -> None:
    assert untyped() == []


def test_any_cast_and_ignore_are_found_on_the_seams_alone(package: Path) -> None:
    (package / "scoreward" / "objectives").mkdir()
    text = '"""Any text, cast(off)."""\nx: Any = cast(int, f())  # pyright: ignore\n'
    (package / "scoreward" / "objectives" / "one.py").write_text(text, encoding="utf-8")
    write(package, beside=text)
    found = ["2 Any", "2 cast", "2 pyright: ignore"]
    assert untyped(package) == [f"objectives/one.py:{place}" for place in found]


def test_lines_of_one_shape_become_no_more() -> None:
    assert same_shape() <= SAME_SHAPE


def test_six_lines_of_one_shape_are_noticed_whatever_their_names(package: Path) -> None:
    write(package, one=SIX, other=SIX.replace("a", "longer").replace("3", "33"))
    assert same_shape(package) == 1


def test_five_lines_of_one_shape_are_none(package: Path) -> None:
    five = "".join(SIX.splitlines(keepends=True)[1:])
    write(package, one=five, other=five + "x = {1: 2}\n")
    assert same_shape(package) == 0
