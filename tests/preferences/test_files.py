"""What is written is what is read, whole or not at all."""

import json
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from scoreward.data.pictures import rgb
from scoreward.data.preferences.checks import check_lengths
from scoreward.data.preferences.files import (
    read,
    read_image_binary,
    read_image_groups,
    read_image_pairs,
    read_text_binary,
    read_text_groups,
    read_text_pairs,
    stream,
    write,
)
from scoreward.data.preferences.records import (
    Dropped,
    ImageBinary,
    ImageGroup,
    ImagePair,
    PreferenceError,
    TextBinary,
    TextGroup,
    TextPair,
)
from tests.preferences.conftest import Write, picture

UTF8 = st.text(st.characters(codec="utf-8"), max_size=30).map(lambda s: s + "é")
FINITE = st.floats(allow_nan=False, allow_infinity=False)
MAYBE = st.none() | FINITE
SAID = st.fixed_dictionaries({"role": st.sampled_from(["system", "user"]), "content": UTF8})
TEXT_PAIRS = st.builds(
    TextPair, UTF8, UTF8, UTF8, MAYBE, MAYBE, st.text("äb1", max_size=4), st.just("people")
).filter(lambda p: p.chosen != p.rejected)  # fmt: skip
CHATS = st.builds(TextPair, st.lists(SAID, min_size=1, max_size=3), UTF8, UTF8).filter(
    lambda p: p.chosen != p.rejected
)
BINARY = st.builds(TextBinary, UTF8, UTF8, st.booleans(), FINITE)
GROUPS = st.lists(st.tuples(UTF8, FINITE), min_size=2, max_size=4).flatmap(
    lambda members: st.builds(
        TextGroup, UTF8, st.just([m[0] for m in members]), st.just([m[1] for m in members])
    )
)
NONE_SHARED = [HealthCheck.function_scoped_fixture]


@given(
    st.one_of(*(st.lists(k, min_size=1, max_size=5) for k in (TEXT_PAIRS, CHATS, BINARY, GROUPS)))
)
@settings(max_examples=40, suppress_health_check=NONE_SHARED)
def test_texts_come_back_as_they_were_written(tmp_path: Path, records: list) -> None:
    """Unicode, huge and tiny scores, chats: equal, in order, from a sequence and from a stream."""
    path, kind = tmp_path / "records.parquet", type(records[0])
    assert write(path, records) == len(records)
    found = read(kind, path)
    assert list(found) == records
    assert list(stream(kind, path)) == records
    assert found.dropped == Dropped()


def test_pictures_come_back_as_they_look_pixel_by_pixel(tmp_path: Path) -> None:
    modes = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
    pairs = [ImagePair("a", picture(1).convert(m), picture(2), 1e300, None) for m in modes]
    path = tmp_path / "pairs.parquet"
    write(path, pairs)
    found = read_image_pairs(path)
    assert len(found) == len(modes)
    for one, other in zip(found, pairs, strict=True):
        assert one.winner.mode == "RGB"
        assert one.winner.tobytes() == rgb(other.winner).tobytes()
        assert one.loser.tobytes() == other.loser.tobytes()
        assert (one.score_w, one.score_l) == (1e300, None)


def test_a_jpeg_is_kept_as_it_was_decoded(tmp_path: Path) -> None:
    """Writing a picture that was read from a JPEG must not compress it a second time."""
    noisy = picture(7, 32)
    noisy.save(tmp_path / "a.jpg", quality=30)
    opened = Image.open(tmp_path / "a.jpg")
    write(tmp_path / "p.parquet", [ImagePair("a", opened, picture(2))])
    assert read_image_pairs(tmp_path / "p.parquet")[0].winner.tobytes() == opened.tobytes()


def test_every_kind_of_picture_record_comes_back(tmp_path: Path) -> None:
    group = ImageGroup("p", [picture(i) for i in range(3)], {"a": [1, 2, 3], "b": [0.5, -1e9, 7]},
                       (4, 5, 6), "g")  # fmt: skip
    write(tmp_path / "g.parquet", [group])
    found = read_image_groups(tmp_path / "g.parquet")[0]
    assert [i.tobytes() for i in found.images] == [picture(i).tobytes() for i in range(3)]
    assert found.scores == {"a": [1.0, 2.0, 3.0], "b": [0.5, -1e9, 7.0]}
    assert (found.seeds, found.id) == ((4, 5, 6), "g")
    write(tmp_path / "b.parquet", [ImageBinary("p", picture(1), False, 0, 3, "x")])
    one = read_image_binary(tmp_path / "b.parquet")[0]
    assert (one.desirable, one.wins, one.losses, one.id) == (False, 0, 3, "x")


def test_a_file_of_ours_is_a_data_set_with_images(tmp_path: Path) -> None:
    write(tmp_path / "p.parquet", [ImagePair("a", picture(1), picture(2))])
    loaded = datasets.load_dataset("parquet", data_files=str(tmp_path / "p.parquet"))["train"]
    assert isinstance(loaded.features["winner"], datasets.Image)
    assert loaded[0]["winner"].tobytes() == picture(1).tobytes()


