"""Win rates against scipy, against simulations whose answer is known, and what judges get wrong."""

from math import sqrt

import numpy as np
import pytest
from scipy import optimize, stats

from scoreward.data.preferences.winrate import (
    RIDGE,
    accuracy,
    agreement,
    bootstrap,
    both_orders,
    difference,
    length_controlled,
    length_logistic,
    length_matched,
    mean_rate,
    outcomes,
    wilson,
    win_rate,
)


def test_a_tie_is_half_a_win() -> None:
    found = outcomes([3.0, 1.0, 2.0, 5.0], [1.0, 3.0, 2.0, 4.0])
    assert found.tolist() == [1.0, 0.0, 0.5, 1.0]
    assert win_rate(found).value == 0.625
    assert accuracy([3.0, 1.0, 2.0, 5.0], [1.0, 3.0, 2.0, 4.0]).value == 0.625


@pytest.mark.parametrize(("wins", "count"), [(0, 10), (7, 10), (263, 500), (500, 500), (1, 1)])
def test_wilson_is_that_of_scipy(wins: int, count: int) -> None:
    theirs = stats.binomtest(wins, count).proportion_ci(method="wilson")
    mine = wilson(wins, count)
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert mine.value == wins / count


def test_wilson_covers_the_truth_about_95_times_in_100() -> None:
    """Exact, by summing over the binomial law: near 0.95 without ties, more with them."""
    for p in (0.2, 0.5, 0.9):
        counts = np.arange(101)
        inside = [wilson(int(k), 100).low <= p <= wilson(int(k), 100).high for k in counts]
        covered = float(stats.binom.pmf(counts, 100, p) @ np.array(inside))
        assert 0.93 < covered < 0.97
    draws = np.random.default_rng(1).choice([0.0, 0.5, 1.0], (2000, 100), p=[0.3, 0.4, 0.3])
    rates = [win_rate(d) for d in draws]
    assert np.mean([r.low <= 0.5 <= r.high for r in rates]) > 0.97


def test_the_interval_of_a_mean_covers_the_truth_about_95_times_in_100() -> None:
    """200 sets of 80 uneven values: the bootstrap covers 0.94; 5 standard errors are 0.08."""
    generator = np.random.default_rng(2)
    hits = 0
    for seed in range(200):
        values = generator.beta(0.5, 1.5, 80)
        found = bootstrap(lambda i, v=values: float(v[i].mean()), 80, resamples=300, seed=seed)
        hits += found.low <= 0.25 <= found.high
    assert 0.86 < hits / 200 < 0.995


def test_the_width_of_a_bootstrap_interval_is_that_of_the_normal_law() -> None:
    values = np.random.default_rng(3).normal(size=2000)
    found = mean_rate(values)
    expected = 2 * stats.norm.ppf(0.975) * values.std() / sqrt(2000)
    assert found.high - found.low == pytest.approx(expected, rel=0.06)


def test_answers_to_one_prompt_are_one_replicate() -> None:
    """Copying every answer five times must not narrow the interval."""
    values = np.random.default_rng(4).normal(size=(60, 1))
    once, copied = mean_rate(values), mean_rate(np.repeat(values, 5, 1))
    assert copied.value == pytest.approx(once.value)
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    assert copied.count == 60


def test_a_paired_difference_is_narrower_than_two_separate_intervals() -> None:
    """Two models that differ by 0.1 on the same hard and easy prompts."""
    generator = np.random.default_rng(5)
    hard = generator.uniform(size=100)
    mine, other = hard + 0.1 + 0.01 * generator.normal(size=100), hard
    found = difference(mine, other)
    assert found.low > 0.09
    assert found.high < 0.11
    assert mean_rate(mine).low < mean_rate(other).high


def longer(_prompt: str, first: str, second: str) -> float:
    return float(len(first) > len(second)) + 0.5 * (len(first) == len(second))


def test_a_judge_that_favours_first_place_is_found_out() -> None:
    prompts, mine, other = ["p"] * 4, ["aaa", "a", "aa", "aaaa"], ["a", "aaa", "aa", "a"]
    fair = both_orders(longer, prompts, mine, other)
    assert (fair.bias, fair.consistency) == (0.0, 1.0)
    assert fair.averaged.tolist() == [1.0, 0.0, 0.5, 1.0]
    biased = both_orders(lambda *_: 1.0, prompts, mine, other)
    assert (biased.bias, biased.consistency) == (0.5, 0.0)
    assert biased.averaged.tolist() == [0.5] * 4
    last = both_orders(lambda *_: 0.0, prompts, mine, other)
    assert (last.bias, last.averaged.tolist()) == (-0.5, [0.5] * 4)


def test_agreed_verdicts_are_mine() -> None:
    """First place wins ties only: those verdicts change with the order and are left out."""

    def lazy(prompt: str, first: str, second: str) -> float:
        return 1.0 if len(first) == len(second) else longer(prompt, first, second)

    found = both_orders(lazy, ["p"] * 3, ["aa", "a", "aa"], ["a", "aa", "aa"])
    assert found.agreed.tolist() == [1.0, 0.0]
    assert found.bias == pytest.approx(1 / 6)


