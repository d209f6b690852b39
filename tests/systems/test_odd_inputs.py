"""Every command is fed what it cannot use: one sentence with the file's name, code 2, no trace.

What is odd is a table, and so is who reads it; every reader of a kind gets every odd thing of it.
"""

import gzip
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scoreward import cli
from tests.support.matrix import mostly_long

SMALL = ("--budget.rounds", "1", "--held-out.prompts", "2", "--geometry.prompts", "2")
Odd = dict[str, bytes | str | None]
"""A name in the folder, and what the file holds; None is a folder."""

PROMPTS: Odd = {
    "latin.txt": "café\n".encode("latin-1"),
    "wide.txt": "a cat\n".encode("utf-16"),
    "picture.txt": b"\x89PNG\r\n\x1a\n\x00\xff",
    "empty.txt": "",
    "blank.jsonl": "\n \n",
    "plain.jsonl": "a cat\n",
    "half.jsonl": '{"prompt": "a',
    "null.jsonl": '{"prompt": null}',
    "number.jsonl": '{"prompt": 5}',
    "list.json": '[{"prompt": ["a"]}]',
    "surrogate.jsonl": '{"prompt": "\\ud83d"}',
    "other.jsonl": '{"text": "a"}',
    "cells.csv": "prompt\na,b\n",
    "names.csv": "text\na\n",
    "open.csv": 'prompt\n"a\n',
    "table.parquet": "PAR1 no",
    "cut.txt.gz": gzip.compress(b"a cat\n" * 50)[:-9],
    "fake.txt.gz": "a cat",
    "words.docx": "a cat",
    "nothing": "a cat",
    "folder.txt": None,
    "picture.jsonl": '{"prompt": "a", "image": "gone.png"}',
    "[x].jsonl": "a [/x] cat",
}
PAIRS: Odd = {
    "latin.jsonl": '{"prompt": "é", "chosen": "a", "rejected": "b"}'.encode("latin-1"),
    "wide.jsonl": '{"prompt": "a"}'.encode("utf-16"),
    "empty.jsonl": "",
    "blank.jsonl": "\n\n",
    "plain.jsonl": "no\n",
    "other.jsonl": '{"question": "a"}',
    "same.jsonl": '{"prompt": "a", "chosen": "b", "rejected": "b"}',
    "null.jsonl": '{"prompt": null, "chosen": "b", "rejected": "c"}',
    "guess.jsonl": '{"context": "a", "chosen": "b", "rejected": "c"}',
    "list.json": "[1, 2]",
    "half.json": '[{"prompt": "p"',
    "names.csv": "a\nb\n",
    "table.parquet": "PAR1 no",
    "cut.jsonl.gz": gzip.compress(b'{"prompt": "a"}\n' * 50)[:-9],
    "no.tar": "no",
    "words.docx": "a",
    "folder": None,
    "[x].jsonl": "no",
}
CODE: Odd = {
    "syntax.py": "def score(:\n",
    "raises.py": "1 / 0\n",
    "imports.py": "import nothing_there\n",
    "empty.py": "",
    "number.py": "score = 3\n",
    "text.py": "score = 'a'\n",
    "words.txt": "hello",
    "binary.py": b"\x00\xff",
    "folder.py": None,
    "[x].py": "1 / 0\n",
}
RUNS: Odd = {
    "nothing": None,
    "file": "a",
    "list": '[1, 2]',
    "half": '{"recipe": ',
    "text": '"a"',
    "binary": b"\xff\xfe\x00",
    "types": '{"recipe": 5, "arguments": 7, "origin_recipe": "toy_vgrpo", "status": "running"}',
    "unknown": '{"recipe": "x", "arguments": [], "origin_recipe": "no_such", "status": "running"}',
    "[x]": '[1]',
}  # fmt: skip
WEIGHTS: Odd = {
    "empty.safetensors": "",
    "short.safetensors": b"\x08\x00\x00\x00\x00\x00\x00\x00{}",
    "text.safetensors": "hello",
    "folder.safetensors": None,
    "[x].safetensors": "a",
}
TOKENS: Odd = {"empty": "\n", "latin": b"caf\xe9", "folder": None}

