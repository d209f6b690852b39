"""Text comes in by one door: one encoding, three ends of a line, values that say something."""

import csv
import gzip
import io
import json
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.parquet import write_table

from scoreward.curation.vision import question
from scoreward.data.captioned import CaptionsError, captioned
from scoreward.data.prompts import Instruction, Prompt, PromptsError, from_file, read, vars_of
from scoreward.data.texts import TABLES, TextError, blank, lines_of, table, text_of

ANIMALS = ("cat", "dog", "owl", "fox", "hen", "cow", "pig", "ant", "bee", "eel")
TEN = [f"a {word} by the sea" for word in ANIMALS]
ODD = ["one\u2028two", "next\u0085line", "form\x0cfeed", "é and 漢字 and 🦊"]  # no end of a line


def _csv(rows: Sequence[str], comma: str = ",") -> str:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=comma)
    writer.writerows([["prompt", "seed"], *([row, "1"] for row in rows)])
    return file.getvalue()


def _parquet(rows: Sequence[str]) -> bytes:
    file = io.BytesIO()
    write_table(pyarrow.table({"prompt": list(rows)}), file)
    return file.getvalue()


WRITTEN: dict[str, Callable[[Sequence[str]], str | bytes]] = {
    ".txt": "\n".join,
    ".jsonl": lambda rows: "\n".join(
        json.dumps({"prompt": row}, ensure_ascii=False) for row in rows
    ),
    ".json": lambda rows: json.dumps([{"prompt": row} for row in rows]),
    ".csv": _csv,
    ".tsv": lambda rows: _csv(rows, "\t"),
    ".parquet": _parquet,
}


def written(path: Path, content: str | bytes) -> Path:
    """A file, compressed if its name says so."""
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def test_every_suffix_has_a_case_here() -> None:
    assert WRITTEN.keys() == TABLES.keys()


@pytest.mark.parametrize("packed", ["", ".gz"])
@pytest.mark.parametrize("suffix", WRITTEN)
def test_a_suffix_says_how_rows_are_written(suffix: str, packed: str, tmp_path: Path) -> None:
    path = written(tmp_path / f"v1.2 prompts{suffix.upper()}{packed}", WRITTEN[suffix](TEN + ODD))
    if (suffix, packed) == (".parquet", ".gz"):
        with pytest.raises(
            PromptsError, match=r"is none of .txt, .jsonl, .json, .csv, .tsv, .parq"
        ):
            from_file(path)
    else:
        assert from_file(path) == TEN + ODD


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".json", ".csv", ".tsv"])
def test_no_editor_changes_the_prompts(suffix: str, end: str, mark: bytes, tmp_path: Path) -> None:
    """Ten prompts and what is held out of them, whoever saved the file."""
    plain = WRITTEN[suffix](TEN)
    assert isinstance(plain, str)
    text = end.join([*plain.replace("\r\n", "\n").split("\n"), "", " ", ""])
    path = written(tmp_path / f"p{suffix}", mark + text.encode())
    assert read(str(path), 0.3).held_out == read(str(path), 0.3).held_out != []
    assert from_file(path) == TEN


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")), min_size=1))
def test_a_line_ends_where_it_says(tmp_path_factory: pytest.TempPathFactory, lines: list) -> None:
    path = tmp_path_factory.mktemp("lines") / "a.txt"
    path.write_bytes("\r\n".join(lines).encode())
    assert lines_of(path) == [line.removeprefix("\ufeff") for line in lines_of_bytes(path)]


