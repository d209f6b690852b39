"""Means, intervals, ratios and crossings against values computed by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreward.verdict.statistics import (
    banded,
    common_grid,
    estimate,
    first_reach,
    ratio,
    resampled,
    value_at,
)

X = np.array([0.0, 100.0, 200.0, 300.0])
RISE = np.array([0.0, 0.6, 0.2, 0.8])


def test_two_seeds_span_their_own_interval() -> None:
    """A resample is the lower seed twice with probability 1/4, far above 2.5 %."""
    found = estimate([1.0, 4.0])
    assert (found.mean, found.interval, found.seeds) == (2.5, (1.0, 4.0), 2)


def test_the_interval_of_four_seeds_is_that_of_a_binomial_law() -> None:
    """Means of (0, 0, 0, 4) are Binomial(4, 1/4): P(≤ 2) = 0.949 and P(≤ 3) = 0.996."""
    found = estimate([0.0, 0.0, 0.0, 4.0])
    assert (found.mean, found.interval) == (1.0, (0.0, 3.0))


def test_resamples_have_the_mean_and_the_spread_of_the_bootstrap_law() -> None:
    """Variance of a resampled mean: the seeds' own variance over their number."""
    values = np.array([1.0, 2.0, 4.0, 9.0])
    means = resampled(values[:, None], np.random.default_rng(0))[:, 0]
    assert means.mean() == pytest.approx(4.0, abs=0.08)
    assert means.var() == pytest.approx(values.var() / 4, rel=0.06)


def test_one_seed_has_a_mean_and_no_interval() -> None:
    found = estimate([0.7])
    assert (found.mean, found.interval) == (0.7, None)
    assert found.overlaps(estimate([0.1, 0.9])) is None


def test_intervals_overlap_if_they_share_a_value() -> None:
    low, middle, high = estimate([1.0, 2.0]), estimate([2.0, 4.0]), estimate([3.0, 5.0])
    assert low.overlaps(middle)
    assert middle.overlaps(high)
    assert high.overlaps(low) is False
    assert low.overlaps(high) is False


def test_a_ratio_is_mine_over_base_and_so_is_its_interval() -> None:
    found = ratio([200.0, 400.0], [100.0, 100.0])
    assert (found.mean, found.interval) == (3.0, (2.0, 4.0))


def test_the_spread_of_the_base_is_in_the_interval_of_a_ratio() -> None:
    """300 over a base mean of 100, 150 or 200."""
    found = ratio([300.0, 300.0], [100.0, 200.0])
    assert (found.mean, found.interval) == (2.0, (1.5, 3.0))


def test_a_ratio_is_of_means_and_not_the_mean_of_ratios() -> None:
    """(100 + 300) / (50 + 350) is 1; seed by seed it would be (2 + 0.857) / 2."""
    assert ratio([100.0, 300.0], [50.0, 350.0]).mean == 1.0


def test_both_sets_of_seeds_are_resampled_independently() -> None:
    """Together they would always give 1; apart, 100/200 and 200/100 have probability 1/16 each."""
    found = ratio([100.0, 200.0], [100.0, 200.0])
    assert (found.mean, found.interval) == (1.0, (0.5, 2.0))


def test_a_ratio_with_one_seed_on_either_side_has_no_interval() -> None:
    assert ratio([300.0], [100.0, 200.0]).interval is None
    assert ratio([100.0, 200.0], [300.0]).interval is None


def test_nothing_is_divided_by_zero_evaluations() -> None:
    with pytest.raises(ValueError, match="positive values to divide by, got 0"):
        ratio([1.0], [0.0, 2.0])


def test_a_band_has_an_interval_at_every_point() -> None:
    mean, ends = banded(np.array([[0.0, 1.0, 5.0], [0.0, 3.0, 1.0]]))
    assert mean.tolist() == [0.0, 2.0, 3.0]
    assert ends is not None
    assert [e.tolist() for e in ends] == [[0.0, 1.0, 1.0], [0.0, 3.0, 5.0]]
    assert banded(np.array([[1.0, 2.0]]))[1] is None


@pytest.mark.parametrize(
    ("level", "where"),
    [(0.3, 50.0), (0.6, 100.0), (0.5, 250 / 3), (0.7, 200 + 500 / 6), (0.8, 300.0), (0.81, None)],
)
def test_a_level_is_reached_at_its_first_crossing(level: float, where: float | None) -> None:
    """At 0.5 the curve crosses twice; what counts is 500/6 on the way up, not 250."""
    assert first_reach(X, RISE, level) == (where if where is None else pytest.approx(where))


def test_a_level_below_the_start_is_reached_at_once() -> None:
    assert first_reach(X, RISE + 1.0, 0.5) == 0.0
    assert first_reach(X[:0], RISE[:0], 0.5) is None


def test_values_are_interpolated_inside_a_curve_only() -> None:
    assert value_at(X, RISE, 250.0) == pytest.approx(0.5)
    assert value_at(X, RISE, 300.0) == 0.8
    assert value_at(X, RISE, 301.0) is None
    assert value_at(X[1:], RISE[1:], 50.0) is None


def test_a_model_that_was_not_trained_has_its_value_everywhere() -> None:
    assert value_at(np.array([0.0]), np.array([0.4]), 5000.0) == 0.4


def test_the_common_grid_ends_with_the_shortest_curve() -> None:
    grid = common_grid([np.array([0.0, 10.0, 30.0]), np.array([0.0, 20.0, 25.0])])
    assert grid.tolist() == [0.0, 10.0, 20.0, 25.0]


@settings(max_examples=25)
@given(st.lists(st.integers(-8, 8), min_size=2, max_size=6), st.integers(1, 4), st.integers(-9, 9))
def test_intervals_move_and_stretch_with_the_values(
    values: list[int], scale: int, shift: int
) -> None:
    plain, moved = (estimate([a * v + b for v in values]) for a, b in ((1, 0), (scale, shift)))
    assert plain.interval is not None
    assert plain.interval[0] - 1e-9 <= plain.mean <= plain.interval[1] + 1e-9
    wanted = [scale * v + shift for v in plain.interval]
    assert moved.interval == pytest.approx(wanted)


@given(st.lists(st.integers(0, 100), min_size=2, max_size=8), st.floats(0.0, 100.0))
def test_the_curve_has_the_level_where_it_reaches_it(heights: list[int], level: float) -> None:
    x, y = np.arange(len(heights)) * 10.0, np.array(heights, dtype=float)
    where = first_reach(x, y, level)
    if where is None:
        assert y.max() < level
    elif where > 0:
        assert value_at(x, y, where) == pytest.approx(level, abs=1e-6)
        assert all(v < level for v in y[x < where - 1e-6])
