"""What people found in public files: nothing is dropped, guessed or taken from elsewhere."""

import io
import json
import tarfile
from base64 import b64encode
from pathlib import Path

import pytest
from PIL import Image

from scoreward.data.preferences.files import (
    Reading,
    kind_of,
    read_image_pairs,
    read_text_binary,
    read_text_pairs,
    write,
)
from scoreward.data.preferences.layouts import holds_picture
from scoreward.data.preferences.records import ImagePair, PreferenceError, TextPair, Turns
from scoreward.data.preferences.tables import files_of, split_of
from tests.preferences.conftest import Rows, Write, coded, picture
from tests.preferences.test_layouts import shades

ANSWERS = {"chosen": "The cat sat.", "rejected": "The dog ran."}


@pytest.mark.parametrize("name", ["question", "instruction", "query", "input", "problem"])
def test_a_question_is_the_prompt_and_a_system_message_comes_first(name: str, put: Write) -> None:
    row = {name: "Who?", "system": "Be kind.", "model": "m", **ANSWERS}
    (pair,) = read_text_pairs(put("p.jsonl", [row]))
    system = {"role": "system", "content": "Be kind."}
    assert pair.prompt == [system, {"role": "user", "content": "Who?"}]
    assert (pair.chosen, pair.rejected) == ("The cat sat.", "The dog ran.")
    (pair,) = read_text_pairs(put("q.jsonl", [row | {"system": " "}]))
    assert pair.prompt == "Who?"
    (one,) = read_text_binary(
        put("b.jsonl", [{name: "Who?", "system": "S", "completion": "c", "label": True}])
    )
    assert one.prompt == [{"role": "system", "content": "S"}, {"role": "user", "content": "Who?"}]


def test_a_prompt_is_not_guessed_where_texts_stay_unread(put: Write) -> None:
    for more in ({"context": "a"}, {"instruction": "a", "input": "b"}, {"system": "a"}):
        path = put("p.jsonl", [{**ANSWERS, **more}])
        with pytest.raises(PreferenceError, match="has no column prompt, and texts that would not"):
            read_text_pairs(path)
    path = put("p.jsonl", [{**ANSWERS, "instruction": "a", "input": "b"}])
    (pair,) = read_text_pairs(path, how=Reading(columns=("prompt=input",)))
    assert pair.prompt == "b"
    path = put("i.jsonl", [{**ANSWERS, "prompt_id": "7", "model_name": "m"}])
    with pytest.raises(PreferenceError, match="there is no prompt: chosen and rejected only share"):
        read_text_pairs(path)


def test_columns_are_what_they_are_said_to_be(put: Write) -> None:
    path = put("p.jsonl", [{"q": "Who?", "good": "a", "bad": "b", "prompt": "x", "s": "S"}])
    how = ("chosen=good", "rejected=bad", "system=s")
    (pair,) = read_text_pairs(path, how=Reading(columns=how))
    assert (pair.prompt[-1], pair.chosen) == ({"role": "user", "content": "x"}, "a")
    for columns, said in (
        (("prompt=q", *how), "has a column 'prompt' already, so 'q' cannot be called that"),
        (("chosen=better", "rejected=bad"), "has no column 'better', it has q, good, bad"),
        (("winer=good",), "no layout has a column 'winer'; columns are"),
        (("chosen",), r"takes WHAT=COLUMN, each once, as in prompt=question; got 'chosen'"),
        (("chosen=good", "chosen=bad"), "each once"),
        (("chosen=good", "rejected=good"), "each once"),
    ):
        with pytest.raises(PreferenceError, match=said):
            read_text_pairs(path, how=Reading(columns=columns))


