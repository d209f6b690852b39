"""The order in which Curriculum-DPO opens its pairs."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreward.losses.curriculum import curriculum
from tests.margins.diffusion_cases import real

GAPS = real(0.3, 0.01, 0.9, 0.1, 0.5, 0.02, 0.7)  # one is below the least gap


def test_large_gaps_open_first_and_stay_open() -> None:
    """[curriculum-dpo] (schedule)"""
    ordered = [2, 6, 4, 0, 3, 5]
    for update, many in ((0, 2), (499, 2), (500, 4), (1000, 6), (10**6, 6)):
        assert curriculum(GAPS, update, chunks=3).tolist() == ordered[:many]


def test_the_least_gap_of_the_aesthetic_score() -> None:
    assert curriculum(GAPS, 10**6, least=0.2).tolist() == [2, 6, 4, 0]
    assert curriculum(GAPS, 0, least=2.0).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(1, 8))
def test_every_useful_pair_opens_once_and_the_last_chunk_opens_all(
    gaps: list[float], chunks: int
) -> None:
    gap = real(*gaps)
    opened = [curriculum(gap, 10 * i, chunks, every=10).tolist() for i in range(chunks + 1)]
    for before, after in pairwise(opened):
        assert after[: len(before)] == before
    assert sorted(opened[-1]) == [i for i, g in enumerate(gaps) if g >= 0.02]
    assert opened[-2] == opened[-1]
    sizes = [len(o) for o in opened[:chunks]]
    steps = [b - a for a, b in pairwise([0, *sizes])]
    assert max(steps) - min(steps) <= 1


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in ({"update": -1}, {"update": 0, "chunks": 0}, {"update": 0, "every": 0}):
        with pytest.raises(ValueError, match="expected update >= 0"):
            curriculum(GAPS, **wrong)
