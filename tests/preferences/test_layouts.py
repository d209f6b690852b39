"""Public layouts, each from a small file written in exactly that layout."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL.Image import Image

from scoreward.data.preferences.columns import KNOWN, recognise
from scoreward.data.preferences.files import (
    Reading,
    read_image_groups,
    read_image_pairs,
    read_text_binary,
    read_text_pairs,
    stream,
)
from scoreward.data.preferences.layouts_texts import _cut
from scoreward.data.preferences.records import ImagePair, PreferenceError
from tests.preferences.conftest import Rows, Write, coded, picture


def shade(image: Image) -> int:
    """The number a picture of conftest was made from."""
    pixel = image.convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    return int(pixel[0])


def shades(pair: ImagePair) -> tuple[int, int]:
    return shade(pair.winner), shade(pair.loser)


def pick_a_pic(label: float, a: int, b: int) -> dict:
    """A row as in Pick-a-Pic v2, with the columns that nobody needs here."""
    return {
        "are_different": True, "best_image_uid": "", "caption": "a cat", "created_at": None,
        "has_label": True, "image_0_uid": f"uid{a}", "image_0_url": "", "image_1_uid": f"uid{b}",
        "image_1_url": "", "jpg_0": coded(a), "jpg_1": coded(b), "label_0": label,
        "label_1": 1 - label, "model_0": "m", "model_1": "m", "ranking_id": a, "user_id": 3,
        "num_example_per_prompt": 1, "__index_level_0__": 0,
    }  # fmt: skip


def test_pick_a_pic_puts_the_winner_first_and_counts_ties(put: Write) -> None:
    rows = [pick_a_pic(1, 10, 20), pick_a_pic(0, 30, 40), pick_a_pic(0.5, 50, 60)]
    path = put("pick.parquet", rows)
    pairs = read_image_pairs(path)
    assert [shades(p) for p in pairs] == [(10, 20), (40, 30)]
    assert (pairs[0].prompt, pairs[0].id, pairs[0].source) == ("a cat", "10", "people")
    assert pairs.dropped.ties == 1
    passing = stream(ImagePair, path)
    assert [shades(p) for p in passing] == [(10, 20), (40, 30)]
    assert passing.dropped == pairs.dropped


def test_pick_a_pic_reads_jpegs(put: Write) -> None:
    row = pick_a_pic(1, 1, 2) | {"jpg_0": coded(1, "JPEG"), "jpg_1": coded(2, "WEBP")}
    (pair,) = read_image_pairs(put("pick.parquet", [row]))
    assert [abs(s - n) < 20 for s, n in zip(shades(pair), (1, 2))] == [True, True]


def images(folder: Path, *numbers: int) -> list[str]:
    """Save pictures under their numbers and return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    for n in numbers:
        picture(n).save(folder / f"{n}.png")
    return [f"{n}.png" for n in numbers]


@pytest.mark.parametrize("column", ["file_path", "image_path"])
def test_hpd_choices_are_pairs(put: Write, tmp_path: Path, column: str) -> None:
    names = images(tmp_path / "train", 1, 2)
    rows: Rows = [
        {"human_preference": [0, 1], "prompt": "p", column: names, "user_hash": "x"},
        {"human_preference": [1, 0], "prompt": "q", column: names, "user_hash": "x"},
        {"human_preference": [1, 1], "prompt": "q", column: names, "user_hash": "x"},
    ]
    pairs = read_image_pairs(put("train.json", rows), how=Reading(pictures=tmp_path / "train"))
    assert [(p.prompt, *shades(p)) for p in pairs] == [("p", 2, 1), ("q", 1, 2)]
    assert pairs.dropped.ties == 1


def test_hpd_ranks_are_all_ordered_pairs_or_a_group(put: Write, tmp_path: Path) -> None:
    """Ranks are averaged over people, so that two may be equal; 0 is the best."""
    names = images(tmp_path, 1, 2, 3)
    rows: Rows = [{
        "prompt": "p", "image_path": names, "rank": [2, 0, 2], "raw_annotations": [],
    }]  # fmt: skip
    path = put("test.json", rows)
    pairs = read_image_pairs(path)
    assert sorted(shades(p) for p in pairs) == [(2, 1), (2, 3)]
    assert pairs.dropped.ties == 1
    (group,) = read_image_groups(path)
    assert group.scores == {"people": [-2.0, 0.0, -2.0]}
    level = read_image_pairs(put("level.json", [rows[0] | {"rank": [0, 0, 0]}, rows[0]]))
    assert (len(level), level.dropped.ties) == (2, 4)