def simulated(
    effect: float, slope: float, shift: float, count: int, seed: int
) -> tuple[np.ndarray, list[float], list[float]]:
    """Outcomes whose log-odds are effect + slope · difference, with differences around `shift`."""
    generator = np.random.default_rng(seed)
    theirs = generator.uniform(10, 30, count)
    gap = generator.normal(shift, 6.0, count)
    p = 1 / (1 + np.exp(-(effect + slope * gap)))
    won = (generator.uniform(size=count) < p).astype(float)
    return won, (theirs + gap).tolist(), theirs.tolist()


def test_a_win_rate_that_is_only_length_vanishes_at_equal_lengths() -> None:
    won, mine, theirs = simulated(effect=0.0, slope=0.2, shift=6.0, count=1500, seed=6)
    plain, controlled = win_rate(won), length_controlled(won, mine, theirs, resamples=300)
    assert plain.low > 0.65
    assert not controlled.differs_from_half
    assert controlled.value == pytest.approx(0.5, abs=0.06)
    matched = length_matched(won, mine, theirs, within=0.05)
    assert matched is not None
    assert not matched.differs_from_half


def test_a_better_model_with_shorter_answers_wins_at_equal_lengths() -> None:
    won, mine, theirs = simulated(effect=0.8, slope=0.25, shift=-5.0, count=1500, seed=7)
    plain, controlled = win_rate(won), length_controlled(won, mine, theirs, resamples=300)
    assert plain.high < 0.5
    assert controlled.value == pytest.approx(1 / (1 + np.exp(-0.8)), abs=0.09)
    assert controlled.low > 0.5


def test_the_controlled_interval_covers_the_truth_about_95_times_in_100() -> None:
    """60 simulations: 5 standard errors are 0.14."""
    truth, hits = 1 / (1 + np.exp(-0.4)), 0
    for seed in range(60):
        won, mine, theirs = simulated(0.4, 0.15, 3.0, 150, 100 + seed)
        found = length_controlled(won, mine, theirs, resamples=100)
        hits += found.low <= truth <= found.high
    assert hits / 60 > 0.81


def test_the_regression_is_that_of_a_general_minimiser() -> None:
    won, mine, theirs = simulated(0.3, 0.1, 2.0, 200, 8)
    won[::7] = 0.5
    gap = np.array(mine) - np.array(theirs)
    x = gap / np.sqrt((gap**2).mean())

    def loss(w: np.ndarray) -> float:
        z = w[0] + w[1] * x
        nats = won * np.logaddexp(0, -z) + (1 - won) * np.logaddexp(0, z)
        return float(nats.sum() + RIDGE * (w**2).sum() / 2)

    theirs_fit = optimize.minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-9}).x
    fitted = length_logistic(won, mine, theirs)
    assert (fitted.intercept, fitted.slope) == pytest.approx(tuple(theirs_fit), abs=1e-5)


def test_swapping_the_models_mirrors_the_controlled_rate() -> None:
    won, mine, theirs = simulated(0.5, 0.1, 2.0, 200, 9)
    there = length_logistic(won, mine, theirs).at_equal_length
    back = length_logistic(1 - won, theirs, mine).at_equal_length
    assert there + back == pytest.approx(1.0, abs=1e-9)


def test_lengths_that_separate_wins_from_losses_give_a_finite_answer() -> None:
    won = np.array([1.0, 1.0, 0.0, 0.0])
    fitted = length_logistic(won, [9.0, 8.0, 2.0, 1.0], [5.0] * 4)
    assert np.isfinite(fitted.slope)
    assert fitted.at_equal_length == pytest.approx(0.5, abs=1e-6)
    everywhere = length_logistic(np.ones(4), [5.0] * 4, [5.0] * 4)
    assert everywhere.at_equal_length > 0.99


def test_no_pair_of_like_lengths_has_no_rate() -> None:
    assert length_matched(np.ones(2), [1.0, 10.0], [10.0, 1.0]) is None


def test_agreement_counts_equal_verdicts() -> None:
    found = agreement(np.array([1.0, 0.5, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 1.0]))
    assert found.value == 0.75


def test_what_cannot_be_compared_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="got 1 and 2"):
        outcomes([1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="not a number"):
        outcomes([float("nan")], [1.0])
    with pytest.raises(ValueError, match="got 3 of 2"):
        wilson(3, 2)
    with pytest.raises(ValueError, match="at least two prompts, got 1"):
        mean_rate(np.ones(1))
    with pytest.raises(ValueError, match="a judge answers"):
        both_orders(lambda *_: 0.7, ["p"], ["a"], ["b"])
    with pytest.raises(ValueError, match="two answers for each prompt"):
        both_orders(longer, ["p"], [], ["b"])
    with pytest.raises(ValueError, match="a length per outcome"):
        length_logistic(np.ones(3), [1.0, 2.0], [1.0, 2.0])
