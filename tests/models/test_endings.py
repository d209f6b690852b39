"""An answer ends as the chat template ends it, once; what others say within it is not trained."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AddedToken

import scoreward as sw
from scoreward.core.keys import Key
from scoreward.data.preferences.records import Turns
from scoreward.models.texts.generation import TextSampling, Writer, answer
from scoreward.models.texts.language import LanguageModel
from scoreward.models.texts.loading import LanguageLoading, TinyLlama, byte_tokenizer, prepared
from scoreward.models.texts.tokenization import Tokenization
from scoreward.training.held import unread_of

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% set first = '' %}{% if messages[0]['role'] == 'system' %}"
    "{% set first = messages[0]['content'] | trim + '\n\n' %}{% set messages = messages[1:] %}"
    "{% endif %}{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m['role'] == 'assistant' else 'user' }}\n"
    "{% if loop.first %}{{ first }}{% endif %}{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
LLAMA = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
MARKS = {
    CHATML: ("<|im_start|>", "<|im_end|>"),
    GEMMA: ("<start_of_turn>", "<end_of_turn>"),
    LLAMA: ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
}
ASKED = [{"role": "user", "content": "1+1?"}]
MORE = Turns(
    [
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "+1?"},
        {"role": "assistant", "content": "3"},
    ]
)


def model_of(template: str | None, lenient: bool = False) -> Tokenization:
    """A tokenizer of bytes and the marks of a template."""
    tokenizer = byte_tokenizer()
    if template is not None:
        marks = [AddedToken(mark, special=True) for mark in MARKS[template]]
        tokenizer.add_special_tokens({"additional_special_tokens": marks})
        tokenizer.chat_template = template
    return Tokenization(tokenizer, 256, lenient=lenient)


def bare(text: Tokenization) -> LanguageModel:
    """A model that is never asked."""
    return LanguageModel(torch.nn.Linear(1, 1), text)


def shown(model: Tokenization, prompt: Any, answer: str) -> tuple[int, int, str]:
    """How many tokens, how many trained, and the trained text."""
    one = model.sequence(prompt, answer)
    block = bare(model).padded([one])
    trained = block.token[0][block.mask[0]].tolist()
    assert len(trained) == one.length
    return len(one[0]), len(trained), model.tokenizer.decode(trained)


@pytest.mark.parametrize(
    ("template", "one", "several"),
    [
        (CHATML, (25, 2, "2<|im_end|>"), (50, 4, "2<|im_end|>3<|im_end|>")),
        (GEMMA, (22, 2, "2<end_of_turn>"), (43, 4, "2<end_of_turn>3<end_of_turn>")),
        (LLAMA, (29, 2, "2<|eot_id|>"), (56, 4, "2<|eot_id|>3<|eot_id|>")),
        (None, (24, 2, "2</s>"), None),
    ],
)
def test_the_sequences_of_the_known_shapes(template: str | None, one: Any, several: Any) -> None:
    model = model_of(template)
    assert shown(model, ASKED, "2") == one
    if several:
        assert shown(model, ASKED, MORE) == several


@pytest.mark.parametrize("template", [CHATML, GEMMA, LLAMA])
def test_an_end_is_not_written_twice(template: str) -> None:
    model = model_of(template)
    end = model.tokenizer.decode([model.stops(ASKED)[0]])
    for ended in (f"2{end}", "2</s>"):
        ids, given = model.sequence(ASKED, ended)
        assert len(ids) - given == 2
    text = model.sequence("1+1? ", "2</s>")
    assert text[0] == model.sequence("1+1? ", "2")[0]


def test_a_template_that_trims_trains_what_it_writes() -> None:
    assert shown(model_of(CHATML), ASKED, "  x\n")[1:] == (5, "  x\n<|im_end|>")
    assert shown(model_of(LLAMA), ASKED, "  x\n")[1:] == (2, "x<|eot_id|>")
    assert shown(model_of(GEMMA), ASKED, "  x\n")[1:] == (2, "x<end_of_turn>")


def test_the_start_is_written_once() -> None:
    for template in (GEMMA, LLAMA):
        model = model_of(template)
        start = model.tokenizer.bos_token_id
        assert model.sequence(ASKED, "2")[0].count(start) == 1


@pytest.mark.parametrize("template", [CHATML, GEMMA, LLAMA])
def test_marks_within_an_answer_are_refused(template: str) -> None:
    mark = MARKS[template][0]
    with pytest.raises(ValueError, match="the answer holds the control token"):
        model_of(template).sequence(ASKED, f"2{mark}user")
    with pytest.raises(ValueError, match="the answer holds the control token"):
        model_of(template).sequence("text", f"2{mark}")
    assert model_of(template, lenient=True).sequence(ASKED, f"2{mark}user").length > 2


def test_a_template_that_rewrites_or_hides_answers_is_refused() -> None:
    model = model_of(CHATML)
    model.tokenizer.chat_template = CHATML.replace(
        "{{ m['content'] }}", "{{ m['content'] if loop.last or m['role'] == 'user' else 'x' }}"
    )
    with pytest.raises(ValueError, match="the chat template rewrites earlier turns"):
        model.sequence(ASKED, MORE)
    model = model_of(CHATML)
    model.tokenizer.chat_template = "{% for m in messages %}{{ m['role'] }}{% endfor %}"
    with pytest.raises(ValueError, match="does not write the answer"):
        model.sequence(ASKED, "2")
    with pytest.raises(ValueError, match="needs messages as its prompt"):
        model.sequence("1+1?", MORE)


def test_what_is_cut_has_no_end_and_says_so() -> None:
    model = model_of(CHATML)
    small = replace(model, context=24)
    assert small.sequence(ASKED, "2").cut
    assert small.sequence(ASKED, "2")[0] == model.sequence(ASKED, "2")[0][:24]
    assert not model.sequence(ASKED, "2").cut
    middle = replace(model, context=30)
    several = middle.sequence(ASKED, MORE)
    assert (len(several[0]), several.length) == (30, 2)


def test_all_stops_end_an_answer_and_the_one_drawn_is_kept() -> None:
    """A network that says one token whatever it read."""
    model = TinyLlama(width=16, layers=1, heads=1).build(LanguageLoading(adapters=False))
    network: Any = model.network
    network.generation_config.eos_token_id = [7, 9]
    text = prepared(network, model.text.tokenizer, LanguageLoading(adapters=False), "").text
    assert set(text.stops("a")) == {model.text.tokenizer.eos_token_id, 7, 9}
    assert text.stops("a")[0] == model.text.tokenizer.eos_token_id
    one = TextSampling(temperature=0, max_tokens=3)
    first = answer(network, [[5, 6]], [Key((0,))], one, [])[0].tokens[0]
    (ended,) = answer(network, [[5, 6]], [Key((0,))], one, [first, 9])
    assert (ended.finished, ended.ended_by, list(ended.tokens)) == (True, first, [])
    (open_,) = answer(network, [[5, 6]], [Key((0,))], one, [])
    assert (open_.finished, open_.ended_by) == (False, None)


def test_a_writer_stops_at_the_end_of_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Sequence[int]] = []

    def watched(*given: Any, **more: Any) -> list:
        seen.append(given[4])
        return []

    monkeypatch.setattr("scoreward.models.texts.generation.answers", watched)
    model = model_of(LLAMA)
    Writer().write(bare(model), [ASKED], 0)
    end = model.tokenizer.convert_tokens_to_ids("<|eot_id|>")
    assert list(seen[0]) == [end, model.tokenizer.eos_token_id]


def test_a_run_says_how_many_answers_are_cut(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{i}", "chosen": "a" * 90, "rejected": "b"} for i in range(20)]
    path = tmp_path / "p.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    made = sw.recipe("dpo", on="tiny_llama")
    short = made.run(pairs=path, llama=TinyLlama(width=16, layers=1, heads=1, context=40))
    (said,) = unread_of(short)
    source: Any = short.source
    count = sum(text.cut for text in source.data.references.texts)
    assert count > 10
    assert said.startswith(f"{count} of {2 * count} answers are longer than the context of 40")
    assert unread_of(made.run(pairs=path)) == []
