"""Users who learn to bid, blocks in numbers, base fees, and shares of stakes in the long run."""

from fractions import Fraction as F
from itertools import product

import numpy as np
import pytest

from scoreward.studies.fees.bsp import BSP
from scoreward.studies.fees.market import (
    draw,
    geometric,
    grid_of,
    learn,
    payoffs,
    simulate,
    simulate_base_fee,
    truthful,
    two_kinds,
    uniform,
)
from scoreward.studies.fees.mechanism import EIP1559, FirstPrice, SecondPrice
from scoreward.studies.fees.shares import Race, blocks_until, limit_law, simulate_share


@pytest.mark.parametrize(("places", "users"), [(1, 3), (2, 4)])
def test_first_price_teaches_the_shading_of_theory(places: int, users: int) -> None:
    """Uniform values, n users, B places: E[B-th highest other | below v].

    B = 1: v (n − 1)/n. B = 2 of 4: ∫6y²(1 − y)/∫6y(1 − y) = v (2 − 3v/2)/(3 − 2v). Bids are whole
    ticks of 1/20, so a tick is what agreement can be asked for.
    """
    grid = grid_of(FirstPrice(places), users, 20)
    told = learn(grid, uniform(20), rounds=200, samples=300)
    v = np.arange(21) / 20
    theory = v * (users - 1) / users if places == 1 else v * (2 - 1.5 * v) / (3 - 2 * v)
    assert np.abs(told.mean - 20 * theory).max() < 1
    assert np.abs(told.mean - 20 * v).max() > 5  # far from truthful
    assert told.regret < 0.05
    np.testing.assert_allclose(told.bids.sum(1), 1)


@pytest.mark.parametrize("mechanism", [BSP(4, 3, 2, F(1, 2)), SecondPrice(3)], ids=str)
def test_a_truthful_mechanism_teaches_to_bid_the_value(mechanism: BSP | SecondPrice) -> None:
    grid = grid_of(mechanism, 5, 6)
    told = learn(grid, uniform(6), rounds=20, samples=100)
    np.testing.assert_array_equal(told.bids, truthful(6))
    assert told.regret == pytest.approx(0, abs=1e-12)


def test_payoffs_are_what_the_rule_pays() -> None:
    """First price, one place, against one other who bids 0, 1 or 2: ties are lots."""
    grid = grid_of(FirstPrice(1), 2, 2, gamma=F(0))
    table = payoffs(grid, np.array([[0], [1], [2]]))
    chance = np.array([1 / 6, 1 / 2, 5 / 6, 1])  # of winning with 0, 1, 2, 3
    want = chance * (np.arange(3)[:, None] - np.arange(4))
    np.testing.assert_allclose(table, want, atol=1e-12)


def test_means_over_blocks_are_the_expectation() -> None:
    """Three users of 0, 1 or 2, BSP(B = 3, k = 2, m = 1, θ = ½), summed over all 27 profiles."""
    mechanism = BSP(3, 2, 1, F(1, 2))
    ranked = [sorted(p, reverse=True) for p in product(range(3), repeat=3)]
    welfare = np.mean([(a + b) / 2 for a, b, _ in ranked])
    revenue, price = np.mean([c / 2 for *_, c in ranked]), np.mean([c for *_, c in ranked])
    told = simulate(grid_of(mechanism, 3, 2), uniform(2), truthful(2), blocks=40_000)
    got = [told.welfare, told.revenue, told.burn, told.confirmed]
    # five standard errors of 40,000 blocks; values spread by less than 0.9
    np.testing.assert_allclose(got, np.array([welfare, revenue, price - revenue, 1.0]), atol=0.0225)
    assert told.surplus == pytest.approx(told.welfare - told.revenue - told.burn)


def test_laws_are_chances_and_draws_follow_them() -> None:
    for law in (uniform(4), geometric(4, 0.5), two_kinds(4, 1, 0.3)):
        assert law.sum() == pytest.approx(1)
    np.testing.assert_allclose(geometric(3, 0.5)[1:] / geometric(3, 0.5)[:-1], 0.5)
    np.testing.assert_allclose(two_kinds(4, 1, 0.3), [0.35, 0.35, 0.1, 0.1, 0.1])
    bids = np.array([[1.0, 0, 0], [0.25, 0.75, 0]])
    values, offered = draw(np.array([0.5, 0.5]), bids, (40_000, 1), np.random.default_rng(0))
    assert values.mean() == pytest.approx(0.5, abs=0.0125)  # five standard errors
    assert offered[values == 0].max() == 0
    assert offered[values == 1].mean() == pytest.approx(0.75, abs=0.0155)


