"""Files of a user's own are loaded as Python loads them; their faults are told with the line."""

import inspect
from pathlib import Path

import pytest

from scoreward.own import own


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def test_a_file_imports_its_own_neighbours(tmp_path: Path) -> None:
    """Also where another folder has a neighbour of the same name, now or later."""
    uses = "import helper\n\ndef f():\n    import late\n    return helper.x, late.x\n"
    one = write(tmp_path / "one", mine=uses, helper="x = 1", late="x = 10")
    two = write(tmp_path / "two", mine=uses, helper="x = 2", other="import helper\ny = helper")
    first = own(f"{one}/mine.py:f", "reward")
    assert own(f"{two}/mine.py:f", "reward").__globals__["helper"].x == 2
    assert first() == (1, 10)
    shared = own(f"{two}/other.py:y", "reward")
    assert shared is own(f"{two}/mine.py:f", "reward").__globals__["helper"]


def test_no_file_beside_it_hides_a_package(tmp_path: Path) -> None:
    text = "import numpy\nimport string\nf = numpy.zeros, string.digits\n"
    folder = write(tmp_path / "a", mine=text, numpy="zeros = 1", string="digits = 1")
    zeros, digits = own(f"{folder}/mine.py:f", "reward")
    assert callable(zeros)
    assert digits == "0123456789"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1\ndef f(:\n", "mine.py does not run: SyntaxError: .* \\(line 2\\)"),
        ("\n\nimport nothing_there\n", "ModuleNotFoundError: No module .* \\(line 3\\)"),
        ("def g():\n    raise KeyError('a')\ng()\n", "KeyError: 'a' \\(line [23]\\)"),
        ("\x00", "does not run: "),
    ],
)  # fmt: skip
def test_a_file_that_does_not_run_is_a_sentence(text: str, said: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "a", mine=text)
    with pytest.raises(ValueError, match=said):
        own(f"{folder}/mine.py:f", "reward")


def test_types_of_the_file_are_found_as_in_any_module(tmp_path: Path) -> None:
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
        "@dataclass(frozen=True)\nclass R:\n    scale: float = 2.0\n\n"
        "    def __call__(self, media, prompts):\n        return media.flatten(1).mean(1)\n\n"
        "f = R()\n"
    )
    folder = write(tmp_path / "a", mine=text)
    made = own(f"{folder}/mine.py:f", "reward")
    assert inspect.get_annotations(type(made), eval_str=True) == {"scale": float}