def reward_db(ids: list[str], numbers: list[int], ranks: list[int]) -> Rows:
    """One picture a row, as in the metadata of ImageRewardDB."""
    return [
        {
            "image_path": f"{n}.png", "prompt_id": i, "prompt": f"prompt of {i}",
            "classification": "People", "image_amount_in_total": 3, "rank": r,
            "overall_rating": 4, "image_text_alignment_rating": 4, "fidelity_rating": 5,
        }
        for i, n, r in zip(ids, numbers, ranks)
    ]  # fmt: skip


def test_image_reward_db_gathers_the_rows_of_a_prompt(put: Write, tmp_path: Path) -> None:
    images(tmp_path, *range(1, 6))
    rows = reward_db(["a", "a", "a", "b", "b"], [1, 2, 3, 4, 5], [3, 1, 2, 1, 1])
    path = put("metadata-train.parquet", rows)
    pairs = read_image_pairs(path)
    assert sorted(shades(p) for p in pairs) == [(2, 1), (2, 3), (3, 1)]
    assert {(p.prompt, p.id) for p in pairs} == {("prompt of a", "a")}
    assert pairs.dropped.ties == 1
    assert [shades(p) for p in stream(ImagePair, path)] == [shades(p) for p in pairs]
    groups = read_image_groups(path)
    assert [g.scores["people"] for g in groups] == [[-3.0, -1.0, -2.0], [-1.0, -1.0]]
    assert groups.where(1)[1] == 3


def test_image_reward_db_groups_and_pairs(put: Write, tmp_path: Path) -> None:
    row = {
        "prompt_id": "a", "prompt": "p", "classification": "x", "image_amount_in_total": 2,
        "rank": [2, 1], "overall_rating": [1, 2], "images": [{"bytes": coded(n)} for n in (1, 2)],
    }  # fmt: skip
    (pair,) = read_image_pairs(put("group.parquet", [row]))
    assert shades(pair) == (2, 1)
    cut = {"prompt_id": "a", "prompt": "p", "img_better": coded(8), "img_worse": coded(9)}
    (pair,) = read_image_pairs(put("pair.parquet", [cut]))
    assert shades(pair) == (8, 9)
    names = images(tmp_path, 1, 2, 3)
    listed: Rows = [{"id": "z", "prompt": "p", "generations": names, "ranking": [1, 3, 2]}]
    pairs = read_image_pairs(put("test.json", listed))
    assert sorted(shades(p) for p in pairs) == [(1, 2), (1, 3), (3, 2)]


def chat(*said: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(said)]


def test_ultrafeedback_is_a_chat_and_two_answers(put: Write) -> None:
    def row(score: float, other: float) -> dict:
        chosen, rejected = chat("Hi?", "good"), chat("Hi?", "bad")
        return {
            "prompt": "Hi?", "prompt_id": "7", "chosen": chosen, "rejected": rejected,
            "messages": chosen, "score_chosen": score, "score_rejected": other,
        }  # fmt: skip

    pairs = read_text_pairs(put("ultra.parquet", [row(8.5, 3.0), row(5.0, 5.0)]))
    assert len(pairs) == 1
    pair = pairs[0]
    assert (pair.prompt, pair.chosen, pair.rejected) == (chat("Hi?"), "good", "bad")
    assert (pair.score_w, pair.score_l, pair.id) == (8.5, 3.0, "7")
    assert pairs.dropped.ties == 1


def test_ultrafeedback_with_more_turns_keeps_all_but_the_last(put: Write) -> None:
    chosen, rejected = chat("a", "b", "c", "good"), chat("a", "b", "c", "bad")
    row = {"prompt": "a", "chosen": chosen, "rejected": rejected,
           "score_chosen": 2.0, "score_rejected": 1.0}  # fmt: skip
    (pair,) = read_text_pairs(put("ultra.jsonl", [row]))
    assert (pair.prompt, pair.chosen, pair.rejected) == (chat("a", "b", "c"), "good", "bad")


# The formats of TRL's documentation.
SKY = "The sky is"
EXPLICIT = {"prompt": SKY, "chosen": " blue.", "rejected": " green."}
IMPLICIT = {"chosen": "The sky is blue.", "rejected": "The sky is green."}
SPOKEN = {
    "prompt": chat("What color is the sky?"),
    "chosen": [{"role": "assistant", "content": "It is blue."}],
    "rejected": [{"role": "assistant", "content": "It is green."}],
}
WHOLE = {
    "chosen": chat("What color is the sky?", "It is blue."),
    "rejected": chat("What color is the sky?", "It is green."),
}
MIXED = SPOKEN | {"prompt": "What color is the sky?"}