@pytest.mark.parametrize("listed", [False, True])
def test_pictures_in_the_columns_of_answers_are_pictures(listed: bool, put: Write) -> None:
    cells = [{"bytes": coded(n), "path": None} for n in (10, 20)]
    chosen, rejected = ([one] if listed else one for one in cells)
    path = put("p.parquet", [{"prompt": "a", "chosen": chosen, "rejected": rejected}])
    assert kind_of(path) is ImagePair
    (pair,) = read_image_pairs(path)
    assert shades(pair) == (10, 20)
    with pytest.raises(PreferenceError, match="holds ImagePair, not TextPair"):
        read_text_pairs(path)
    texts = put("t.parquet", [{"prompt": "a", **ANSWERS}])
    assert kind_of(texts) is TextPair
    with pytest.raises(PreferenceError, match="holds TextPair, not ImagePair"):
        read_image_pairs(texts)
    assert not holds_picture([{"role": "user", "content": "a"}])


def test_votes_decide_and_as_many_are_a_tie(put: Write, tmp_path: Path) -> None:
    for n in (10, 20):
        picture(n).save(tmp_path / f"{n}.png")
    base = {"prompt": "p", "path1": "10.png", "path2": "20.png", "confidence": 0.9, "model1": "m"}
    votes: Rows = [{**base, "choice_dist": v} for v in ([3, 1], [1, 3], [2, 2])]
    pairs = read_image_pairs(put("h.json", [*votes, base]))
    assert [shades(p) for p in pairs] == [(10, 20), (20, 10), (10, 20)]
    assert [(p.score_w, p.score_l) for p in pairs] == [(3, 1), (3, 1), (None, None)]
    assert pairs.dropped.ties == 1
    both = {"prompt": "p", "image1": coded(10), "image2": coded(20)}
    for name in ("weighted_results_image{}_preference", "votes_image{}"):
        rows = [both | {name.format(1): a, name.format(2): b} for a, b in ((0.7, 0.3), (1, 4))]
        pairs = read_image_pairs(put("r.parquet", rows))
        assert [shades(p) for p in pairs] == [(10, 20), (20, 10)]


def test_pictures_may_be_base64_and_are_taken_from_the_folder_alone(
    put: Write, tmp_path: Path
) -> None:
    inside = tmp_path / "data"
    inside.mkdir()
    picture(30).save(tmp_path / "out.png")
    picture(40).save(inside / "in.png")
    plain, other = (b64encode(coded(n)).decode() for n in (10, 20))
    rows = [{"prompt": "a", "winner": plain, "loser": f"data:image/png;base64,{other}"}]
    (pair,) = read_image_pairs(put("data/a.jsonl", rows))
    assert shades(pair) == (10, 20)
    for outside in ("../out.png", str(tmp_path / "out.png"), "x/../../out.png"):
        path = put("data/b.jsonl", [{"prompt": "a", "winner": outside, "loser": "in.png"}])
        with pytest.raises(
            PreferenceError, match=r"winner names a picture outside of .*--pictures"
        ):
            read_image_pairs(path)
    named = put("data/b.jsonl", [{"prompt": "a", "winner": "out.png", "loser": "data/in.png"}])
    (pair,) = read_image_pairs(named, how=Reading(pictures=tmp_path))
    assert shades(pair) == (30, 40)
    for value, said in (
        ("https://example.org/a.png", "is an address on the web"),
        ("gone.png", "names a picture that is not there"),
        ("data:image/png;base64,???", "is neither a path nor a picture in base64"),
        ("?" * 2000, "is neither a path nor a picture in base64"),
    ):
        path = put("data/c.jsonl", [{"prompt": "a", "winner": value, "loser": "in.png"}])
        with pytest.raises(PreferenceError, match=f"winner .*{said}|winner {said}"):
            read_image_pairs(path)


def test_what_looks_the_same_is_the_same_picture(put: Write) -> None:
    def saved(image: Image.Image, **how: object) -> bytes:
        file = io.BytesIO()
        image.save(file, "PNG", **how)  # pyright: ignore[reportArgumentType]
        return file.getvalue()

    red, black = (saved(Image.new("RGBA", (4, 4), (c, 0, 0, 0))) for c in (255, 0))
    path = put("a.parquet", [{"prompt": "a", "winner": red, "loser": black}])
    with pytest.raises(PreferenceError, match="winner and loser are the same picture"):
        read_image_pairs(path)
    lying, exif = Image.new("RGB", (8, 4), (9, 9, 9)), Image.Exif()
    lying.paste((200, 0, 0), (0, 0, 4, 4))
    exif[0x0112] = 6
    path = put("b.parquet", [{"prompt": "a", "winner": saved(lying, exif=exif), "loser": coded(1)}])
    (pair,) = read_image_pairs(path)
    write(path.with_name("c.parquet"), [pair])
    for one in (pair, read_image_pairs(path.with_name("c.parquet"))[0]):
        assert one.winner.size == (4, 8)
        assert one.winner.getpixel((1, 0)) == (200, 0, 0)


