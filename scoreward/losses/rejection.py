"""Pairs from many candidates of one prompt, by statistical rejection sampling."""

from collections.abc import Callable, Sequence
from math import exp
from random import random


def accept(
    reward: Sequence[float], temperature: float, count: int, draw: Callable[[], float] = random
) -> list[int]:
    """Indices of at most `count` accepted candidates, in order of acceptance.  [rso] (sampling)

    A candidate is accepted with probability exp((r − max)/temperature), max over what is left at
    the start of a sweep; sweeps go on until `count` are accepted or none is left. Low temperatures
    give the best, high ones a random choice. `draw` gives uniform numbers within [0, 1).
    """
    if not temperature > 0:
        raise ValueError(f"expected temperature > 0, got {temperature}")
    accepted: list[int] = []
    left = list(range(len(reward)))
    while left and len(accepted) < count:
        best = max(reward[i] for i in left)
        for i in tuple(left):
            if len(accepted) < count and draw() < exp((reward[i] - best) / temperature):
                accepted.append(i)
                left.remove(i)
    return accepted


def extremes(reward: Sequence[float], among: Sequence[int]) -> tuple[int, int]:
    """The best and the worst of the candidates `among`, as winner and loser."""
    if len(among) < 2:
        raise ValueError(f"a pair needs at least two candidates, got {len(among)}")
    best, worst = max(among, key=lambda i: reward[i]), min(among, key=lambda i: reward[i])
    if not reward[best] > reward[worst]:
        raise ValueError(f"all candidates have the reward {reward[best]:g}; drop this prompt")
    return best, worst