@pytest.mark.parametrize("name", ["trl.parquet", "trl.jsonl", "trl.json"])
@pytest.mark.parametrize("row", [EXPLICIT, IMPLICIT], ids=["explicit", "implicit"])
def test_trl_text(put: Write, name: str, row: dict) -> None:
    (pair,) = read_text_pairs(put(name, [row]))
    assert (pair.prompt, pair.chosen, pair.rejected) == (SKY, " blue.", " green.")


@pytest.mark.parametrize("row", [SPOKEN, WHOLE, MIXED], ids=["explicit", "implicit", "mixed"])
def test_trl_chats(put: Write, row: dict) -> None:
    (pair,) = read_text_pairs(put("trl.parquet", [row]))
    assert pair.prompt == chat("What color is the sky?")
    assert (pair.chosen, pair.rejected) == ("It is blue.", "It is green.")


def test_trl_unpaired(put: Write) -> None:
    rows: Rows = [
        {"prompt": SKY, "completion": " blue.", "label": True},
        {"prompt": SKY, "completion": " green.", "label": False},
    ]
    found = read_text_binary(put("kto.jsonl", rows))
    assert [(b.completion, b.desirable) for b in found] == [(" blue.", True), (" green.", False)]
    spoken = {"prompt": chat("Sky?"), "completion": SPOKEN["chosen"], "label": True}
    (one,) = read_text_binary(put("spoken.parquet", [spoken]))
    assert (one.prompt, one.completion) == (chat("Sky?"), "It is blue.")


WORDS = st.text("ab ", max_size=6)


@given(WORDS, WORDS, WORDS)
def test_the_common_beginning_is_the_one_trl_takes(prompt: str, a: str, b: str) -> None:
    """TRL's own function is the oracle where both texts go on after they part."""
    from trl import extract_prompt

    chosen, rejected = prompt + a, prompt + b
    if chosen.startswith(rejected) or rejected.startswith(chosen) or chosen[0] != rejected[0]:
        return  # nothing common, or one text is empty: such rows are refused
    theirs = extract_prompt({"chosen": chosen, "rejected": rejected})
    assert _cut(chosen, rejected) == (theirs["prompt"], theirs["chosen"], theirs["rejected"])


def test_a_layout_can_be_named(put: Write) -> None:
    path = put("t.parquet", [EXPLICIT])
    assert len(read_text_pairs(path, how=Reading(layout="trl implicit"))) == 1
    with pytest.raises(PreferenceError, match="no layout 'trl'; there are auto, scoreward Image"):
        read_text_pairs(path, how=Reading(layout="trl"))
    with pytest.raises(PreferenceError, match=r"nearest, also needs score_chosen, score_rejected"):
        read_text_pairs(path, how=Reading(layout="ultrafeedback"))


def test_every_layout_is_recognised_by_its_own_columns() -> None:
    """No layout hides a later one that asks for more."""
    for one in KNOWN:
        assert recognise("f", sorted(one.columns)) is one


def test_unknown_columns_are_listed_with_the_layouts(put: Write) -> None:
    path = put("odd.parquet", [{"question": "a", "best": "b", "winner": "c"}])
    with pytest.raises(PreferenceError) as said:
        read_image_pairs(path)
    sentence = str(said.value)
    assert f"{path} has the columns question, best, winner, which fit no layout" in sentence
    assert "scoreward ImagePair, the nearest, also needs loser, prompt" in sentence
    assert "pick-a-pic (caption, jpg_0, jpg_1, label_0)" in sentence


def test_a_data_set_on_a_hub_that_cannot_be_reached_is_one_sentence() -> None:
    with pytest.raises(PreferenceError, match="someone/pairs cannot be read: ") as said:
        read_image_pairs("someone/pairs")
    assert "\n" not in str(said.value)
    with pytest.raises(PreferenceError, match=r"there is no file or folder 'nothing\.parquet'"):
        read_image_pairs("nothing.parquet")


def test_a_data_set_on_disk_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a hub gives is the same call: here a folder that `datasets` takes for a data set."""
    from scoreward.data.preferences import tables

    folder = tmp_path / "owner" / "pairs"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text(json.dumps(EXPLICIT) + "\n")
    monkeypatch.chdir(tmp_path)
    for streaming in (False, True):
        table = tables._from_hub("owner/pairs", streaming, "train")
        assert set(table.columns) == {"prompt", "chosen", "rejected"}
        assert list(table.scan()) == [EXPLICIT]
