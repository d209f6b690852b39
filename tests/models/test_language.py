"""A language model's reading: masks, padding, adapters, saving, and what it refuses."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from scoreward.models.lora import LoRA
from scoreward.models.texts.language import LanguageModel, Said, Wanted
from scoreward.models.texts.loading import (
    LanguageLoading,
    TinyLlama,
    fingerprints,
    load_language,
)
from scoreward.models.weights import Snapshot, Weights

SMALL = TinyLlama(width=32, layers=2, heads=2, context=64)
ADAPTED = LanguageLoading(lora=LoRA(4, 8.0, ("q_proj", "v_proj", "up_proj")))
TEXTS = [("one two ", "three"), ("a", "b"), ("", "alone"), ("count ", "1 2 3 4 5 6 7 8 9")]


def small(loading: LanguageLoading = LanguageLoading(adapters=False)) -> LanguageModel:
    model = SMALL.build(loading)
    model.network.double()
    return model


def asked(model: LanguageModel, width: int = 0, wanted: Wanted | None = None) -> Said:
    rows = model.padded([model.text.sequence(*text) for text in TEXTS], width)
    return model.reading(rows.token, rows.mask, wanted)


@torch.no_grad()
def one_by_one(model: LanguageModel) -> tuple[list[list[float]], list[float], list[float]]:
    """log π of each token, mean entropy and WPO weight, each text alone, token by token."""
    network: Any = model.network
    log_probs, entropies, weights = [], [], []
    for prompt, completion in TEXTS:
        ids, given = model.text.sequence(prompt, completion)
        each, entropy, surprise = [], [], []
        for at in range(given, len(ids)):
            law = network(input_ids=torch.tensor([ids[:at]])).logits[0, -1].softmax(-1)
            each.append(float(law[ids[at]].log()))
            entropy.append(float(-(law * law.log()).sum() / torch.tensor(len(law)).log()))
            surprise.append(each[-1] - float(law.square().sum().log()))
        log_probs.append(each)
        entropies.append(sum(entropy) / len(entropy))
        weights.append(float(torch.tensor(surprise, dtype=torch.float64).mean().exp()))
    return log_probs, entropies, weights


def test_a_batch_says_what_single_texts_say_token_by_token() -> None:
    model = small()
    said = asked(model, wanted=Wanted(entropy=True, weight=True))
    rows = model.padded([model.text.sequence(*text) for text in TEXTS])
    log_probs, entropies, weights = one_by_one(model)
    for row, each in enumerate(log_probs):
        found = said.log_prob[row][rows.mask[row]]
        torch.testing.assert_close(found, torch.tensor(each, dtype=torch.float64))
    assert said.entropy is not None
    assert said.weight is not None
    torch.testing.assert_close(said.entropy, torch.tensor(entropies, dtype=torch.float64))
    torch.testing.assert_close(said.weight, torch.tensor(weights, dtype=torch.float64))


def test_outside_completions_there_is_nothing() -> None:
    model = small()
    rows = model.padded([model.text.sequence(*text) for text in TEXTS])
    assert not asked(model).log_prob[~rows.mask].any()


def test_padding_changes_nothing() -> None:
    model = small()
    near, wide = asked(model), asked(model, 60)
    width = near.log_prob.shape[1]
    torch.testing.assert_close(wide.log_prob[:, :width], near.log_prob, rtol=0, atol=1e-12)
    assert not wide.log_prob[:, width:].any()


def test_the_mask_is_the_completion_and_its_end() -> None:
    model = small()
    ids, given = model.text.sequence("ab", "cd")
    assert ids[-1] == model.text.tokenizer.eos_token_id
    assert model.text.tokenizer.decode(ids[given:-1]) == "cd"
    rows = model.padded([(ids, given)], len(ids) + 3)
    assert rows.mask[0].tolist() == [False] * given + [True] * 3 + [False] * 3
    assert rows.lengths().tolist() == [3]


def test_a_prompt_of_nothing_still_has_a_token_before_the_completion() -> None:
    ids, given = small().text.sequence("", "x")
    assert (given, len(ids)) == (1, 3)


def test_completions_are_cut_at_the_end_and_long_prompts_refused() -> None:
    model = small()
    ids, given = model.text.sequence("p" * 60, "q" * 60)
    assert (given, len(ids)) == (60, 64)
    with pytest.raises(ValueError, match=r"64 tokens, which leaves no room .* context of 64"):
        model.text.sequence("p" * 64, "q")


def test_messages_go_through_the_template() -> None:
    model = small()
    assert model.text.rendered([{"role": "user", "content": "hi"}]) == "user: hi\nassistant: "
    model.text.tokenizer.chat_template = None
    with pytest.raises(ValueError, match="no chat template, so a prompt must be text"):
        model.text.rendered([{"role": "user", "content": "hi"}])


def test_a_head_with_something_behind_it_is_noticed() -> None:
    """Soft-capped or scaled logits: the reading then takes the model's own."""
    from transformers import Gemma2Config, Gemma2ForCausalLM

    from scoreward.models.texts.loading import byte_tokenizer, prepared

    tokenizer = byte_tokenizer()
    sizes: Any = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "head_dim": 8}
    config = Gemma2Config(
        vocab_size=len(tokenizer),
        num_attention_heads=2,
        num_key_value_heads=1,
        final_logit_softcapping=0.05,
        **sizes,
    )
    model = prepared(
        Gemma2ForCausalLM(config), tokenizer, LanguageLoading(adapters=False), "capped"
    )
    model.network.double()
    assert not model.plain
    log_probs, _, _ = one_by_one(model)
    said = asked(model).log_prob
    torch.testing.assert_close(said.sum(1), torch.tensor([sum(e) for e in log_probs]).double())


