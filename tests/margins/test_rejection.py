"""Rejection sampling of candidates."""

from math import exp

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scoreward.losses.rejection import accept, extremes

REWARDS = [0.9, 0.5, 0.1, 0.7]


def test_a_known_trace() -> None:
    """[rso] (sampling)"""
    draws = iter([0.10, 0.60, 0.30, 0.90, 0.20, 0.50, 0.40])
    assert accept(REWARDS, 0.5, 3, lambda: next(draws)) == [0, 1, 3]
    assert list(draws) == []


@pytest.mark.parametrize(
    ("temperature", "expected"),
    [
        (0.2, (1, 0.135335, 0.018316, 0.367879)),
        (0.5, (1, 0.449329, 0.201897, 0.670320)),
        (1.0, (1, 0.670320, 0.449329, 0.818731)),
    ],
)
def test_the_chance_of_a_first_sweep_is_known(temperature: float, expected: tuple) -> None:
    """A draw just below the chance accepts, one just above does not."""
    for i, chance in enumerate(expected):
        near = {True: chance - 1e-6, False: min(chance + 1e-6, 1.0)}
        for accepted, value in near.items():
            draws = iter([1.0] * i + [value] + [0.0] * 20)
            first = accept(REWARDS, temperature, 1, lambda d=draws: next(d))
            assert (first == [i]) == accepted


def test_frequencies_follow_the_chances() -> None:
    """With one candidate wanted of two: the first is the best and always taken, or comes second."""
    generator = torch.Generator().manual_seed(0)

    def draw() -> float:
        return torch.rand((), generator=generator).item()

    runs = 4000
    worse = sum(accept([0.0, 1.0], 0.7, 1, draw) == [0] for _ in range(runs)) / runs
    chance = exp(-1 / 0.7)
    assert worse == pytest.approx(chance, abs=4 * (chance * (1 - chance) / runs) ** 0.5)


@given(st.lists(st.floats(-5, 5), max_size=8), st.integers(0, 10), st.floats(1e-3, 1e3))
def test_what_is_accepted_is_distinct_and_enough(
    rewards: list, count: int, temperature: float
) -> None:
    found = accept(rewards, temperature, count)
    assert len(found) == len(set(found)) == min(count, len(rewards))


def test_a_low_temperature_takes_the_best() -> None:
    assert accept(REWARDS, 1e-4, 2) == [0, 3]


def test_extremes_are_the_best_and_the_worst_of_those_accepted() -> None:
    assert extremes(REWARDS, [1, 3, 0]) == (0, 1)


def test_what_makes_no_pair_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two candidates, got 1"):
        extremes(REWARDS, [1])
    with pytest.raises(ValueError, match=r"all candidates have the reward 0\.5"):
        extremes([0.5, 0.5], [0, 1])
    with pytest.raises(ValueError, match="temperature > 0, got 0"):
        accept(REWARDS, 0.0, 1)
