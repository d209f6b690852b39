"""The command `pairs`: what it writes, what it says, and what it refuses in one sentence."""

import json
import re
from pathlib import Path

import pytest

from scoreward.commands.pairs import ACTIONS
from scoreward.data.preferences.files import (
    read_image_binary,
    read_image_pairs,
    read_text_binary,
    read_text_pairs,
    write,
)
from scoreward.data.preferences.records import (
    ImageBinary,
    ImageGroup,
    ImagePair,
    Record,
    TextBinary,
    TextGroup,
    TextPair,
)
from tests.preferences.conftest import Write, coded, picture
from tests.preferences.test_layouts import pick_a_pic, shades
from tests.support.command_line import Cli, calling

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
RECORDS: dict[str, list[Record]] = {
    "image pairs": [ImagePair("<b>a</b>", picture(i), picture(i + 50), i, 1.5, f"id{i}", "people")
                    for i in range(4)],
    "text pairs": [TextPair("Count.", "one two three", "one two", 2.0, 1.0, source="rule")] * 2,
    "chats": [TextPair(CHAT, "because of <script>x</script>", "because")],
    "image binary": [ImageBinary("a", picture(1), True, 2, 1), ImageBinary("b", picture(2), False)],
    "text binary": [TextBinary("a", "yes yes", True), TextBinary("a", "no", False)],
    "image groups": [ImageGroup("a", [picture(i) for i in range(3)], {"r": [0.1, 0.25, 0.9]})],
    "text groups": [TextGroup("a", ["x y", "z"], [1.0, 2.0])],
}  # fmt: skip


