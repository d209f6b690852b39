"""Rows that cannot be used: one sentence with file and row, and the rest goes on."""

from pathlib import Path

import pytest

from scoreward.data.preferences.files import (
    Reading,
    read,
    read_image_groups,
    read_image_pairs,
    read_text_groups,
    read_text_pairs,
    stream,
)
from scoreward.data.preferences.records import ImagePair, PreferenceError, TextBinary, TextPair
from tests.preferences.conftest import Rows, Write, coded
from tests.preferences.test_layouts import chat, images, pick_a_pic

GO_ON = "--skip-bad (skip_bad=True) leaves such rows out and counts them"
OWN = {"prompt": "p", "winner": coded(1), "loser": coded(2), "score_w": 2.0, "score_l": 1.0}
TEXT = {"prompt": "p", "chosen": "a", "rejected": "b", "score_w": 2.0, "score_l": 1.0}
CHAT = {"chosen": chat("q", "a"), "rejected": chat("q", "b")}
BINARY = {"prompt": "p", "completion": "a", "label": True}
PICK = pick_a_pic(1, 1, 2)
CUT = coded(1)[:60]  # the header of a picture and a little more

# (kind, a good row, what is wrong with the bad one, the sentence)
FAULTS = {
    "no picture": (
        ImagePair, OWN, {"loser": b"GIF? no"},
        "the picture in loser is not a picture of a kind that can be read",
    ),
    "half a picture": (
        ImagePair, OWN, {"winner": CUT},
        "the picture in winner does not decode; its file is damaged or cut off (image file is "
        "truncated)",
    ),
    "empty picture": (ImagePair, OWN, {"winner": b""}, "there is no picture in winner"),
    "picture is null": (ImagePair, OWN, {"winner": None}, "winner is missing"),
    "same picture": (ImagePair, OWN, {"winner": coded(2)}, "winner and loser are the same picture"),
    "infinite score": (
        ImagePair, OWN, {"score_w": float("inf")}, "score_w is inf, which is not a finite number"
    ),
    "no number": (
        TextPair, TEXT, {"score_l": float("nan")}, "score_l is nan, which is not a finite number"
    ),
    "no prompt": (ImagePair, OWN, {"prompt": "  "}, "the prompt is empty"),
    "label": (
        ImagePair, PICK, {"label_0": 0.3}, "label_0 is 0.3; expected 1, 0, or 0.5 for a tie"
    ),
    "no label": (ImagePair, PICK, {"label_0": None}, "label_0 is missing"),
    "empty completion": (TextPair, TEXT, {"rejected": " \n"}, "rejected is empty"),
    "equal": (TextPair, TEXT, {"chosen": "b"}, "chosen and rejected are the same text"),
    "equal chats": (
        TextPair, CHAT, {"chosen": CHAT["rejected"]}, "chosen and rejected are the same messages"
    ),
    "two answers": (
        TextPair, CHAT, {"chosen": [*chat("q", "a"), *chat("q", "a")[1:]]},
        "chosen should end in one answer of the assistant, and ends in assistant, assistant",
    ),
    "no answer": (
        TextPair, CHAT, {"rejected": chat("q")},
        "rejected should end in one answer of the assistant, and ends in nothing",
    ),
    "empty unpaired": (TextBinary, BINARY, {"completion": ""}, "completion is empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_sentence_and_the_rest_is_usable(put: Write, name: str) -> None:
    kind, good, change, why = FAULTS[name]
    path = put("rows.parquet", [good, good | change, good, good | change])
    with pytest.raises(PreferenceError) as said:
        read(kind, path)
    assert str(said.value) == f"row 1 of {path}: {why}, and 1 more row has faults; {GO_ON}"
    left = read(kind, path, skip_bad=True)
    assert len(left) == 2
    assert [str(f) for f in left.dropped.bad] == [f"row {i} of {path}: {why}" for i in (1, 3)]
    assert left[1].prompt == left[0].prompt


@pytest.mark.parametrize("name", ["half a picture", "label", "equal", "empty unpaired"])
def test_a_stream_says_the_same_when_it_gets_there(put: Write, name: str) -> None:
    kind, good, change, why = FAULTS[name]
    path = put("rows.parquet", [good, good | change, good])
    passing = iter(stream(kind, path))
    next(passing)
    with pytest.raises(PreferenceError) as said:
        next(passing)
    assert str(said.value) == (
        f"row 1 of {path}: {why}, and rows after it were not looked at; {GO_ON}"
    )
    left = stream(kind, path, skip_bad=True)
    assert len(list(left)) == 2
    assert left.dropped == read(kind, path, skip_bad=True).dropped


def test_faults_are_counted_over_the_files_of_a_folder(put: Write) -> None:
    put("all/a.parquet", [TEXT, TEXT | {"chosen": ""}])
    put("all/b.parquet", [TEXT, TEXT, TEXT | {"chosen": "b"}, TEXT | {"chosen": "b"}])
    folder = put("all/c.jsonl", [TEXT]).parent
    with pytest.raises(
        PreferenceError, match=r"row 1 of .*a\.parquet: chosen is empty, and 2 more"
    ):
        read_text_pairs(folder)
    left = read_text_pairs(folder, skip_bad=True)
    assert len(left) == 4
    assert [(Path(f.file).name, f.row) for f in left.dropped.bad] == [
        ("a.parquet", 1), ("b.parquet", 2), ("b.parquet", 3)
    ]  # fmt: skip


def test_a_missing_column_names_the_file_and_what_it_has(put: Write) -> None:
    path = put("t.parquet", [{"prompt": "p", "chosen": "a"}])
    with pytest.raises(PreferenceError, match=r"t\.parquet has the columns prompt, chosen, which"):
        read_text_pairs(path, skip_bad=True)


def test_a_key_missing_from_one_line_is_a_fault_of_that_line(put: Write) -> None:
    path = put("t.jsonl", [TEXT, {"prompt": "p", "chosen": "a"}])
    with pytest.raises(PreferenceError, match=r"row 1 of .*t\.jsonl: rejected is missing; --skip"):
        read_text_pairs(path)


def test_a_line_that_is_not_json_is_a_fault_of_that_line(put: Write) -> None:
    path = put("t.jsonl", [TEXT, TEXT])
    path.write_text(path.read_text() + '{"prompt": "p", \n\n[1, 2]\n')
    left = read_text_pairs(path, skip_bad=True)
    assert len(left) == 2
    assert [f.why for f in left.dropped.bad] == [
        """it is not JSON: b'{"prompt": "p", \\n'""", "it is not a JSON object: b'[1, 2]\\n'",
    ]  # fmt: skip


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".json"])
def test_an_empty_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_bytes(b"")
    with pytest.raises(PreferenceError, match=f"t{suffix} is empty"):
        read_text_pairs(path)