READERS: dict[str, tuple[Odd, list[list[str]]]] = {
    "prompts": (
        PROMPTS,
        [
            ["train", "vgrpo", "--on", "portraits", *SMALL, "--prompts", "{}"],
            ["plan", "vgrpo", "--on", "portraits", "--prompts", "{}"],
        ],
    ),
    "pairs": (
        PAIRS,
        [
            ["pairs", "inspect", "{}"],
            ["pairs", "convert", "{}", "out.parquet"],
            ["pairs", "make", "{}", "out.parquet"],
            ["pairs", "split", "{}"],
            ["train", "diffusion_dpo", "--on", "portraits", "--pairs", "{}"],
            ["train", "dpo", "--on", "tiny_llama", "--pairs", "{}"],
            ["plan", "diffusion_dpo", "--on", "portraits", "--pairs", "{}"],
        ],
    ),
    "code": (
        CODE,
        [
            ["train", "vgrpo", "--on", "portraits", *SMALL, "--reward", "{}:score"],
            ["train", "{}:score"],
            ["plan", "{}:score"],
            ["serve-reward", "{}:score", "--port", "0"],
            ["curate", "{}:score"],
        ],
    ),
    "runs": (
        RUNS,
        [
            ["resume", "{}"],
            ["report", "{}"],
            ["gap", "{}"],
            ["diagnose", "{}"],
            ["export", "{}", "--to", "out"],
            ["compare", "{}", "{}"],
            ["evaluate", "--run", "{}"],
            ["sample", "a happy person", "--run", "{}"],
            ["train", "{}/run.json"],
        ],
    ),
    "weights": (
        WEIGHTS,
        [
            ["sample", "a happy person", "--weights", "{}"],
            ["evaluate", "--weights", "{}"],
            ["train", "vgrpo", "--on", "portraits", *SMALL, "--model.weights", "{}"],
            ["curate", "portraits", "--weights", "{}", "--pairs", "1"],
        ],
    ),
    "tokens": (TOKENS, [["serve-reward", "contrast", "--port", "0", "--token-file", "{}"]]),
}


TOLERANT = {("report", "types"), ("report", "unknown")}
"""What is a run to who reads: a report is written of whatever there is."""