@pytest.fixture
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Cli:
    """Run `scoreward pairs` in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return calling(capsys, "pairs")


def refusal(said: Cli, *words: str) -> str:
    before = sorted(Path.cwd().rglob("*"))
    code, _, error = said(*words)
    assert code == 2
    assert sorted(Path.cwd().rglob("*")) == before
    (line,) = error.strip().splitlines()
    return line.removeprefix("scoreward: ")


@pytest.mark.parametrize("name", RECORDS)
def test_inspect_shows_every_kind_of_record(pairs: Cli, tmp_path: Path, name: str) -> None:
    records = RECORDS[name]
    write(tmp_path / "some.parquet", records)
    code, out, _ = pairs("inspect", "some.parquet")
    assert (code, out.splitlines()[-1]) == (0, "page: some.parquet.html")
    page = (tmp_path / "some.parquet.html").read_text()
    assert page.count('<article class="record">') == len(records)
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
    assert "<b>a</b>" not in page
    if name.startswith("image"):
        assert page.count("data:image/png;base64,") == sum(
            2 if isinstance(r, ImagePair) else 1 if isinstance(r, ImageBinary) else 3
            for r in records
        )


def test_inspect_says_its_numbers_as_json(pairs: Cli, tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", [
        TextPair("a", "one two three four", "one", 3.0, 1.0, source="x"),
        TextPair("a", "one", "one two", 1.0, 2.0, source="x"),
        TextPair("b", "one", "two"),
        TextPair("c", "one two", "three"),
    ])  # fmt: skip
    code, out, error = pairs("inspect", "t.parquet", "--json", "--shown", "1", "--out", "p.html")
    assert (code, error) == (0, "")
    told = json.loads(out)
    assert (told["records"], told["prompts"], told["most_of_one_prompt"]) == (4, 3, 2)
    assert told["sources"] == {"x": 2, "unknown": 2}
    assert told["gap"] == {"mean": 0.5, "median": 0.5, "low": -1.0, "high": 2.0, "below_zero": 1}
    assert told["words"][0] == {"mean": 2.0, "median": 1.5, "low": 1, "high": 4}
    assert (told["longer_won"], told["equally_long"]) == (0.5, 0.25)
    assert told["page"] == "p.html"
    page = Path("p.html").read_text()
    assert page.count("<article") == 1
    assert "The first 1 pair" in page
    assert "In 1 pair the winner has the lower score" in page


def test_inspect_marks_where_two_texts_part(pairs: Cli, tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", [TextPair("q", "it is 24 legs", "it is 18 legs")])
    assert pairs("inspect", "t.parquet")[0] == 0
    page = Path("t.parquet.html").read_text()
    assert "it is <mark>24</mark> legs" in page
    assert "it is <mark>18</mark> legs" in page


def test_skip_bad_goes_on_and_counts(pairs: Cli, put: Write) -> None:
    good = {"prompt": "p", "chosen": "a", "rejected": "b"}
    put("t.jsonl", [good, good | {"chosen": ""}, good | {"chosen": "c"}, good | {"rejected": ""}])
    said = refusal(pairs, "inspect", "t.jsonl")
    assert said == (
        "row 1 of t.jsonl: chosen is empty, and 1 more row has faults; --skip-bad (skip_bad=True) "
        "leaves such rows out and counts them"
    )
    for action in (["inspect"], ["convert"], ["split", "--held-out", "0.5"]):
        assert refusal(pairs, action[0], "t.jsonl", *action[1:]) == said
    code, out, _ = pairs("inspect", "t.jsonl", "--skip-bad")
    assert code == 0
    assert "2 records, 0 ties and 2 faulty rows left out (row 1 of t.jsonl: chosen is empty)" in out
    page = Path("t.jsonl.html").read_text()
    assert "2 rows cannot be used and are left out." in page
    assert "<th>rejected is empty</th><td>1 row</td>" in page
    assert "row 3 of t.jsonl: rejected is empty" in page
    code, out, _ = pairs("convert", "t.jsonl", "t.parquet", "--skip-bad", "--json")
    told = json.loads(out)
    assert (told["records"], told["skipped"], told["reasons"]) == (
        2, 2, {"chosen is empty": 1, "rejected is empty": 1}
    )  # fmt: skip
    assert len(read_text_pairs("t.parquet")) == 2


def test_convert_makes_ours_of_a_public_layout(pairs: Cli, put: Write) -> None:
    put("pick.parquet", [pick_a_pic(1, 10, 20), pick_a_pic(0.5, 1, 2), pick_a_pic(0, 30, 40)])
    code, out, _ = pairs("convert", "pick.parquet", "ours.parquet")
    assert (code, out) == (0, "ours.parquet: 2 records, 1 tie and 0 faulty rows left out\n")
    assert [shades(p) for p in read_image_pairs("ours.parquet")] == [(10, 20), (40, 30)]
    assert pairs("convert", "pick.parquet", "two.parquet", "--layout", "pick-a-pic")[0] == 0
    assert "there is no layout 'pick'" in refusal(
        pairs, "convert", "pick.parquet", "--layout", "pick"
    )


def test_convert_can_halve_and_drop_repeats(pairs: Cli, put: Write) -> None:
    row = {"prompt": "p", "winner": coded(1), "loser": coded(2)}
    put("own.parquet", [row, row, row | {"loser": coded(3)}])
    code, out, _ = pairs("convert", "own.parquet", "once.parquet", "--once")
    assert (code, out.splitlines()[0]) == (0, "pairs that were there before: 1")
    assert len(read_image_pairs("once.parquet")) == 2
    assert pairs("convert", "own.parquet", "kto.parquet", "--once", "--halves")[0] == 0
    halves = read_image_binary("kto.parquet")
    assert [(h.desirable, h.wins, h.losses) for h in halves] == [
        (True, 2, 0), (False, 0, 1), (False, 0, 1)
    ]  # fmt: skip
    put("t.jsonl", [{"prompt": "p", "chosen": "a", "rejected": "b"}])
    assert pairs("convert", "t.jsonl", "halves.parquet", "--halves")[0] == 0
    assert [h.completion for h in read_text_binary("halves.parquet")] == ["a", "b"]
    assert "--halves is for pairs, and this file holds ImageBinary" in refusal(
        pairs, "convert", "kto.parquet", "x.parquet", "--halves"
    )


def test_make_follows_its_rule(pairs: Cli, tmp_path: Path) -> None:
    groups = [TextGroup(f"p{i}", ["a", "b", "c"], [0.0, 0.4, 1.0]) for i in range(3)]
    write(tmp_path / "g.parquet", [*groups, TextGroup("flat", ["a", "b"], [1.0, 1.0])])
    code, out, _ = pairs("make", "g.parquet", "bw.parquet")
    assert code == 0
    assert out.splitlines()[-1] == "4 groups gave 3 pairs; 1 gave none, and 0 pairs are over --most"
    assert {(p.chosen, p.rejected) for p in read_text_pairs("bw.parquet")} == {("c", "a")}
    pairs("make", "g.parquet", "gap.parquet", "--rule", "gap", "--above", "0.5", "--json")
    found = {(p.chosen, p.rejected) for p in read_text_pairs("gap.parquet")}
    assert found == {("c", "a"), ("c", "b")}
    code, out, _ = pairs(
        "make", "g.parquet", "most.parquet", "--rule", "gap", "--most", "1", "--json"
    )
    assert json.loads(out)["tally"] == {"groups": 4, "barren": 1, "pairs": 3, "over": 6}
    rso = ["--rule", "rso", "--temperature", "1e-9", "--count", "2"]
    assert pairs("make", "g.parquet", "rso.parquet", *rso)[0] == 0
    assert {(p.chosen, p.rejected) for p in read_text_pairs("rso.parquet")} == {("c", "b")}


def test_split_keeps_prompts_apart(pairs: Cli, tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", [TextPair(f"p{i % 20}", str(i), "no") for i in range(60)])
    code, out, _ = pairs("split", "t.parquet", "--held-out", "0.3", "--json")
    told = json.loads(out)
    train, test = read_text_pairs("train.parquet"), read_text_pairs("test.parquet")
    assert code == 0
    assert (told["train"]["records"], told["test"]["records"]) == (len(train), len(test))
    assert len(train) + len(test) == 60
    assert not {p.prompt for p in train} & {p.prompt for p in test}


def test_wrong_words_are_refused_in_a_sentence(pairs: Cli, tmp_path: Path) -> None:
    write(tmp_path / "t.parquet", [TextPair("p", "a", "b")])
    assert "has no 'look'; it can inspect, convert, make, split" in refusal(pairs, "look", "t")
    assert "no file or folder 'gone.parquet'" in refusal(pairs, "inspect", "gone.parquet")
    assert "call it t2.parquet" in refusal(pairs, "convert", "t.parquet", "t2.jsonl")
    assert "leaves 0 records to train on and 1 held out" in refusal(
        pairs, "split", "t.parquet", "--held-out", "0.99999"
    )
    assert "t.parquet holds TextPair records; pairs are made from groups" in refusal(
        pairs, "make", "t.parquet", "x.parquet"
    )
    assert "--shown must be at least 1" in refusal(pairs, "inspect", "t.parquet", "--shown", "0")
    assert "must be a file in a folder that exists" in refusal(
        pairs, "inspect", "t.parquet", "--out", "none/x.html"
    )
    code, out, _ = pairs()
    assert (code, "inspect FILE" in out) == (2, True)


READING = {"--columns", "--json", "--layout", "--no-json", "--no-skip-bad",
           "--pictures", "--skip-bad", "--split"}  # fmt: skip
OPTIONS = {
    "inspect": {"--shown", "--out", "--model"},
    "convert": {"--halves", "--no-halves", "--once", "--no-once"},
    "make": {"--rule", "--above", "--temperature", "--count", "--best-worst", "--no-best-worst",
             "--reward", "--calibrated", "--no-calibrated", "--most", "--seed"},
    "split": {"--held-out", "--train", "--test"},
}  # fmt: skip


@pytest.mark.parametrize("action", ACTIONS)
def test_the_options_are_the_agreed_ones(pairs: Cli, action: str) -> None:
    code, out, _ = pairs(action, "--help")
    assert code == 0
    found = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9.-]*[a-z0-9]", out)) - {"--help"}
    assert found == READING | OPTIONS[action]
