"""Preference files on the command line: one sentence at a fault, or on without it and counted."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import torch
from datasets import config
from PIL import Image
from pyarrow import parquet

from scoreward.cli import main
from scoreward.commands.train import build
from scoreward.data import portraits
from scoreward.objectives.pictures.diffusion_kto import DiffusionKTO
from scoreward.training.sources.stored import Labelled
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer

Rows = list[dict[str, Any]]
Refused = Callable[..., str]
LLAMA = [
    "--llama.width",
    "32",
    "--llama.layers",
    "1",
    "--llama.heads",
    "2",
    "--llama.context",
    "64",
]
SHORT = ["--geometry.prompts", "4", "--budget.rounds", "2", "--held-out.every", "2"]
TEXTS = ["tiny_llama_dpo", *LLAMA, *SHORT, "--held-out.share", "0.3", "--held-out.tokens", "6"]
TEXTS += ["--held-out.prompts", "2", "--llama.context", "64"]
PORTRAITS = ["portraits_diffusion_dpo", *SHORT, "--held-out.prompts", "4", "--held-out.steps", "2"]


@pytest.fixture(autouse=True)
def _own_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOREWARD_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture) -> Refused:
    """The one sentence of a refused command, which starts no run."""

    def call(*words: str) -> str:
        assert main(["train", *words]) != 0
        said = capsys.readouterr().err
        assert "Traceback" not in said
        (line,) = said.strip().splitlines()
        assert not Path("runs").exists()
        return line.removeprefix("scoreward: ")

    return call


def lines(rows: Rows) -> str:
    Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return "mine.jsonl"


def pairs(*bad: Mapping[str, Any]) -> Rows:
    """Twelve good pairs of texts and, from row 2, bad ones."""
    good: Rows = [
        {"prompt": f"say {i}: ", "chosen": f"it is {i}", "rejected": "no"} for i in range(12)
    ]
    plain = {"prompt": "why: ", "chosen": "so", "rejected": "no"}
    return [*good[:2], *(plain | dict(b) for b in bad), *good[2:]]


def labelled(*bad: Mapping[str, Any]) -> Rows:
    good: Rows = [
        {"prompt": f"say {i // 2}: ", "completion": f"it is {i}", "label": i % 2 == 0}
        for i in range(24)
    ]
    plain = {"prompt": "why: ", "completion": "so", "label": True}
    return [*good[:2], *(plain | dict(b) for b in bad), *good[2:]]


def coded(image: Image.Image) -> bytes:
    buffer = BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def drawn(number: int) -> bytes:
    pixels = ((portraits.load("train").images[number] + 1) * 127.5).round().byte()
    return coded(Image.fromarray(pixels.permute(1, 2, 0).numpy()))


def pictures(*bad: Mapping[str, Any]) -> str:
    """Twelve good pairs of portraits in Pick-a-Pic's layout and, from row 2, bad ones."""
    captions = portraits.load("train").captions
    both = [(drawn(2 * i), drawn(2 * i + 1)) for i in range(12)]
    good: Rows = [
        {"caption": captions[2 * i], "jpg_0": one, "jpg_1": other, "label_0": 1.0}
        for i, (one, other) in enumerate(both)
    ]
    rows = [*good[:2], *(good[0] | dict(b) for b in bad), *good[2:]]
    parquet.write_table(pyarrow.Table.from_pylist(rows), "mine.parquet")
    return "mine.parquet"


def singles(every: Mapping[str, Any], count: int, *bad: Mapping[str, Any]) -> str:
    """Portraits with labels, a third of them wanted, and, from row 2, bad ones."""
    captions = list(dict.fromkeys(portraits.load("train").captions))[:count]
    place = portraits.load("train").captions.index
    good: Rows = [
        {"prompt": p, "image": drawn(place(p)), "desirable": i % 3 == 0} | dict(every)
        for i, p in enumerate(captions)
    ]
    rows = [*good[:2], *(good[0] | dict(b) for b in bad), *good[2:]]
    parquet.write_table(pyarrow.Table.from_pylist(rows), "mine.parquet")
    return "mine.parquet"


