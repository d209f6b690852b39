"""Sampled answers: greedy as transformers has it, rows independent of each other, the right law."""

from math import sqrt
from typing import Any

import pytest
import torch
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.models.texts.generation import (
    Answer,
    TextSampling,
    Writer,
    answer,
    answers,
    choose,
    left_padded,
)
from scoreward.models.texts.loading import TinyLlama

transformers = pytest.importorskip("transformers")

PROMPTS = [[5, 9, 3], [7], [4, 4, 8, 11, 20, 6], [30, 2 + 10]]
STOP = [2]
KEYS = [Key(("prompt", i)) for i in range(len(PROMPTS))]


@pytest.fixture(scope="module")
def tiny() -> Any:
    """A Llama of random weights in float64, sharp enough that its choices are not close calls."""
    config = transformers.LlamaConfig(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    torch.manual_seed(3)
    return transformers.LlamaForCausalLM(config).double().eval()


def upstream(model: Any, prompt: list[int], count: int) -> list[int]:
    """What `generate` of transformers answers greedily, one prompt at a time, no padding."""
    out = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=count,
        eos_token_id=STOP[0],
        pad_token_id=0,
    )
    return out[0, len(prompt) :].tolist()


def test_greedy_answers_are_those_of_transformers(tiny: Any) -> None:
    found = answer(tiny, PROMPTS, KEYS, TextSampling(temperature=0, max_tokens=20), STOP)
    for prompt, mine in zip(PROMPTS, found, strict=True):
        theirs = upstream(tiny, prompt, 20)
        assert [*mine.tokens, *STOP * mine.finished] == theirs


def test_an_answer_does_not_depend_on_its_neighbours(tiny: Any) -> None:
    """Alone, in a batch with padding, in another order, and beside a second copy of itself."""
    sampling = TextSampling(temperature=2.0, max_tokens=20)
    alone = [answer(tiny, [p], [k], sampling, STOP)[0] for p, k in zip(PROMPTS, KEYS, strict=True)]
    assert len({tuple(a.tokens) for a in alone}) == len(alone)
    assert answer(tiny, PROMPTS, KEYS, sampling, STOP) == alone
    assert answer(tiny, PROMPTS[::-1], KEYS[::-1], sampling, STOP) == alone[::-1]
    twice = answer(tiny, [PROMPTS[0], *PROMPTS], [Key(("other",)), *KEYS], sampling, STOP)
    assert twice[1:] == alone
    assert twice[0] != alone[0]
    assert answers(tiny, PROMPTS, KEYS, sampling, STOP, batch=3) == alone


def test_answers_stop_at_a_stop_token_or_at_the_limit(tiny: Any) -> None:
    sampling = TextSampling(temperature=1.5, max_tokens=30)
    keys = [Key(("many", i)) for i in range(40)]
    found = answer(tiny, [PROMPTS[0]] * 40, keys, sampling, STOP)
    assert {a.finished for a in found} == {True, False}
    for a in found:
        assert STOP[0] not in a.tokens
        assert len(a.tokens) < 30 if a.finished else len(a.tokens) == 30


def test_the_token_is_drawn_from_the_tempered_softmax() -> None:
    """Counts within 5 standard errors: fails by chance with a probability below 1e-5."""
    logits = torch.tensor([[0.3, -1.0, 1.2, 0.0]], dtype=torch.float64)
    draws = 20000
    u = Key(("law",)).uniform(draws, dtype=torch.float64)
    tokens = choose(logits.expand(draws, -1), u, TextSampling(temperature=0.7))
    for token, p in enumerate((logits / 0.7).softmax(-1)[0].tolist()):
        share = (tokens == token).double().mean().item()
        assert abs(share - p) < 5 * sqrt(p * (1 - p) / draws)


@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 0.999])
def test_the_nucleus_is_that_of_transformers(top_p: float) -> None:
    """Many uniforms reach exactly the tokens that upstream's filter leaves, with their shares."""
    logits = 2 * Key(("nucleus",)).normal(1, 300, dtype=torch.float64)
    warp = transformers.TopPLogitsWarper(top_p)
    kept = warp(torch.zeros(1, 1, dtype=torch.long), logits.clone()).softmax(-1)[0]
    u = (torch.arange(40000, dtype=torch.float64) + 0.5) / 40000
    tokens = choose(logits.expand(len(u), -1), u, TextSampling(top_p=top_p))
    shares = torch.bincount(tokens, minlength=300).double() / len(u)
    torch.testing.assert_close(shares, kept, atol=1.5 / len(u), rtol=0)
    assert bool((shares[kept == 0] == 0).all())


def test_the_largest_uniform_picks_a_token_that_can_occur() -> None:
    logits = torch.tensor([[0.0, 1.0, -torch.inf]], dtype=torch.float64)
    u = torch.tensor([1 - 1e-16], dtype=torch.float64)
    assert choose(logits, u, TextSampling()).item() == 1


def test_prompts_are_padded_on_the_left() -> None:
    tokens, real = left_padded([[5, 6], [7]], pad=2)
    assert tokens.tolist() == [[5, 6], [2, 7]]
    assert real.tolist() == [[True, True], [False, True]]


def test_no_gradient_is_kept(tiny: Any) -> None:
    seen: list[Tensor] = []
    handle = tiny.lm_head.register_forward_hook(lambda _m, _i, out: seen.append(out))
    found = answer(tiny, PROMPTS[:1], KEYS[:1], TextSampling(max_tokens=2), STOP)
    handle.remove()
    assert isinstance(found[0], Answer)
    assert not any(x.requires_grad for x in seen)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"temperature": -1.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TextSampling(**settings)  # pyright: ignore[reportArgumentType]


def test_a_prompt_without_tokens_and_a_missing_key_are_refused(tiny: Any) -> None:
    with pytest.raises(ValueError, match="without tokens"):
        answer(tiny, [[]], KEYS[:1], TextSampling(), STOP)
    with pytest.raises(ValueError, match="one key per prompt"):
        answer(tiny, PROMPTS, KEYS[:1], TextSampling(), STOP)


def test_a_writer_gives_texts_that_depend_on_seed_and_prompt_alone() -> None:
    model = TinyLlama(width=32, layers=1).build()
    writer = Writer(TextSampling(max_tokens=6), batch=2)
    texts = writer(model, ["ab", "cde", "ab"], 0)
    assert texts[0] != texts[2]
    assert writer(model, ["cde"], 0) == [texts[1]]
    assert writer(model, ["ab", "ab"], 0) == [texts[0], texts[2]]
    assert writer(model, ["cde"], 1) != [texts[1]]
    assert writer.write(model, ["cde"], 0)[0][0] == texts[1]
