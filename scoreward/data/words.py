"""Prompts as word vectors: one averaged vector per phrase.

A prompt is split into phrases at commas and at "with", "and", "wearing", "in"; a phrase's vector is
the mean of the static vectors of its words, divided by its standard deviation, so that every
phrase has unit scale. The vectors are the rows of wordllama's table that our words need.
"""

import json
import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files

import torch
from jaxtyping import Float
from safetensors.torch import load as load_safetensors
from torch import Tensor

DIM = 256
IGNORED = frozenset(
    {"a", "an", "the", "of", "is", "are", "has", "have", "his", "her", "their", "this", "that"}
    | {"who", "very", "picture", "portrait", "avatar"}
)
SYNONYMS: dict[str, str] = {
    "blonde": "blond",
    "grey": "gray",
    "smiling": "happy",
    "cheerful": "happy",
    "unhappy": "sad",
    "frowning": "sad",
    "man": "person",
    "woman": "person",
    "boy": "person",
    "girl": "person",
    "face": "person",
    "cap": "hat",
    "sweater": "shirt",
    "top": "shirt",
    "haired": "hair",
    "earring": "earrings",
    "eyeglasses": "glasses",
    "spectacles": "glasses",
    "transparent": "clear",
}
_ABSENT = re.compile(r"\b(?:without|no)\b")
_BREAK = re.compile(r"[,;.:]|\b(?:with|and|wearing|in)\b")
_WORD = re.compile(r"[^\W\d_]+")


class UnknownWord(ValueError):
    """A prompt has a word without a vector."""


def phrases(prompt: str) -> list[tuple[str, ...]]:
    """The words of each phrase: lower case, synonyms replaced, articles left out.

    A phrase of something absent ("no hat", "without glasses") begins with "no".
    """
    marked = _ABSENT.sub(" , no ", prompt.lower())
    spoken: list[list[str]] = [_WORD.findall(part) for part in _BREAK.split(marked)]
    found = [tuple(SYNONYMS.get(w, w) for w in part if w not in IGNORED) for part in spoken]
    return [words for words in found if words and words != ("no",)]


@lru_cache(maxsize=1)
def _table() -> tuple[Float[Tensor, "rows dim"], dict[str, list[int]]]:
    """The vectors, and the rows that make up each word (rare words have several)."""
    folder = files("scoreward") / "assets" / "portraits"
    rows = json.loads((folder / "words.json").read_text())
    return load_safetensors((folder / "words.safetensors").read_bytes())["vectors"].float(), rows


def known_words() -> list[str]:
    """Every word a prompt may use."""
    return sorted({*_table()[1], *IGNORED, *SYNONYMS})


@lru_cache(maxsize=4096)
def _vector(words: tuple[str, ...]) -> Float[Tensor, "dim"]:
    vectors, rows = _table()
    mean = vectors[[row for word in words for row in rows[word]]].mean(0)
    return mean / mean.std(correction=0)


@lru_cache(maxsize=65536)
def _encode(prompt: str, tokens: int) -> Float[Tensor, "tokens dim"]:
    found = [words for words in phrases(prompt) if words[0] != "no"]
    for word in (word for words in found for word in words):
        if word not in _table()[1]:
            near = get_close_matches(word, known_words(), n=3, cutoff=0.0)
            nearest = ", ".join(f'"{w}"' for w in near)
            raise UnknownWord(
                f'unknown word "{word}" in prompt "{prompt}"; the nearest known words are {nearest}'
            )
    if len(found) > tokens:
        raise ValueError(
            f'the prompt "{prompt}" has {len(found)} phrases and the model reads {tokens}; '
            f"say less, or join phrases"
        )
    out = torch.zeros(tokens, DIM)
    for i, words in enumerate(found):
        out[i] = _vector(words)
    return out


def encode(prompts: Sequence[str], tokens: int = 6) -> Float[Tensor, "batch tokens dim"]:
    """One vector per phrase, padded with zeros; the empty prompt is all zeros.

    What is absent gets no vector: in the captions too, a hat that is not worn is not mentioned.
    """
    if isinstance(prompts, str):
        raise ValueError(
            f'expected a list of prompts, got the string "{prompts}"; put it in a list'
        )
    if not prompts:
        return torch.zeros(0, tokens, DIM)
    return torch.stack([_encode(prompt, tokens) for prompt in prompts])