BROKEN = drawn(0)[:-40]
WIDE = coded(Image.new("RGB", (32, 24)))
TEXT_FAULTS = {
    "rejected is missing": {"rejected": None},
    "chosen is empty": {"chosen": " "},
    "the prompt has 90 tokens, which leaves no room for an answer in a context of 64": {
        "prompt": "p" * 90
    },
    "chosen and rejected are the same text": {"chosen": "no"},
}
CUT = "does not decode; its file is damaged or cut off (image file is truncated)"
PICTURE_FAULTS: dict[str, dict[str, Any]] = {
    f"the picture in jpg_0 {CUT}": {"jpg_0": BROKEN},
    "label_0 is 3; expected 1, 0, or 0.5 for a tie": {"label_0": 3.0},
    "a picture of the pairs has 32 x 24 pixels and this model draws 16 x 16; resize the pictures "
    "of the file first": {"jpg_1": WIDE},
}


@pytest.mark.parametrize("why", TEXT_FAULTS)
def test_a_pair_that_cannot_be_used_is_named(refused: Refused, why: str) -> None:
    said = refused(*TEXTS, "--pairs", lines(pairs(TEXT_FAULTS[why])))
    assert said.startswith(f"row 2 of mine.jsonl: {why}; --skip-bad")


@pytest.mark.parametrize("why", PICTURE_FAULTS)
def test_a_pair_of_pictures_that_cannot_be_used_is_named(refused: Refused, why: str) -> None:
    said = refused(*PORTRAITS, "--pairs", pictures(PICTURE_FAULTS[why]))
    assert said.startswith(f"row 2 of mine.parquet: {why}; --skip-bad")


def test_files_that_no_row_can_save_are_named(refused: Refused) -> None:
    for more in ([], ["--skip-bad"]):
        path = lines([{"prompt": "a", "chosen": "b"}] * 3)
        assert "mine.jsonl has the columns prompt, chosen, which fit no layout" in refused(
            *TEXTS, "--pairs", path, *more
        )
    assert "there is no file or folder 'gone.jsonl'" in refused(*TEXTS, "--pairs", "gone.jsonl")
    one = lines(pairs()[:1] * 5)
    assert "all 5 records are for one prompt" in refused(*TEXTS, "--pairs", one)
    kto = [*TEXTS, "--method.name", "kto"]
    path = lines(labelled({"label": 2}))
    assert refused(*kto, "--pairs", path).startswith(
        "row 2 of mine.jsonl: label is 2; expected true or false; --skip-bad"
    )
    said = refused(*TEXTS, "--pairs", lines(labelled()))
    assert "labelled completions, and dpo learns from pairs; only kto" in said


def report(*words: str) -> tuple[dict[str, Any], str, list[dict[str, Any]]]:
    """What a finished run recorded of its data, its page, and its evaluations."""
    assert main(["train", *words, "--folder", "run"]) == 0
    about = json.loads(Path("run/run.json").read_text())
    assert about["status"] == "finished"
    measured = [
        one
        for line in Path("run/metrics.jsonl").read_text().splitlines()
        if (one := json.loads(line)).get("kind") == "evaluation"
    ]
    page = re.sub(r"<[^>]+>", " ", Path("run/report.html").read_text(encoding="utf-8"))
    return about["data"], re.sub(r"\s+", " ", page), measured


def shown(page: str, why: Sequence[str], source: str) -> None:
    """The page tells what was used and what was not."""
    assert re.search(rf"Data {source}, 12 records, \d+ of them held out", page)
    assert f"Rows skipped {len(why)}: " in page
    for one in why:
        assert f"{one} (1)" in page


def test_texts_train_on_what_is_left(capsys: pytest.CaptureFixture) -> None:
    path = lines(pairs(*TEXT_FAULTS.values()))
    data, page, measured = report(*TEXTS, "--pairs", path, "--skip-bad")
    assert (data["used"], data["skipped"], data["ties"]) == (12, 4, 0)
    assert set(data["reasons"]) == set(TEXT_FAULTS)
    assert 0 < data["held_out"] < 12
    shown(page, list(TEXT_FAULTS), "mine.jsonl")
    assert "The same prompts before and after" in page
    assert measured[0]["held_out"]["implicit_accuracy"] == 0.5