def lines_of_bytes(path: Path) -> list[str]:
    raw = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    return [line.decode() for line in raw.split(b"\r\n")]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a cat\ncaf\xe9\n", r"line 2 of .*p.txt is not UTF-8: it has the byte 0xe9,"),
        ("a cat".encode("utf-16"), "p.txt is UTF-16, expected UTF-8"),
        ("a cat".encode("utf-32"), "p.txt is UTF-32, expected UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00", "line 1 of .*p.txt is not UTF-8"),
    ],
)  # fmt: skip
def test_another_encoding_is_named_with_its_line(
    content: bytes, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(PromptsError, match=sentence):
        from_file(written(tmp_path / "p.txt", content))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("null", '"prompt" in line 2 of .*p.jsonl is null, expected text'),
        ('""', '"prompt" in line 2 of .*p.jsonl is empty, expected text'),
        ('"  \\u200b\\ufeff\\u00a0 "', "is empty, expected text"),
        ('["a", "b"]', r'is \["a", "b"\], expected text'),
        ("5", "is 5, expected text"),
        ("true", "is true, expected text"),
        ('{"a": 1}', r'is \{"a": 1\}, expected text'),
        ('"half \\ud83d"', "has half a character, a lone surrogate"),
    ],
)
def test_what_is_not_text_is_refused_with_file_and_line(
    value: str, said: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "p.jsonl", f'{{"prompt": "fine"}}\n{{"prompt": {value}}}\n')
    with pytest.raises(PromptsError, match=said):
        from_file(path)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("p.docx", "a", "p.docx is none of .txt, .jsonl, .json, .csv, .tsv, .parquet"),
        ("prompts", "a", "prompts is none of .txt"),
        ("p.jsonl", "a cat\n", "line 1 of .* is not a JSON object: 'a cat'"),
        ("p.jsonl", '["a"]\n', "line 1 of .* is not a JSON object"),
        ("p.jsonl", "[" * 100_000, "line 1 of .* is not a JSON object"),
        ("p.json", '["a"]', r'entry 0 of .* is "a", expected a JSON object'),
        ("p.jsonl", '{"text": "a"}\n', 'line 1 of .* has no "prompt"; it has text'),
        ("p.csv", "text\na\n", 'line 2 of .* has no "prompt"; it has text'),
        ("p.csv", "prompt\na,b\n", "line 2 of .* has 2 cells, and the first line names 1: prompt"),
        ("p.csv", "prompt,prompt\na,b\n", "should name the columns, each by another name"),
        ("p.csv", 'prompt\n"a\n', "line . of .* cannot be read"),
        ("p.tsv", 'prompt\tseed\n"a"b\t1\n', "line 2 of .* cannot be read"),
        ("p.parquet", "no", "p.parquet is not a Parquet file that can be read"),
        ("p.txt", "\n \n", "is empty; it should have one prompt a line"),
        ("p.json", "", "is empty; it should have one prompt a line"),
        ("p.csv", "prompt\n", "is empty; it should have one prompt a line"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_sentence(
    name: str, content: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(PromptsError, match=sentence):
        from_file(written(tmp_path / name, content))


def test_a_damaged_archive_and_a_folder_are_sentences(tmp_path: Path) -> None:
    whole = written(tmp_path / "p.txt.gz", "\n".join(TEN)).read_bytes()
    (tmp_path / "cut.txt.gz").write_bytes(whole[:-12])
    with pytest.raises(PromptsError, match=r"cut.txt.gz does not unpack"):
        from_file(tmp_path / "cut.txt.gz")
    (tmp_path / "plain.txt.gz").write_text("a cat")
    with pytest.raises(PromptsError, match=r"plain.txt.gz does not unpack"):
        from_file(tmp_path / "plain.txt.gz")
    with pytest.raises(TextError, match="is a folder, expected a file"):
        text_of(tmp_path)


def test_other_columns_stay_with_a_prompt(tmp_path: Path) -> None:
    rows = [{"prompt": "a cat", "count": 2, "image": "c.png"}, {"prompt": "a dog", "tag": None}]
    (tmp_path / "c.png").touch()
    path = written(tmp_path / "p.jsonl", "\n".join(map(json.dumps, rows)))
    cat, dog = from_file(path)
    assert isinstance(cat, Instruction)
    assert (cat, cat.image, cat.fields) == ("a cat", tmp_path / "c.png", {"count": 2})
    assert isinstance(dog, Prompt)
    assert (dog, dog.fields) == ("a dog", {"tag": None})
    for one in (cat, dog):
        again = pickle.loads(pickle.dumps(one))
        assert (type(again), again, vars_of(again)) == (type(one), one, vars_of(one))


def test_a_prompt_twice_with_other_columns_is_two(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "n": n} for n in (1, 2, 1)]
    path = written(tmp_path / "p.jsonl", "\n".join(map(json.dumps, rows)))
    assert [getattr(p, "fields", {})["n"] for p in from_file(path)] == [1, 2]
    both = read(str(path), 0.5)
    assert not both.held_out  # one text is on one side


def test_captions_come_in_by_the_same_door(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfa cat\r\n")
    assert captioned(tmp_path) == [(tmp_path / "a.png", "a cat")]
    (tmp_path / "a.txt").write_text("\n")
    with pytest.raises(CaptionsError, match=r"a.txt is empty, expected text"):
        captioned(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"caf\xe9")
    with pytest.raises(CaptionsError, match=r"line 1 of .*a.txt is not UTF-8"):
        captioned(tmp_path)
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,listed\n")
    assert captioned(tmp_path) == [(tmp_path / "a.png", "listed")]
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "text": null}')
    with pytest.raises(CaptionsError, match=r'"text" in line 1 of .*jsonl is null, expected text'):
        captioned(tmp_path)


def test_a_question_of_a_curator_comes_in_by_the_same_door(tmp_path: Path) -> None:
    path = written(tmp_path / "q.txt", b"\xef\xbb\xbfIs {prompt} there?")
    assert question(path, "critic.txt", ["{prompt}"]) == "Is {prompt} there?"
    with pytest.raises(ValueError, match=r"the question line 1 of .*q.txt is not UTF-8"):
        question(written(path, b"{prompt} \xe9"), "critic.txt", ["{prompt}"])


def test_what_cannot_be_seen_is_blank() -> None:
    assert blank(" \t\u200b\ufeff\u2060\u00ad\x00\u3000")
    assert not blank("\u200b!")


def test_rows_are_not_held(tmp_path: Path) -> None:
    path = written(tmp_path / "p.parquet", _parquet(TEN))
    assert next(table(path, "prompt")).place == f"row 0 of {path}"
