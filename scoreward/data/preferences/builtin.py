"""Preferences that come with the library: answers of a small language model, labelled by program.

SmolLM2-135M-Instruct answered each instruction of `scoreward.data.instructions` six times
(`tools/instructions/make.py`); the checkers scored the answers. What the model did not end within
48 tokens is left out. Pairs are made from the scores: best against worst, every pair above a gap,
or statistical rejection sampling.
"""

import gzip
import json
from collections.abc import Sequence
from functools import lru_cache, partial
from importlib.resources import files
from itertools import chain, combinations, count

import torch

from scoreward.core.keys import Key
from scoreward.data.preferences.records import TextGroup, TextPair
from scoreward.data.preferences.tables import Row
from scoreward.losses.rejection import accept, extremes

SOURCE = "instruction checkers"
GAP = 0.1  # of scores in [0, 1], below which two answers count as equal; ours


@lru_cache(maxsize=1)
def _rows() -> tuple[Row, ...]:
    packed = files("scoreward") / "assets" / "instructions" / "groups.jsonl.gz"
    lines = gzip.decompress(packed.read_bytes()).decode().splitlines()
    return tuple(json.loads(line) for line in lines)


def asked(instruction: str) -> tuple[dict[str, str]]:
    """An instruction as the message that a chat model is asked."""
    return ({"role": "user", "content": instruction},)


def instruction_groups(split: str = "train") -> list[TextGroup]:
    """The distinct finished answers to each prompt with their scores in [0, 1]."""
    if split not in ("train", "validation"):
        raise ValueError(
            f"expected the split train or validation, got {split!r}; the test split has prompts "
            f"only: `instructions.split('test')`"
        )
    return [
        TextGroup(
            asked(row["prompt"]), tuple(row["completions"]), tuple(row["rewards"]), f"{split}-{i}"
        )
        for i, row in enumerate(r for r in _rows() if r["split"] == split)
    ]


def instruction_pairs(split: str = "train", gap: float = GAP) -> list[TextPair]:
    """Best against worst of each prompt."""
    return best_pairs(instruction_groups(split), gap)


def best_pairs(groups: Sequence[TextGroup], gap: float = GAP) -> list[TextPair]:
    """Best against worst of each group, where they are further apart than `gap`."""
    return [
        _pair(group, *extremes(group.rewards, range(len(group.rewards))))
        for group in groups
        if spread(group.rewards) > gap
    ]


def all_pairs(groups: Sequence[TextGroup], gap: float = GAP) -> list[TextPair]:
    """Every pair of answers to one prompt whose scores are further apart than `gap`."""
    return [
        _pair(group, *sorted(two, key=lambda i: -group.rewards[i]))
        for group in groups
        for two in combinations(range(len(group.rewards)), 2)
        if spread([group.rewards[i] for i in two]) > gap
    ]


def accepted_pairs(
    groups: Sequence[TextGroup], key: Key, temperature: float = 0.5, keep: int = 4, gap: float = GAP
) -> list[TextPair]:
    """Best against worst of `keep` answers taken by rejection sampling.  [rso] (sampling)"""
    found: list[TextPair] = []
    for group in groups:
        own = key / group.id
        blocks = ((own / block).uniform(64, dtype=torch.float64).tolist() for block in count())
        draws = chain.from_iterable(blocks)
        taken = accept(group.rewards, temperature, keep, partial(next, draws))
        if len(taken) > 1 and spread([group.rewards[i] for i in taken]) > gap:
            found.append(_pair(group, *extremes(group.rewards, taken)))
    return found


def spread(rewards: Sequence[float]) -> float:
    """Largest minus smallest; 0 for none."""
    return max(rewards) - min(rewards) if rewards else 0.0


def _pair(group: TextGroup, winner: int, loser: int) -> TextPair:
    return TextPair(
        group.prompt,
        group.completions[winner],
        group.completions[loser],
        group.rewards[winner],
        group.rewards[loser],
        f"{group.id}-{winner}-{loser}",
        SOURCE,
    )