# Files and folders


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train-00000-of-00001.parquet", "train"),
        ("data/test-00000-of-00001.parquet", "test"),
        ("validation/0000.parquet", "validation"),
        ("dev.jsonl", "validation"),
        ("val_1.csv", "validation"),
        ("train/test.jsonl", "test"),
        ("pairs.parquet", ""),
        ("trainer.parquet", ""),
        ("contest.parquet", ""),
    ],
)
def test_a_name_tells_its_split(path: str, split: str) -> None:
    assert split_of(Path(path)) == split


def test_of_a_folder_with_splits_one_is_read(put: Write, tmp_path: Path) -> None:
    for i, name in enumerate(("train-0", "test-0", "deep/validation/a", "deep/train/b")):
        put(f"all/{name}.jsonl", [{"prompt": f"p{i}", **ANSWERS}])
    (tmp_path / "all" / "dataset_info.json").write_text("{}")
    (tmp_path / "all" / ".cache").mkdir()
    put("all/.cache/train-9.jsonl", [{"prompt": "hidden", **ANSWERS}])
    folder = tmp_path / "all"
    assert {p.prompt for p in read_text_pairs(folder)} == {"p0", "p3"}
    for split, prompt in (("test", "p1"), ("validation", "p2"), ("dev", "p2")):
        assert [p.prompt for p in read_text_pairs(folder, how=Reading(split=split))] == [prompt]
    mine, others = files_of(folder, "train")
    assert ({p.stem for p in mine}, {p.stem for p in others}) == ({"train-0", "b"}, {"test-0", "a"})
    put("all/more.jsonl", [{"prompt": "?", **ANSWERS}])
    with pytest.raises(PreferenceError, match=r"holds the splits .* and more.jsonl does not say"):
        read_text_pairs(folder)


