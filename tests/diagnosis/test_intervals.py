"""Intervals of paired changes against the laws that they should follow."""

import numpy as np
import pytest
from scipy import stats

from scoreward.verdict.decisions import LEAST
from scoreward.verdict.statistics import expanded, paired


def misses(count: int, trials: int, shift: float = 0.0, **given: object) -> tuple[int, int, int]:
    """How often the interval lies above, below, and beside the true change, over simulated runs."""
    rng, above, below, better = np.random.default_rng(7), 0, 0, 0
    for _ in range(trials):
        difference = rng.normal(shift, 1.0, (count, 1))
        ((low, high),) = paired(difference, range(count), **given)  # pyright: ignore
        above, below = above + (low > shift), below + (high < shift)
        better += low > 0
    return above, below, better


@pytest.mark.parametrize("count", [LEAST, 16, 64])
def test_an_interval_misses_one_time_in_forty_on_either_side(count: int) -> None:
    """1000 runs without an effect: Binomial(1000, 0.025) exceeds 50 once in 200,000 times.

    Percentiles that are not moved outwards miss 60 to 70 times a side with eight prompts.
    """
    above, below, _ = misses(count, 1000)
    assert 8 <= above <= 50
    assert 8 <= below <= 50


def test_the_power_is_that_of_a_t_test() -> None:
    """16 prompts, an effect of 0.75 deviations: the two-sided t test finds it with 80 %."""
    law = stats.nct(15, 0.75 * 4)
    power = 1 - law.cdf(stats.t.ppf(0.975, 15))
    assert power == pytest.approx(0.8, abs=0.02)
    assert misses(16, 500, 0.75)[2] / 500 == pytest.approx(power, abs=0.09)  # 5 deviations


@pytest.mark.parametrize("count", [LEAST, 12, 30, 500])
def test_percentiles_are_those_of_the_t_law_on_a_variance_that_divides_by_n(count: int) -> None:
    t = stats.t.ppf(0.975, count - 1)
    wanted = 100 * stats.norm.cdf(-t * (count / (count - 1)) ** 0.5)
    low, high = expanded(count)
    assert low == pytest.approx(wanted, rel=0.01)
    assert high == pytest.approx(100 - wanted, abs=0.01)


def test_a_smaller_risk_makes_a_longer_interval() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(40, 1))
    (usual,), (sure,) = (paired(values, range(40), risk=r) for r in (0.05, 0.005))
    assert sure[0] < usual[0] < usual[1] < sure[1]


def test_many_pictures_of_few_prompts_are_not_many_prompts() -> None:
    """Eight copies of each difference change no interval; taken for rows it would be √8 shorter."""
    values = np.random.default_rng(1).normal(size=(20, 1))
    (once,) = paired(values, range(20))
    (copied,) = paired(values.repeat(8, 0), np.arange(20).repeat(8).tolist())
    assert copied == pytest.approx(once)
    (rowwise,) = paired(values.repeat(8, 0), range(160))
    assert (rowwise[1] - rowwise[0]) * 8**0.5 == pytest.approx(once[1] - once[0], rel=0.15)


def test_prompts_of_many_pictures_count_by_their_pictures() -> None:
    """The middle is the mean over rows, not that of the prompts' means."""
    values = np.array([[1.0]] * 30 + [[0.0]] * 10)
    groups = [i // 3 for i in range(30)] + list(range(10, 20))
    ((low, high),) = paired(values, groups)
    assert low < 0.75 < high
    assert (low + high) / 2 > 0.65  # the means of the prompts have the mean 0.5


def test_within_prompts_what_they_differ_by_is_no_noise() -> None:
    """Two prompts that change by 0 and by 1, each with noise 0.01: the mean change is sure."""
    noise = np.random.default_rng(2).normal(0, 0.01, (64, 1))
    values, groups = noise + np.repeat([[0.0], [1.0]], 32, 0), [0] * 32 + [1] * 32
    ((low, high),) = paired(values, groups, within=True)
    assert 0.49 < low < high < 0.51
    assert high - low == pytest.approx(2 * 1.998 * 0.01 / 8, rel=0.25)  # t of 63 over 64 rows


def test_the_same_numbers_give_the_same_interval() -> None:
    values = np.random.default_rng(4).normal(size=(30, 2))
    assert paired(values, range(30)) == paired(values, range(30))