def test_kto_trains_on_labels(capsys: pytest.CaptureFixture) -> None:
    path = lines(labelled({"label": 2}, {"completion": ""}))
    data, page, measured = report(
        *TEXTS, "--pairs", path, "--skip-bad", "--method.name", "kto", "--optimizer.lr", "0.01"
    )
    assert (data["used"], data["skipped"]) == (24, 2)
    assert "Rows skipped 2: " in page
    first, last = (one["held_out"] for one in measured)
    assert first["accuracy"] == 0.5
    assert first["margin"] == pytest.approx(0, abs=1e-6)
    assert last["margin"] != first["margin"]


def test_pictures_of_one_label_are_refused(refused: Refused) -> None:
    kto = ["portraits_diffusion_kto", *PORTRAITS[1:]]
    assert refused(*kto, "--pairs", singles({"desirable": True}, 24, {"image": BROKEN})) == (
        f"row 2 of mine.parquet: the picture in image {CUT}; "
        "--skip-bad (skip_bad=True) leaves such rows out and counts them"
    )
    said = refused(*kto, "--pairs", singles({"desirable": True}, 24))
    assert said == "the pictures to learn from are all wanted or all unwanted; both are needed"


def test_kto_trains_on_labelled_pictures(capsys: pytest.CaptureFixture) -> None:
    """A third is wanted, so with γ = 0.8 they weigh 2.4, the others 0.3."""
    path = singles({}, 24, {"image": WIDE})
    words = ["portraits_diffusion_kto", *PORTRAITS[1:], "--pairs", path, "--skip-bad"]
    run, _ = build(words[0], words[1:], "test")
    assert isinstance(run.objective, DiffusionKTO)
    assert isinstance(run.source, Labelled)
    data = run.source.data
    assert run.objective.share == pytest.approx(float(data.desirable.double().mean()))
    assert 0.2 < run.objective.share < 0.5
    known = {p: i for i, p in reversed(list(enumerate(portraits.load("train").captions)))}
    first = portraits.load("train").images[[known[p] for p in data.prompts]]
    x0 = data.x0[range(len(data.prompts))]
    torch.testing.assert_close(x0, first, rtol=0, atol=0.005)
    trainer = Trainer(run.model, run.objective, run.source, run.optimizer, Team())
    work, _ = trainer.work(0)
    with torch.no_grad():
        samples = run.source.collect(0, trainer.key, work).samples
        rows = run.objective.ready(samples, work.policy, trainer.key)
    assert len(rows.weight) == 8
    places = [next(j for j, x in enumerate(x0) if torch.equal(x, one)) for one in samples.x0]
    assert len(set(places)) == 8
    encoded = run.model.encode([data.prompts[at] for at in places])
    assert isinstance(samples.cond, torch.Tensor)
    torch.testing.assert_close(samples.cond, encoded)
    share = run.objective.share
    for weight, at in zip(rows.weight.tolist(), places, strict=True):
        wanted = 0.8 / share if data.desirable[at] else 0.2 / (1 - share)
        assert weight == pytest.approx(wanted)
    told, page, _ = report(*words)
    assert (told["used"], told["skipped"]) == (24, 1)
    assert "Rows skipped 1: a picture of the pairs has 32 x 24 pixels" in page


def test_pictures_train_on_what_is_left(capsys: pytest.CaptureFixture) -> None:
    path = pictures(*PICTURE_FAULTS.values(), {"label_0": 0.5})
    data, page, _ = report(*PORTRAITS, "--pairs", path, "--skip-bad")
    assert (data["used"], data["skipped"], data["ties"]) == (12, 3, 1)
    assert "Ties left out 1 " in page
    shown(page, list(PICTURE_FAULTS), "mine.parquet")