def test_a_split_that_is_not_there_is_refused(put: Write, tmp_path: Path) -> None:
    put("only/test-0.jsonl", [{"prompt": "p", **ANSWERS}])
    with pytest.raises(
        PreferenceError, match="has no file of the split 'train'; it has test; --sp"
    ):
        read_text_pairs(tmp_path / "only")
    path = put("plain/a.jsonl", [{"prompt": "p", **ANSWERS}])
    with pytest.raises(PreferenceError, match="no file of the split 'test'; it has no splits"):
        read_text_pairs(path.parent, how=Reading(split="test"))
    with pytest.raises(PreferenceError, match="is one file and has no splits"):
        read_text_pairs(path, how=Reading(split="test"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lines_end_where_they_say_and_can_be_found_again(
    end: str, mark: bytes, tmp_path: Path
) -> None:
    rows = [{"prompt": f"p\u2028{i}\x85", "chosen": "a", "rejected": "b"} for i in range(5)]
    text = end.join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "p.jsonl").write_bytes(mark + text.encode())
    pairs = read_text_pairs(tmp_path / "p.jsonl")
    assert [p.prompt for p in pairs] == [row["prompt"] for row in rows]
    assert [pairs[i].prompt for i in (4, 0, 2)] == [rows[i]["prompt"] for i in (4, 0, 2)]


def test_other_encodings_are_told(tmp_path: Path) -> None:
    row = json.dumps({"prompt": "caf\u00e9", **ANSWERS}, ensure_ascii=False)
    (tmp_path / "p.jsonl").write_bytes(row.encode("latin-1"))
    with pytest.raises(
        PreferenceError, match=r"no row of .*p.jsonl can be read; row 0: it is not UTF-8"
    ):
        read_text_pairs(tmp_path / "p.jsonl")
    (tmp_path / "q.jsonl").write_bytes(row.encode("utf-16"))
    with pytest.raises(PreferenceError, match=r"q.jsonl is UTF-16 or UTF-32, expected UTF-8"):
        read_text_pairs(tmp_path / "q.jsonl")
    (tmp_path / "r.csv").write_bytes("prompt,chosen,rejected\né,a,b".encode("latin-1"))
    with pytest.raises(PreferenceError, match=r"line 2 of .*r.csv is not UTF-8"):
        read_text_pairs(tmp_path / "r.csv")


def test_a_csv_and_what_is_compressed_are_read(tmp_path: Path) -> None:
    import gzip

    text = 'prompt,chosen,rejected,score_w,score_l\n"a, b",x,y,0.5,\nc,x,z,1,0.25\n'
    (tmp_path / "p.csv").write_text(text)
    (tmp_path / "q.csv.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("p.csv", "q.csv.gz"):
        pairs = read_text_pairs(tmp_path / name)
        assert [(p.prompt, p.score_w, p.score_l) for p in pairs] == [
            ("a, b", 0.5, None),
            ("c", 1.0, 0.25),
        ]
    (tmp_path / "b.csv").write_text("prompt,completion,label\na,x,true\nb,y,0\n")
    assert [one.desirable for one in read_text_binary(tmp_path / "b.csv")] == [True, False]


def test_a_tar_of_pictures_is_read_row_by_row(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "p.tar", "w") as file:
        for i in range(3):
            files = {
                f"{i}.winner.png": coded(10 + i),
                f"{i}.loser.jpg": coded(60 + i, "JPEG"),
                f"{i}.json": json.dumps({"prompt": f"p{i}"}, indent=1).encode(),
            }
            for name, content in files.items():
                about = tarfile.TarInfo(name)
                about.size = len(content)
                file.addfile(about, io.BytesIO(content))
    pairs = read_image_pairs(tmp_path / "p.tar")
    assert [p.prompt for p in pairs] == ["p0", "p1", "p2"]
    assert [shades(p)[0] for p in pairs] == [10, 11, 12]
    assert pairs[1].prompt == "p1"
    (tmp_path / "no.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(PreferenceError, match=r"no.tar is not a tar that can be read"):
        read_image_pairs(tmp_path / "no.tar")


def test_some_records_are_read_in_one_pass_and_the_same(put: Write) -> None:
    rows = [{"prompt": f"p{i}", "winner": coded(i), "loser": coded(100 + i)} for i in range(9)]
    rows[4]["loser"] = rows[4]["winner"]
    pairs = read_image_pairs(put("p.parquet", rows), skip_bad=True)
    some = pairs.select([0, 3, 7])
    assert [p.prompt for p in some] == [some[i].prompt for i in range(3)] == ["p0", "p3", "p8"]
    assert [p.prompt for p in pairs.select([7, 0])] == ["p8", "p0"]


def test_an_answer_of_several_turns_is_one(put: Write, tmp_path: Path) -> None:
    user, said = ({"role": role, "content": "a"} for role in ("user", "assistant"))
    other = {"role": "assistant", "content": "b"}
    row = {"prompt": [user], "chosen": [said, user, said], "rejected": [said, user, other]}
    (pair,) = read_text_pairs(put("p.jsonl", [row]))
    assert isinstance(pair.chosen, str)
    # both begin with the same two turns, which are then part of the prompt
    assert (len(pair.prompt), pair.chosen, pair.rejected) == (3, "a", "b")
    row["rejected"] = [other, user, other]
    (pair,) = read_text_pairs(put("q.jsonl", [row]))
    assert isinstance(pair.chosen, Turns)
    assert [m["role"] for m in pair.chosen.messages] == ["assistant", "user", "assistant"]
    assert pair.chosen == "a\na\na"
    with pytest.raises(PreferenceError, match="its answer has several turns"):
        write(tmp_path / "out.parquet", [pair])
    assert not (tmp_path / "out.parquet").exists()