def test_adapters_off_is_the_base_model_and_costs_adapters_only() -> None:
    base, adapted = small(), small(ADAPTED)
    weights = Weights(adapted.network)
    weights.commit("reference")
    reference = Snapshot(adapted.reading, weights, "reference")
    with torch.no_grad():
        for parameter in weights.parameters.values():
            parameter.add_(0.1)
    weights.stepped()
    rows = base.padded([base.text.sequence(*text) for text in TEXTS])
    expected = base.reading(rows.token, rows.mask, None).log_prob
    torch.testing.assert_close(reference(rows.token, rows.mask, None).log_prob, expected)
    moved = adapted.reading(rows.token, rows.mask, None).log_prob
    assert (moved - expected).abs().max() > 1e-3
    kept = sum(t.numel() for t in weights.snapshot("reference").values())
    assert kept < 0.2 * sum(p.numel() for p in base.network.parameters())


def test_the_reference_carries_no_gradient() -> None:
    model = small(ADAPTED)
    weights = Weights(model.network)
    weights.commit("reference")
    rows = model.padded([model.text.sequence(*text) for text in TEXTS])
    said = Snapshot(model.reading, weights, "reference")(rows.token, rows.mask, None)
    assert not said.log_prob.requires_grad
    assert model.reading(rows.token, rows.mask, None).log_prob.requires_grad


def test_merged_weights_load_elsewhere_and_say_the_same(tmp_path: Path) -> None:
    model = small(ADAPTED)
    model.network.float()
    weights = Weights(model.network)
    with torch.no_grad():
        for parameter in weights.parameters.values():
            parameter.add_(0.05)
    rows = model.padded([model.text.sequence(*text) for text in TEXTS])
    expected = model.reading(rows.token, rows.mask, None).log_prob.detach()
    assert model.save is not None
    model.save({n: p.detach() for n, p in weights.parameters.items()}, tmp_path, True)
    again = load_language(str(tmp_path), LanguageLoading(adapters=False))
    found = again.reading(rows.token, rows.mask, None).log_prob
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_fingerprints_tell_what_differs() -> None:
    def of(model: LanguageModel) -> dict[str, str]:
        weights = Weights(model.network)
        weights.commit("reference")
        return fingerprints(model, weights.snapshot("reference"))

    base, adapted = of(small()), of(small(ADAPTED))
    assert of(small()) == base
    other = small()
    with torch.no_grad():
        next(other.network.parameters()).view(-1)[7] += 1e-6
    assert of(other)["reference weights"] != base["reference weights"]
    templated = small()
    templated.text.tokenizer.chat_template = "{{ messages }}"
    assert of(templated)["chat template"] != base["chat template"]
    assert of(templated)["reference weights"] == base["reference weights"]
    fresh = small(LanguageLoading(lora=LoRA(8, 8.0, ("q_proj",))))
    assert of(fresh)["truncation"] == adapted["truncation"]


def test_guidance_is_refused_in_words() -> None:
    model = small()
    with pytest.raises(ValueError, match="set `guidance` to 1"):
        model.guided(model.reading, 2.0)
    assert model.guided(model.reading, 1.0) == model.reading


def test_a_merged_model_has_the_kind_of_number_that_came_in(tmp_path: Path) -> None:
    """Weights of 16 bits were written in 32: twice the size."""
    first = small(LanguageLoading(adapters=False))
    network: Any = first.network
    network.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    first.text.tokenizer.save_pretrained(tmp_path / "half")
    model = load_language(str(tmp_path / "half"), ADAPTED)
    assert next(model.network.parameters()).dtype == torch.float32
    weights = Weights(model.network).parameters
    assert model.save is not None
    model.save({n: p.detach() for n, p in weights.items()}, tmp_path / "whole", True)
    stored = load_file(tmp_path / "whole" / "model.safetensors")
    assert {t.dtype for t in stored.values()} == {torch.bfloat16}
    again = load_language(str(tmp_path / "whole"), ADAPTED)
    config: Any = again.network.config
    assert config is not None
    size = [(tmp_path / f / "model.safetensors").stat().st_size for f in ("half", "whole")]
    assert abs(size[0] - size[1]) < 4096
