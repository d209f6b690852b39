"""What language runs are trained and measured on: the built-in checks, and prompts of a file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import config

from scoreward.data import instructions
from scoreward.data.preferences import builtin
from scoreward.data.preferences.files import write
from scoreward.data.preferences.records import TextBinary, TextPair, said
from scoreward.data.preferences.sorting import split
from scoreward.losses.methods import DPO
from scoreward.methods.texts import Cached, HeldOutTexts, TextSettings, on_texts
from scoreward.models.texts.loading import TinyLlama
from scoreward.tasks.text_data import TextFile, built_in, from_file, score, success
from scoreward.training.evaluations.texts import LabelledEvaluation
from scoreward.training.geometry import Geometry
from scoreward.training.run import Budget
from scoreward.training.sources.texts import LabelledSource

LLAMA = TinyLlama(width=32, layers=1, heads=2, context=256)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `datasets` keeps of files, and the reference's numbers, go where pytest cleans up."""
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setenv("SCOREWARD_CACHE", str(tmp_path / "cache"))


def test_the_built_in_pairs_are_measured_on_prompts_never_trained_on() -> None:
    model = LLAMA.build()
    data = built_in(model, HeldOutTexts(prompts=20))
    assert data.train == builtin.instruction_pairs("train")
    assert data.held_out == builtin.instruction_pairs("validation")
    assert data.writing is not None
    asked = [said(prompt) for prompt in data.writing.prompts]
    tests = {task.prompt for task in instructions.split("test")}
    assert len(set(asked)) == 20
    assert set(asked) <= tests
    topics = {instructions.task_of(prompt).topic for prompt in asked}
    assert len(topics) > 10  # not the first few of a sorted list
    told: Any = data.facts["data"]
    groups = sum(len(builtin.instruction_groups(s)) for s in ("train", "validation"))
    assert told["used"] + told["ties"] == groups
    assert (told["held_out"], told["skipped"]) == (len(data.held_out), 0)
    tuned = built_in(model, HeldOutTexts(prompts=5, split="validation")).writing
    assert tuned is not None
    assert not {said(prompt) for prompt in tuned.prompts} & tests


def test_answers_are_judged_by_the_task_in_the_rendered_prompt() -> None:
    model = LLAMA.build()
    task = next(t for t in instructions.split("test") if t.constraints[0].name == "no commas")
    good = f"I would say that {task.topic} is very nice."
    bad = f"I would say, in short, that {task.topic}, yes, is nice."
    prompts = [model.text.rendered(builtin.asked(task.prompt))] * 3
    assert success([good, bad, ""], prompts).tolist() == [1.0, 0.0, 0.0]
    assert score([good, bad, ""], prompts).tolist() == pytest.approx([1.0, 0.0, 0.0])


def test_a_run_writes_answers_and_has_them_judged(tmp_path: Path) -> None:
    model, held_out = LLAMA.build(), HeldOutTexts(pairs=4, every=1, prompts=3, tokens=4)
    data = built_in(model, held_out)
    data = replace(data, train=data.train[:4])
    sizes = TextSettings(Geometry(prompts=4, group=1), budget=Budget(rounds=1))
    run = on_texts("checked", model, data, DPO(), sizes, held_out, Cached(tmp_path / "reference"))
    moments = list(replace(run, folder=tmp_path / "run").start())
    measured = [m.evaluation["held_out"] for m in moments if m.evaluation is not None]
    assert len(measured) == 2
    for numbers in measured:
        assert 0 <= numbers["success"] <= numbers["score"] <= 1
        assert numbers["written_length"] >= 0


def test_a_files_prompts_are_split_by_their_text(tmp_path: Path) -> None:
    pairs = [TextPair(f"say {i // 2}: ", f"it is {i}", "no") for i in range(80)]
    write(tmp_path / "p.parquet", pairs)
    held_out = HeldOutTexts(share=0.2, pairs=7, prompts=3, tokens=8)
    data = from_file(TextFile(tmp_path / "p.parquet"), LLAMA.build(), held_out)
    kept, out = split(pairs, 0.2)
    assert data.train == [pairs[i] for i in kept]
    assert data.held_out == [pairs[i] for i in out[:7]]
    assert data.writing is not None
    first = dict.fromkeys(pairs[i].prompt for i in out[:7])
    assert list(data.writing.prompts) == list(first)[:3]
    assert data.facts["data"]["used"] == len(data.train) + 7


def test_prompts_that_leave_no_room_for_an_answer_are_not_written_to(tmp_path: Path) -> None:
    held_out = HeldOutTexts(prompts=2, tokens=8)
    model = LLAMA.build()
    model = replace(model, text=replace(model.text, context=64))
    found = held_out.writing(model, ["p" * 57, "p" * 56, "p", "q"], {})
    assert found is not None
    assert list(found.prompts) == ["p" * 56, "p"]
    assert held_out.writing(model, ["p" * 57], {}) is None
    assert HeldOutTexts(prompts=0).writing(model, ["p"], {}) is None


def test_labels_of_one_kind_cannot_be_told_apart() -> None:
    source = LabelledSource(LLAMA.build(), [TextBinary("a", t, True) for t in ("b", "c")])
    with pytest.raises(ValueError, match="are all wanted or all unwanted"):
        LabelledEvaluation(source)
