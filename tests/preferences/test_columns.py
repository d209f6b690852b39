"""What columns are is told by names or by the reader; what is not read is said, or refused."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from scoreward.data.preferences.columns import Reading, says
from scoreward.data.preferences.files import (
    kind_of,
    read,
    read_image_binary,
    read_image_pairs,
    read_text_binary,
    read_text_pairs,
)
from scoreward.data.preferences.records import ImageBinary, ImagePair, PreferenceError, TextPair
from scoreward.data.preferences.sorting import mark_of, once
from tests.preferences.conftest import Write, coded, picture
from tests.preferences.test_layouts import shades

ANSWERS = {"chosen": "The cat sat.", "rejected": "The dog ran."}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("context", True), ("source_text", True), ("model_input", True), ("userMessage", True),
        ("history", True), ("chosen", True), ("prompt_id", False), ("chosen_model", False),
        ("model_chosen", False), ("sourceDataset", False), ("score_w", False), ("id", False),
    ],
)  # fmt: skip
def test_the_last_word_of_a_name_says_whether_a_model_should_be_told(
    name: str, expected: bool
) -> None:
    assert says(name) is expected


@pytest.mark.parametrize(
    ("rows", "named", "likely"),
    [
        ([{"question": "Who?", "context": "Rome."}], "context", "context"),
        ([{"context": None}, {"context": "Rome."}], "context", "context"),
        ([{"messages": [{"role": "user", "content": "Who?"}]}], "messages", "messages"),
        ([{"system": "Be kind."}], "system", "system"),
        ([{"note": "x", "user_query": "Who?"}], "note, user_query", "user_query"),
    ],
)
def test_a_prompt_is_not_taken_from_answers_while_texts_stay_unread(
    rows: list[dict[str, Any]], named: str, likely: str, put: Write
) -> None:
    path = put("p.jsonl", [row | ANSWERS for row in rows])
    said = rf"has no column prompt, and texts that would not be read: {named}; .*prompt={likely}$"
    with pytest.raises(PreferenceError, match=said):
        read_text_pairs(path)


def test_texts_that_are_not_read_beside_a_prompt_are_told(put: Write) -> None:
    row = {"prompt": "Who?", "context": "Rome.", "model_name": "m", "pages": 3, **ANSWERS}
    path = put("p.jsonl", [row])
    told = read_text_pairs(path).read_of(path, Reading())
    assert told == {"columns_not_read": ["context"]}
    how = Reading(columns=("prompt=context",))
    with pytest.raises(PreferenceError, match="has a column 'prompt' already"):
        read_text_pairs(path, how=how)
    pairs = put(
        "i.parquet", [{"prompt": "a", "winner": coded(1), "loser": coded(2), "system": "b"}]
    )
    assert read_image_pairs(pairs).read_of(pairs, Reading()) == {"columns_not_read": ["system"]}


def test_a_column_that_only_later_rows_have_is_read(put: Write) -> None:
    rows = [{"question": "Who?", **ANSWERS}, {"question": "Why?", "system": "Be kind.", **ANSWERS}]
    first, second = read_text_pairs(put("p.jsonl", rows))
    assert first.prompt == "Who?"
    assert [m["content"] for m in second.prompt if isinstance(m, dict)] == ["Be kind.", "Why?"]


def test_a_system_message_comes_before_a_chat_that_both_answers_begin_with(put: Write) -> None:
    def chat(answer: str) -> list[dict[str, str]]:
        return [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": answer}]

    row = {"system": "Be kind.", "chosen": chat("a"), "rejected": chat("b")}
    (pair,) = read_text_pairs(put("p.jsonl", [row]))
    assert pair.prompt == [{"role": "system", "content": "Be kind."}, *chat("a")[:1]]
    with pytest.raises(PreferenceError, match="system is 5, which is not text"):
        read_text_pairs(put("q.jsonl", [{"prompt": "a", "system": 5, **ANSWERS}]))


def test_an_invisible_text_is_empty(put: Write) -> None:
    for more in ({"prompt": "\u200b"}, {"prompt": "a", "chosen": "\u2060 "}):
        with pytest.raises(PreferenceError, match="is empty"):
            read_text_pairs(put("p.jsonl", [{**ANSWERS, **more}]))


# Pictures where texts are expected, and the other way round

BASE64 = b64encode(coded(10)).decode()


@pytest.mark.parametrize(
    "cells",
    [
        ("a/10.png", "a/20.png"),
        (BASE64, b64encode(coded(20)).decode()),
        ([BASE64], [b64encode(coded(20)).decode()]),
    ],
)
def test_answers_that_are_paths_or_base64_are_pictures(cells: tuple, put: Write) -> None:
    (put("a/x.jsonl", [{}]).parent / "10.png").write_bytes(coded(10))
    (put("a/x.jsonl", [{}]).parent / "20.png").write_bytes(coded(20))
    scores = {"score_chosen": 0.75, "score_rejected": 0.5}
    first: dict[str, Any] = {"prompt": "a", "chosen": None, "rejected": None}
    rows = [first, {"prompt": "a", "chosen": cells[0], "rejected": cells[1]}]
    for more in ({}, scores):
        path = put("p.jsonl", [row | more for row in rows])
        assert kind_of(path) is ImagePair
        (pair,) = read_image_pairs(path, skip_bad=True)
        assert shades(pair) == (10, 20)
        assert pair.score_w == more.get("score_chosen")
        with pytest.raises(PreferenceError, match="holds ImagePair, not TextPair"):
            read_text_pairs(path)
    same = [rows[1] | {"score_chosen": 0.5, "score_rejected": 0.5}, rows[1] | scores]
    assert read_image_pairs(put("p.jsonl", same)).dropped.ties == 1


def test_the_columns_of_our_own_text_pairs_may_hold_pictures(put: Write) -> None:
    row = {"prompt": "a", "chosen": coded(1), "rejected": coded(2), "score_w": 2.0, "score_l": 1.0}
    path = put("p.parquet", [row | {"id": "7", "source": "people"}])
    (pair,) = read_image_pairs(path)
    assert (shades(pair), pair.score_w, pair.id, pair.source) == ((1, 2), 2.0, "7", "people")


def test_a_completion_that_is_a_picture_is_one(put: Write) -> None:
    rows = [{"prompt": "a", "completion": coded(n), "label": n == 1} for n in (1, 2)]
    path = put("p.parquet", rows)
    assert kind_of(path) is ImageBinary
    assert [one.desirable for one in read_image_binary(path)] == [True, False]
    with pytest.raises(PreferenceError, match="holds ImageBinary, not TextBinary"):
        read_text_binary(path)


def test_answers_that_name_a_file_in_a_sentence_are_texts(put: Write) -> None:
    row = {"prompt": "Which?", "chosen": "It is a.png", "rejected": "It is b.png"}
    assert kind_of(put("p.jsonl", [row])) is TextPair
    with pytest.raises(
        PreferenceError,
        match="has pictures for answers, which the layout trl implicit does not take",
    ):
        read(ImagePair, put("q.jsonl", [{"chosen": "a.png", "rejected": "b.png"}]))


# Where pictures are


def test_a_link_that_leads_outside_is_not_followed(put: Write, tmp_path: Path) -> None:
    outside, row = tmp_path / "out.png", {"prompt": "a", "winner": "in.png", "loser": "b.png"}
    picture(1).save(outside)
    path = put("data/p.jsonl", [row])
    picture(2).save(path.with_name("b.png"))
    path.with_name("in.png").symlink_to(outside)
    with pytest.raises(PreferenceError, match=r"winner names a picture outside of .*--pictures"):
        read_image_pairs(path)
    path.with_name("in.png").unlink()
    path.with_name("real.png").write_bytes(outside.read_bytes())
    path.with_name("in.png").symlink_to(path.with_name("real.png"))
    assert shades(read_image_pairs(path)[0]) == (1, 2)
    (tmp_path / "linked").symlink_to(path.parent)  # the folder itself may be one
    assert len(read_image_pairs(tmp_path / "linked" / "p.jsonl")) == 1


def test_the_links_of_a_hub_s_cache_are_followed(put: Write, tmp_path: Path) -> None:
    row = {"prompt": "a", "winner": "a.png", "loser": "b.png"}
    path = put("repo/snapshots/0f/p.jsonl", [row])
    (tmp_path / "repo" / "blobs").mkdir()
    for n, name in ((1, "a.png"), (2, "b.png")):
        picture(n).save(tmp_path / "repo" / "blobs" / f"{n}", "PNG")
        path.with_name(name).symlink_to(tmp_path / "repo" / "blobs" / f"{n}")
    assert shades(read_image_pairs(path)[0]) == (1, 2)


@pytest.mark.parametrize("value", ["x" * 400, "a\0b.png", "loop.png", "a" * 300 + "/b.png"])
def test_what_can_be_no_path_is_a_fault_of_its_row(value: str, put: Write) -> None:
    path = put("p.jsonl", [{"prompt": "a", "winner": value, "loser": "b.png"}])
    path.with_name("loop.png").symlink_to(path.with_name("loop.png"))
    with pytest.raises(PreferenceError, match=r"row 0 .* winner "):
        read_image_pairs(path)


# Folders


def test_files_of_other_layouts_are_not_mixed(put: Write, tmp_path: Path) -> None:
    put("all/a.parquet", [{"prompt": "a", "winner": coded(1), "loser": coded(2)}])
    put("all/b.parquet", [{"prompt": "a", "path1": coded(1), "path2": coded(2)}])
    with pytest.raises(PreferenceError, match=r"holds files of several layouts: .*a.parquet is"):
        read_image_pairs(tmp_path / "all")
    put("two/a.jsonl", [{"prompt": "a", **ANSWERS}])
    put("two/b.parquet", [{"prompt": "a", "chosen": coded(1), "rejected": coded(2)}])
    with pytest.raises(PreferenceError, match=r"b.parquet has the layout .* holds ImagePair"):
        read_text_pairs(tmp_path / "two")


def test_pictures_in_memory_are_told_apart_as_they_look() -> None:
    clear = [picture(1).convert("RGBA") for _ in range(2)]
    clear[0].putpixel((0, 0), (255, 0, 0, 0))
    clear[1].putpixel((0, 0), (0, 255, 0, 0))
    assert mark_of(clear[0]) == mark_of(clear[1]) != mark_of(picture(1))
    assert once([ImagePair("a", one, picture(2)) for one in clear]) == [0]