def test_a_sequence_has_length_index_slices_and_ends(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", [TextPair("p", str(i), "no") for i in range(250)])
    pairs = read_text_pairs(tmp_path / "t.parquet")
    assert len(pairs) == 250
    assert pairs[-1].chosen == "249"
    assert [p.chosen for p in pairs[3:9:2]] == ["3", "5", "7"]
    with pytest.raises(IndexError):
        pairs[250]
    assert pairs.where(101) == (str(tmp_path / "t.parquet"), 101)
    assert [p.chosen for p in pairs.select([7, 2])] == ["7", "2"]


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    write(tmp_path / "all" / "b.parquet", [TextPair("p", "2", "0")])
    write(tmp_path / "all" / "a.parquet", [TextPair("p", "1", "0")])
    (tmp_path / "all" / "c.jsonl").write_text(
        json.dumps({"prompt": "p", "chosen": "3", "rejected": "0", "score_w": 2.5}) + "\n"
    )
    (tmp_path / "all" / "notes.txt").write_text("not data")
    pairs = read_text_pairs(tmp_path / "all")
    assert [p.chosen for p in pairs] == ["1", "2", "3"]
    assert pairs[2].score_w == 2.5
    assert pairs.where(2)[0].endswith("c.jsonl")


def test_a_stream_holds_few_rows_and_can_begin_again(put: Write) -> None:
    rows = [{"prompt": "p", "chosen": str(i), "rejected": "no"} for i in range(500)]
    for name in ("t.parquet", "t.jsonl"):
        passing = stream(TextPair, put(name, rows))
        first = iter(passing)
        assert next(first).chosen == "0"
        assert [p.chosen for p in passing] == [str(i) for i in range(500)]


def test_scanning_holds_one_batch_of_a_large_file(tmp_path: Path) -> None:
    """80 MB of texts pass by, and Arrow holds less than half of them at any time."""
    import pyarrow

    long = "x" * 100_000
    write(tmp_path / "t.parquet", (TextPair("p", f"{i}{long}", "no") for i in range(800)))
    held = []
    for _ in stream(TextPair, tmp_path / "t.parquet"):
        held.append(pyarrow.total_allocated_bytes())
    assert len(held) == 800
    assert max(held) < 400 * len(long)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write(path, [TextPair("p", "old", "0")])

    def broken() -> Iterator[TextPair]:
        yield from (TextPair("p", str(i), "no") for i in range(300))
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        write(path, broken())
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]
    assert read_text_pairs(path)[0].chosen == "old"


def test_what_teaches_nothing_is_not_written(tmp_path: Path) -> None:
    good = TextPair("p", "a", "b")
    for bad, why in (
        (TextPair("p", "a", "a"), "same text"),
        (TextPair("p", "", "a"), "chosen is empty"),
        (TextPair("p", "half \ud83d", "a"), "chosen has half a character"),
        (TextPair("p", "a", "b", float("nan")), "not a finite number"),
        (TextPair([{"role": "user", "content": "q"}], "a", "b"), "texts or as chats, not both"),
        (TextBinary("p", "a", True), "it is a TextBinary among TextPairs"),
    ):
        with pytest.raises(PreferenceError, match=f"row 1 of .*{why}.*not written"):
            write(tmp_path / "t.parquet", [good, bad])
    with pytest.raises(PreferenceError, match="no records to write"):
        write(tmp_path / "t.parquet", [])
    assert not list(tmp_path.iterdir())


def test_reading_a_group_as_pairs_says_what_makes_pairs(tmp_path: Path) -> None:
    write(tmp_path / "g.parquet", [TextGroup("p", ["a", "b"], [1.0, 2.0])])
    with pytest.raises(PreferenceError, match="holds TextGroup, not TextPair; `scoreward pairs"):
        read_text_pairs(tmp_path / "g.parquet")
    assert read_text_groups(tmp_path / "g.parquet")[0].rewards == [1.0, 2.0]


def test_a_prompt_that_fills_the_context_is_left_out_and_counted(tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", [TextPair("word " * n, "a", "b") for n in (1, 9, 10, 30)])
    pairs = read_text_pairs(tmp_path / "t.parquet")

    def words(prompt: object) -> int:
        return len(str(prompt).split())

    with pytest.raises(PreferenceError) as said:
        check_lengths(pairs, words, 10)
    assert str(said.value) == (
        f"row 2 of {tmp_path / 't.parquet'}: the prompt has 10 tokens, which leaves no room for "
        "an answer in a context of 10, and 1 more row has faults; --skip-bad (skip_bad=True) "
        "leaves such rows out and counts them"
    )
    kept = check_lengths(pairs, words, 10, skip_bad=True)
    assert [words(p.prompt) for p in kept] == [1, 9]
    assert [f.row for f in kept.dropped.bad] == [2, 3]


def test_binary_texts_keep_their_weight(tmp_path: Path) -> None:
    write(tmp_path / "b.parquet", [TextBinary("p", "a", True, 0.0), TextBinary("p", "b", False)])
    assert [b.weight for b in read_text_binary(tmp_path / "b.parquet")] == [0.0, 1.0]