def test_the_base_fee_settles_where_half_of_a_block_is_used() -> None:
    """Uniform on 0 … 20, 8 users, target 2 of 4: a fee that 2 of 8 pay is between 14 and 17."""
    told = simulate_base_fee(EIP1559(4, F(1), F(1)), uniform(20), 8, 2000)
    assert 14 < told.fees[500:].mean() < 17
    assert told.used[500:].mean() == pytest.approx(2, abs=0.15)
    assert told.fees[1] == 1.125  # the first block is full
    assert told.means.burn == pytest.approx((told.fees * told.used).mean())
    assert told.means.surplus >= 0


@pytest.mark.parametrize(
    ("own", "shares"),
    [(1.0, (0.3, 0.3, 0.3)), (1.5, (0.516, 0.700, 0.866)), (0.5, (0.112, 0.038, 0.0085))],
)
def test_shares_of_stakes_go_where_they_are_known_to(own: float, shares: tuple) -> None:
    """[pos-fees] (urn) X₀ = 3, N₀ = 10, μ = 1 after 100, 1,000 and 20,000 blocks.

    Tolerance: five standard errors of 4,000 runs, the law having a variance of at most 0.03, and as
    much for the printed numbers, which come from 4,000 runs too.
    """
    told = simulate_share(Race(3, 10, own, 1), (100, 1000, 20_000), 4000, seed=1)
    assert told.shape == (3, 4000)
    spread = told.std(1) / 4000**0.5
    assert (np.abs(told.mean(1) - shares) < 5 * 2**0.5 * spread + 5e-4).all()
    if own == 1.0:
        a, b = limit_law(Race(3, 10, 1, 1))
        variance = a * b / (a + b) ** 2 / (a + b + 1)
        assert variance == pytest.approx(0.3 * 0.7 / 11)
        assert told[-1].var() == pytest.approx(variance, rel=0.12)
        assert told[-1].mean() == pytest.approx(a / (a + b), abs=5 * spread[-1])


@pytest.mark.parametrize(("ratio", "power"), [(1.5, 7.4), (1.1, 26), (1.01, 239)])
def test_the_jump_takes_very_long(ratio: float, power: float) -> None:
    """[pos-fees] (fluid) From 30 % to 99 %, N₀ = 10 μ: 10^power blocks."""
    digits = 0.05 if power < 10 else 0.5
    assert blocks_until(Race(3, 10, ratio, 1), 0.99) == pytest.approx(power, abs=digits)


def test_the_fluid_follows_its_differential_equation() -> None:
    """[pos-fees] (fluid) Euler's method: dX = u X/N, dY = μ Y/N per block."""
    mine, other, blocks, step = 3.0, 7.0, 0.0, 0.01
    while mine / (mine + other) < 0.6:
        total = mine + other
        mine, other = mine + step * 1.5 * mine / total, other + step * other / total
        blocks += step
    assert 10 ** blocks_until(Race(3, 10, 1.5, 1), 0.6) == pytest.approx(blocks, rel=1e-3)
    # far away, where exp would overflow, the start does not matter: twice the odds, more blocks
    near, far = (blocks_until(Race(3, 10, 1.01, 1), share) for share in (0.9, 0.99))
    assert near < far


def test_a_share_that_shrinks_has_the_fluid_value_after_20_000_blocks() -> None:
    """[pos-fees] (fluid) u = ½: 0.0080."""
    assert 10 ** blocks_until(Race(3, 10, 0.5, 1), 0.0080) == pytest.approx(20_000, rel=0.015)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Race(10, 10, 1, 1), "above 0 and below the total 10, got 10"),
        (lambda: Race(1, 10, 0, 1), "blocks earn more than 0, got 0 and 1"),
        (lambda: limit_law(Race(1, 10, 2, 1)), "only if u = μ, got 2 and 1"),
        (lambda: blocks_until(Race(3, 10, 2, 1), 0.1), "goes from 0.3 towards 1 and does not"),
        (lambda: blocks_until(Race(3, 10, 1, 1), 0.5), "does not come to 0.5"),
        (lambda: simulate_share(Race(3, 10, 1, 1), (5, 2), 3, 0), "block numbers increase"),
        (lambda: geometric(3, 0.0), "`ratio` is above 0, got 0.0"),
        (lambda: two_kinds(3, 3, 0.5), "0 ≤ low < 3"),
        (lambda: learn(grid_of(FirstPrice(1), 2, 3), uniform(2)), "a law of 4 chances"),
        (lambda: simulate_base_fee(EIP1559(1, F(1)), uniform(2), 1, 1), "2 places or more"),
    ],
)
def test_wrong_numbers_are_refused_in_a_sentence(make, sentence: str) -> None:  # noqa: ANN001
    with pytest.raises(ValueError, match=sentence):
        make()
