"""Answers of a causal language model, sampled in batches.

Prompts are padded on the left and keys and values are cached. Every row draws its own uniform
numbers from its own address, so an answer does not depend on the rows beside it (up to the
rounding of a batched product), on the batch size or on the order of calls.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scoreward.core.device import placed, wide
from scoreward.core.keys import Key
from scoreward.data.preferences.records import Prompt
from scoreward.models.texts.language import LanguageModel

CANDIDATES = 64  # first guess at how many tokens hold the nucleus; doubled until they do; ours
CACHES = ("cache", "past_key_values")  # the second until transformers 5


@dataclass(frozen=True)
class TextSampling:
    """How tokens are drawn. The defaults draw from the model itself."""

    temperature: float = 1.0  # 0 is greedy
    top_p: float = 1.0  # the smallest set of tokens with at least this mass
    max_tokens: int = 48  # an answer is cut here

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"`temperature` must be at least 0 (greedy), got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"`top_p` must lie within (0, 1], got {self.top_p}")
        if self.max_tokens < 1:
            raise ValueError(f"`max_tokens` must be at least 1, got {self.max_tokens}")


@dataclass(frozen=True)
class Answer:
    """The tokens of one answer without the stop token, and whether the model ended it itself."""

    tokens: Sequence[int]
    finished: bool
    ended_by: int | None = None  # the stop token that was drawn


def choose(
    logits: Float[Tensor, "batch vocab"], uniform: Float[Tensor, "batch"], sampling: TextSampling
) -> Int[Tensor, "batch"]:
    """One token a row by inverting the cumulative distribution at `uniform` in [0, 1)."""
    if sampling.temperature == 0:
        return logits.argmax(-1)
    probability = wide(torch.softmax(logits.float() / sampling.temperature, -1))
    if sampling.top_p == 1.0:
        return _invert(probability, uniform)
    kept, tokens = nucleus(probability, sampling.top_p)
    return tokens.gather(1, _invert(kept, uniform)[:, None]).squeeze(1)


def nucleus(
    probability: Float[Tensor, "batch vocab"], top_p: float
) -> tuple[Float[Tensor, "batch kept"], Int[Tensor, "batch kept"]]:
    """The likeliest tokens up to the one that brings their mass to `top_p`; zero beyond it."""
    vocabulary = probability.shape[-1]
    count = min(CANDIDATES, vocabulary)
    best, tokens = probability.topk(count, -1)
    while count < vocabulary and bool((best.sum(-1) < top_p).any()):
        count = min(2 * count, vocabulary)
        best, tokens = probability.topk(count, -1)
    before = best.cumsum(-1) - best
    return torch.where(before < top_p, best, torch.zeros_like(best)), tokens


def _invert(
    weight: Float[Tensor, "batch vocab"], uniform: Float[Tensor, "batch"]
) -> Int[Tensor, "batch"]:
    """The first index whose cumulative weight exceeds the uniform share of the total."""
    total = weight.cumsum(-1)
    share = uniform.to(total)[:, None] * total[:, -1:]
    last = (weight > 0).long() * torch.arange(weight.shape[-1], device=weight.device)
    return torch.minimum(torch.searchsorted(total, share, right=True).squeeze(1), last.amax(-1))


def left_padded(
    prompts: Sequence[Sequence[int]], pad: int
) -> tuple[Int[Tensor, "batch length"], Bool[Tensor, "batch length"]]:
    """Token rows that end together, and where they are real."""
    if not prompts or min(len(p) for p in prompts) == 0:
        raise ValueError("a prompt without tokens has nothing to continue; every row needs one")
    length = max(len(p) for p in prompts)
    rows = [[pad] * (length - len(p)) + list(p) for p in prompts]
    real = [[False] * (length - len(p)) + [True] * len(p) for p in prompts]
    return torch.tensor(rows), torch.tensor(real)


@dataclass(frozen=True)
class State:
    """What the model has read: the mask of it, keys and values, logits of the next token."""

    seen: Bool[Tensor, "batch length"]
    memory: Mapping[str, Any]  # keys and values, under the name the model gives them
    logits: Float[Tensor, "batch vocab"]

    def rows(self, index: Int[Tensor, "kept"]) -> "State":
        """Some rows, in this order, some perhaps more than once; changes the memory in place."""
        for cache in self.memory.values():
            cache.batch_select_indices(index)
        return State(self.seen[index], self.memory, self.logits[index])


def read(
    model: Any,
    tokens: Int[Tensor, "batch new"],
    seen: Bool[Tensor, "batch length"],
    memory: Mapping[str, Any],
) -> State:
    """The state after `tokens`, the last ones that `seen` covers."""
    position = (seen.long().cumsum(-1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
    out = model(
        input_ids=tokens,
        attention_mask=seen.long(),
        position_ids=position,
        use_cache=True,
        logits_to_keep=1,
        **memory,
    )
    name = next(name for name in CACHES if name in out)
    return State(seen, {name: out[name]}, out.logits[:, -1])


@torch.no_grad()
def answer(
    model: Any,  # a transformers causal LM
    prompts: Sequence[Sequence[int]],
    keys: Sequence[Key],
    sampling: TextSampling,
    stop: Sequence[int],
) -> list[Answer]:
    """One answer for each prompt, drawn with the key of its row; stops at any token of `stop`."""
    if len(prompts) != len(keys):
        raise ValueError(
            f"expected one key per prompt, got {len(prompts)} prompts, {len(keys)} keys"
        )
    device = next(model.parameters()).device
    order = {tuple(p): i for i, p in enumerate(dict.fromkeys(tuple(p) for p in prompts))}
    tokens, real = (x.to(device) for x in left_padded(list(order), stop[0] if stop else 0))
    place = torch.tensor([order[tuple(p)] for p in prompts], device=device)
    uniform = torch.stack([k.uniform(sampling.max_tokens, dtype=torch.float64) for k in keys])
    ends = torch.tensor(list(stop), device=device, dtype=torch.long)
    drawn: list[list[int]] = [[] for _ in prompts]
    ended: list[int | None] = [None] * len(prompts)
    state = read(model, tokens, real, {}).rows(place)  # a prompt asked twice is read once
    left = torch.arange(len(prompts))  # rows of `state` in the order of `prompts`
    for step in range(sampling.max_tokens):
        new = choose(state.logits, placed(uniform[left, step], device), sampling)
        going = ~torch.isin(new, ends)
        for row, token, on in zip(left.tolist(), new.tolist(), going.tolist(), strict=True):
            ended[row] = None if on else token
            drawn[row] += [token] * on
        if step + 1 == sampling.max_tokens or not bool(going.any()):
            break
        if not bool(going.all()):
            keep = going.nonzero().squeeze(1)
            left, new, state = left[keep.cpu()], new[keep], state.rows(keep)
        seen = torch.cat([state.seen, torch.ones_like(state.seen[:, :1])], 1)
        state = read(model, new[:, None], seen, state.memory)
    return [Answer(t, e is not None, e) for t, e in zip(drawn, ended, strict=True)]


def answers(
    model: Any,
    prompts: Sequence[Sequence[int]],
    keys: Sequence[Key],
    sampling: TextSampling,
    stop: Sequence[int],
    batch: int = 32,
    done: Callable[[int], None] = lambda _: None,
) -> list[Answer]:
    """Answers of any number of prompts, `batch` at a time, those of like length together."""
    if batch < 1:
        raise ValueError(f"`batch` must be at least 1, got {batch}")
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    found: dict[int, Answer] = {}
    for part in (order[i : i + batch] for i in range(0, len(order), batch)):
        made = answer(model, [prompts[i] for i in part], [keys[i] for i in part], sampling, stop)
        found.update(zip(part, made, strict=True))
        done(len(found))
    return [found[i] for i in range(len(prompts))]


@dataclass(frozen=True)
class Writer:
    """One text a prompt from a language model, drawn with an address of seed and prompt.

    A prompt that occurs several times gets several answers.
    """

    sampling: TextSampling = TextSampling(0.8, 0.95)
    batch: int = 64  # memory only

    def __call__(self, model: LanguageModel, prompts: Sequence[Prompt], seed: int) -> list[str]:
        """The texts, as `training.evaluations.texts` wants them."""
        return [text for text, _ in self.write(model, prompts, seed)]

    def write(
        self, model: LanguageModel, prompts: Sequence[Prompt], seed: int
    ) -> list[tuple[str, bool]]:
        """Texts, and whether the model ended them itself."""
        rendered = [model.text.rendered(p) for p in prompts]
        seen: Counter[str] = Counter()
        keys: list[Key] = []
        for text in rendered:
            keys.append(Key(("writing", seed, text, seen[text])))
            seen[text] += 1
        ids = [model.text.prompt_tokens(p) for p in prompts]
        stop = list(dict.fromkeys(token for p in prompts for token in model.text.stops(p)))
        found = answers(model.network, ids, keys, self.sampling, stop, self.batch)
        return [(model.text.tokenizer.decode(list(a.tokens)).strip(), a.finished) for a in found]
