"""Prompts that are longer than what reads them are counted and told."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from scoreward import cli
from scoreward.data.unread import unread
from scoreward.models.diffusers import load
from scoreward.models.diffusers.prompts import Prompts
from scoreward.records.reading import read_run
from tests.families import tiny

LONG = " ".join(["wide"] * 90)
FOUR = [f"{LONG} {animal}" for animal in ("cat", "dog", "owl", "fox")]


def letters(texts: Sequence[str]) -> list[list[int]]:
    return [[1, *map(ord, text), 2] for text in texts]


def test_what_no_reader_sees_is_counted() -> None:
    few, many = (letters, 5), (letters, 7)
    found = unread(["abc", "abcd", "abce", "abcdefg", "abcdefh"], [few])
    assert (found.of, found.cut, found.same) == (5, 4, 4)
    found = unread(["abc", "abcd", "abce", "abcdefg", "abcdefh"], [few, many])
    assert (found.cut, found.same, found.limit) == (2, 1, 7)
    assert unread(["abc", "abc"], [few]).sentence("x") == ""
    assert unread([], [few]).cut == unread(["abc"], []).cut == 0
    assert unread(["abcd", "abce"], [few]).sentence("the model") == (
        "2 of 2 prompts are longer than the 5 tokens that the model reads: the rest of them is not "
        "seen, and 1 of them then say the same as another."
    )


@pytest.mark.parametrize("name", ["sd15", "sdxl", "sd3"])
def test_a_model_says_what_it_does_not_read(name: str, saved: Callable[[str], Path]) -> None:
    model = load(saved(name), tiny.loading(name))
    assert isinstance(model.encode, Prompts)
    assert model.encode.unread(["a cat", "a dog"]) == ""
    said = model.encode.unread([*FOUR, "a cat"])
    assert "4 of 5 prompts are longer than" in said
    assert "3 of them then say the same as another" in said


@pytest.mark.slow
def test_a_run_and_its_report_say_it(
    saved: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.txt").write_text("\n".join([*FOUR, "a cat", "a dog"]))
    size = [w for k, v in tiny.size_of("sd15").items() for w in (f"--loading.{k}", str(v))]
    words = [
        *("ddpo", "--on", "sd15", "--model", str(saved("sd15")), *size, "--loading.rank", "2"),
        *(
            "--loading.dtype",
            "float32",
            "--reward",
            "contrast",
            "--prompts",
            str(tmp_path / "p.txt"),
        ),
        *("--geometry.prompts", "2", "--geometry.group", "2", "--geometry.minibatches", "1"),
        *("--rollout.steps", "2", "--measured.steps", "2", "--measured.prompts", "2"),
        *("--budget.rounds", "1", "--folder", str(tmp_path / "run")),
    ]
    assert cli.main(["train", *words]) == 0
    assert "4 of 6 prompts are longer than" in " ".join(capsys.readouterr().out.split())
    (sentence,) = read_run(tmp_path / "run").about.unread
    assert sentence in (tmp_path / "run" / "report.html").read_text()