def cases() -> Iterator[Any]:
    for kind, (odd, readers) in READERS.items():
        for words in readers:
            for name in odd:
                if (words[0], name) in TOLERANT:
                    continue
                told = " ".join(words[:2]).replace("{}", "").strip()
                yield pytest.param(kind, words, name, id=f"{told}: {name}")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCOREWARD_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def put(home: Path, kind: str, name: str, content: bytes | str | None) -> None:
    """An odd thing; of a run it is the run.json in a folder of that name."""
    path = home / name
    if content is None:
        path.mkdir()
        return
    if kind == "runs" and name != "file":
        path.mkdir()
        path = path / "run.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def tree(home: Path) -> dict[str, bytes]:
    files = (p for p in home.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return {str(p.relative_to(home)): p.read_bytes() for p in files}


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence of a command that is refused."""
    capsys.readouterr()
    try:
        code = cli.main(words)
    except SystemExit as left:  # a word that is no option
        code = left.code
    said = capsys.readouterr().err.strip()
    assert code == 2, said
    assert "Traceback" not in said
    if said.startswith("scoreward: "):
        assert len(said.splitlines()) == 1, said
    return said


@pytest.mark.parametrize(("kind", "words", "name"), list(cases()))
def test_what_is_odd_is_refused_in_a_sentence_that_names_it(
    kind: str, words: list[str], name: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(home, kind, name, READERS[kind][0][name])
    before = tree(home)
    said = refused([word.replace("{}", name) for word in words], capsys)
    assert name.removesuffix(".py") in said
    assert tree(home) == before


@pytest.mark.parametrize("kind", list(READERS))
def test_what_is_not_there_is_refused_too(
    kind: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in READERS[kind][1]:
        gone = {"prompts": "gone.txt", "pairs": "gone.jsonl", "code": "gone.py"}.get(kind, "gone")
        assert gone in refused([word.replace("{}", gone) for word in words], capsys)
    assert tree(home) == {}


def test_there_are_forty_odd_things_and_every_command_reads_some() -> None:
    assert sum(len(odd) for odd, _ in READERS.values()) >= 40
    reading = {words[0] for _, readers in READERS.values() for words in readers}
    without = {"demo", "methods", "tasks", "rewards", "pretrain", "stake", "fees", "equations"}
    assert reading | without == set(cli.COMMANDS)


TWO = "a\nb"
Given = Callable[[Path], list[str]]
WRONG: dict[str, tuple[Given, str]] = {
    "a weight too many": (
        lambda home: ["train", "vgrpo", "--reward", "contrast", "--weights", "1", "2"],
        "1 rewards need as many weights",
    ),
    "a folder that is a file": (
        lambda home: [*("train", "vgrpo", "--on", "toy", "--folder"), str(made(home / "taken"))],
        "taken",
    ),
    "a report into nowhere": (lambda home: ["report", str(home / "[/x]")], "[/x]"),
    "a picture into a file": (
        lambda home: [*("sample", "a happy person", "--count", "1", "--out"),
                      str(made(home / "taken") / "a.png")],
        "taken",
    ),
    "an empty prompt": (lambda home: ["sample", " "], "a prompt is empty"),
    "a method with a typo": (lambda home: ["train", "vgpo"], "the nearest are vgrpo"),
    "a task with a typo": (lambda home: ["train", "vgrpo", "--on", "portrait"], "portraits"),
    "a card of nothing": (lambda home: ["plan", "vgrpo", "--card", "0"], "--card takes"),
    "a reward with a typo": (
        lambda home: ["train", "vgrpo", "--reward", "contrst"], "the nearest are contrast",
    ),
    "a share of everything": (
        lambda home: [*("train", "vgrpo", "--share", "1", "--prompts"),
                      str(made(home / "p.txt", TWO))],
        "share",
    ),
}  # fmt: skip


def made(path: Path, text: str = "") -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("case", list(WRONG))
def test_a_wrong_word_is_refused_in_a_sentence(
    case: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, sentence = WRONG[case]
    assert sentence in refused(words(home), capsys)


def test_a_wrong_name_does_not_print_every_name(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["train", "vgrpoo"], ["plan", "xyz"], ["train", "vgrpo", "--on", "moon"]):
        said = refused(words, capsys)
        assert len(said) < 300
        assert re.search(r"scoreward (methods|tasks)", said)


@pytest.mark.parametrize("name", mostly_long(["[/x]", "[bold]", "a b", "ü", "-", "a'b"], ["[/x]"]))
def test_odd_names_of_folders_are_no_matter(
    name: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = f"./{name}/run"
    words = ["train", "vgrpo", "--on", "toy", "--budget.rounds", "1", "--folder", folder]
    assert cli.main(words) == 0
    assert Path(folder, "report.html").is_file()
    for again in (["report", folder], ["gap", folder], ["evaluate", "--run", folder]):
        assert cli.main(again) == 0
    assert name in capsys.readouterr().out


def test_a_cache_that_cannot_be_written_is_a_sentence(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SCOREWARD_CACHE", str(made(home / "taken") / "cache"))
    words = ["train", "diffusion_dpo", "--on", "portraits", "--making.prompts", "6"]
    words += ["--making.group", "3", "--making.held-out", "2", "--budget.rounds", "1"]
    said = refused([*words, "--geometry.prompts", "2"], capsys)
    assert "taken" in said
    assert "SCOREWARD_CACHE" in said
    assert os.listdir(home) == ["taken"]


@pytest.mark.long
def test_what_a_run_says_of_itself_may_be_anything(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A finished run whose run.json was edited: each entry of another type in turn."""
    words = ["train", "vgrpo", "--on", "toy", "--budget.rounds", "1", "--folder", "run"]
    assert cli.main(words) == 0
    path = home / "run" / "run.json"
    told = json.loads(path.read_text())
    for entry in told:
        for odd in (None, 7, "x", [1], {"a": 1}):
            path.write_text(json.dumps(told | {entry: odd}))
            for command in (["report", "run"], ["resume", "run"], ["evaluate", "--run", "run"]):
                capsys.readouterr()
                try:
                    code = cli.main(command)
                except SystemExit as left:
                    code = left.code
                assert code in (0, 2), (entry, odd, command)