def test_files_without_rows_or_of_no_known_format_are_refused(put: Write, tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(
        pyarrow.table({"prompt": pyarrow.array([], "string")}), tmp_path / "e.parquet"
    )
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "list.json").write_text('{"prompt": "p"}')
    (tmp_path / "half.json").write_text('[{"prompt": "p"')
    (tmp_path / "t.csv").write_text("prompt\n")
    (tmp_path / "t.txt").write_text("prompt\n")
    (tmp_path / "none").mkdir()
    for name, why in (
        ("e.parquet", "is empty: it has columns but no rows"),
        ("broken.parquet", "is not a Parquet file"),
        ("list.json", "list.json has the columns prompt, which fit no layout"),
        ("half.json", r"line 1 of .*half\.json is not a JSON object"),
        ("t.csv", r"t\.csv is empty"),
        ("t.txt", r"is not one of \.parquet, \.jsonl, \.json, \.csv, \.tsv, \.tar"),
        ("none", r"has no \.parquet, \.jsonl, \.json, \.csv, \.tsv, \.tar file in it"),
    ):
        with pytest.raises(PreferenceError, match=why):
            read_text_pairs(tmp_path / name)
    assert put("ok.jsonl", [TEXT]).exists()


def test_nothing_left_is_refused_even_when_faults_are_skipped(put: Write) -> None:
    path = put("t.parquet", [TEXT | {"chosen": ""}])
    with pytest.raises(PreferenceError) as said:
        read_text_pairs(path, skip_bad=True)
    assert str(said.value) == (
        f"no row of {path} can be used: 0 ties and 1 faulty row left out "
        f"(row 0 of {path}: chosen is empty)"
    )


def test_pictures_by_path_say_which_is_missing(put: Write, tmp_path: Path) -> None:
    names = images(tmp_path, 1)
    row = {"prompt": "p", "image_path": [*names, "gone.png"], "rank": [0, 1]}
    with pytest.raises(PreferenceError, match=r"image_path 1 names a picture that is not there, .*"
                       r"gone\.png; --pictures says where"):  # fmt: skip
        read_image_pairs(put("test.json", [row]))


def test_a_bad_picture_spoils_its_whole_group(put: Write, tmp_path: Path) -> None:
    """A group with one picture missing would give other pairs than it was ranked for."""
    images(tmp_path, 1, 2, 3)
    (tmp_path / "2.png").write_bytes(CUT)
    rows: Rows = [{"prompt": "p", "image_path": ["1.png", "2.png"], "rank": [0, 1]},
                  {"prompt": "p", "image_path": ["1.png", "3.png"], "rank": [1, 0]}]  # fmt: skip
    left = read_image_pairs(put("test.json", rows), skip_bad=True)
    assert (len(left), [f.row for f in left.dropped.bad]) == (1, [0])


def test_groups_need_a_number_for_each_member(put: Write) -> None:
    good = {"prompt": "p", "completions": ["a", "b"], "rewards": [1.0, 2.0]}
    rows: Rows = [
        good,
        good | {"rewards": [1.0]},
        {"prompt": "p", "completions": ["a"], "rewards": [1.0]},
    ]
    left = read_text_groups(put("g.jsonl", rows), skip_bad=True)
    assert [f.why for f in left.dropped.bad] == [
        "rewards has 1 numbers for 2 members",
        "a group needs at least two members, and this one has 1",
    ]
    ranked: Rows = [{"prompt": "p", "image_path": ["x"], "rank": 3}]
    with pytest.raises(PreferenceError, match="rank is 3, not a list of numbers"):
        read_image_groups(put("r.json", ranked), how=Reading(layout="hpd-v2 ranks"))
