"""`pairs inspect --model` shows what the model will see."""

import json
import re
from pathlib import Path

import pytest

from scoreward import cli
from scoreward.commands.pair_tokens import seen_by
from scoreward.data.preferences.records import ImagePair, TextPair
from scoreward.models.texts.loading import TinyLlama


@pytest.fixture
def model(tmp_path: Path) -> str:
    made = TinyLlama(width=16, layers=1, heads=1, context=64).build()
    made.network.save_pretrained(tmp_path / "m")  # pyright: ignore
    made.text.tokenizer.save_pretrained(tmp_path / "m")
    return str(tmp_path / "m")


def test_the_page_says_where_the_loss_starts(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"prompt": "abcd", "chosen": "efg", "rejected": "x" * 80}]
    path, page = tmp_path / "p.jsonl", tmp_path / "p.html"
    path.write_text("\n".join(map(json.dumps, rows)))
    words = ["pairs", "inspect", str(path), "--model", model, "--json", "--out", str(page)]
    assert cli.main(words) == 0
    seen = json.loads(capsys.readouterr().out)["tokens"]
    assert (seen["cut"], seen["refused"]) == (1, [])
    start = int(seen["prompt"]["low"])
    text = page.read_text()
    assert f"{start + 4} tokens, 4 of them trained, from token {start + 1} on<" in text
    assert "64 tokens, " in text
    assert "cut at the context of 64" in text
    assert text.count('class="trained"') == 4 + 64 - start


def test_what_others_say_between_turns_is_not_trained(model: str, tmp_path: Path) -> None:
    said = [("assistant", "one"), ("user", "and?"), ("assistant", "two")]
    turns = [{"role": role, "content": text} for role, text in said]
    other = [{"role": "assistant", "content": "no"}]
    row = {"prompt": [{"role": "user", "content": "hi"}], "chosen": turns, "rejected": other}
    path, page = tmp_path / "p.jsonl", tmp_path / "p.html"
    path.write_text(json.dumps(row))
    words = ["pairs", "inspect", str(path), "--model", model, "--out", str(page)]
    assert cli.main(words) == 0
    shown = page.read_text().split('<details class="tokens">')[1].split("</details>")[0]
    kinds = re.findall(r'class="(trained|given)">([^<]*)<', shown)
    assert "".join(t for kind, t in kinds if kind == "trained") == "one</s>two</s>".replace(
        "</s>", "&lt;/s&gt;"
    )
    assert "user: and?" in "".join(t for kind, t in kinds if kind == "given")


def test_what_has_no_answers_is_refused(model: str) -> None:
    assert seen_by(model, TextPair, [])
    with pytest.raises(ValueError, match="holds ImagePair records; leave the option out"):
        seen_by(model, ImagePair, [])
