"""BSP(γ) and BSP(θ): rules, ranges, ticks, and the tables of gains over all deviations.

Expected gains are exact numbers of an independent search, or worked out in the test.
"""

import random
from fractions import Fraction as F

import pytest

from scoreward.studies.fees.bsp import (
    BSP,
    AuctionSetting,
    bsp_gamma,
    bsp_theta,
    gamma_confirmed,
    interval,
    least_tick,
    tail,
    theta_range,
    valid,
)
from scoreward.studies.fees.checks import check_mic, check_scp, check_uic
from scoreward.studies.fees.grid import Market
from scoreward.studies.fees.utility import coalition_gain, long_run, user_utility
from tests.fees.plain import Bid, Game, earned, lottery
from tests.support.matrix import long, mostly_long

STEP = F(1, 1000)


def test_a_block_is_drawn_priced_paid_and_burnt_by_the_rule() -> None:
    """[pos-fees] (BSP) B = 5, k = 3, m = 2, θ = 1/2: price 4, payout (4 + 2)/2."""
    told = BSP(5, 3, 2, F(1, 2)).outcome([F(b) for b in (9, 7, 5, 4, 2)])
    assert told.confirmed == (F(2, 3),) * 3 + (0, 0)
    assert told.price == (4, 4, 4, 0, 0)
    assert (told.revenue, told.burn, told.paid) == (3, 5, 8)


@pytest.mark.parametrize(
    ("slots", "gamma", "colluders", "drawn"),
    [(2, F(1), 1, 2), (2, F(1, 2), 1, 1), (3, F(2, 3), 1, 2), (4, F(1), 2, 2), (4, F(1, 2), 2, 1)],
)
def test_bsp_gamma_confirms_the_floor_and_pays_out_gamma(
    slots: int, gamma: F, colluders: int, drawn: int
) -> None:
    """[tfm] (BSP)"""
    assert gamma_confirmed(slots, gamma, colluders) == drawn
    made = bsp_gamma(slots + 1, slots, gamma, colluders)
    assert (made.confirmed, made.theta) == (drawn, gamma)


@pytest.mark.parametrize(
    ("block", "slots", "colluders", "gamma", "users", "top"),
    [
        (3, 2, 1, F(1), 4, 3),
        (3, 2, 1, F(1, 2), 4, 3),
        (4, 2, 1, F(1), 4, 3),
        (4, 3, 1, F(2, 3), 4, 3),
        (5, 4, 2, F(1), 5, 2),
        (5, 4, 2, F(1, 2), 5, 2),
    ],
)
def test_bsp_gamma_has_all_three_properties_in_one_block(
    block: int, slots: int, colluders: int, gamma: F, users: int, top: int
) -> None:
    """[tfm] (one-shot)"""
    mechanism, market = bsp_gamma(block, slots, gamma, colluders), Market(users, top, gamma)
    assert check_uic(mechanism, market).holds
    assert check_mic(mechanism, market).holds
    assert check_scp(mechanism, market, colluders).holds


@pytest.mark.parametrize(
    ("mechanism", "market", "colluders", "gain"),
    [
        (BSP(3, 2, 2, F(1, 2)), Market(4, 3, F(1, 2)), 1, F(3, 2)),  # q = 1 > γ/c
        (BSP(3, 2, 1, F(3, 4)), Market(4, 3, F(1, 2)), 0, F(3, 4)),  # θ > γ
        (BSP(5, 4, 4, F(1)), Market(5, 2), 2, F(2)),
    ],
)
def test_outside_its_range_it_fails_in_one_block_by_a_known_gain(
    mechanism: BSP, market: Market, colluders: int, gain: F
) -> None:
    """[tfm] (one-shot) cm/k ≤ θ ≤ γ, and m ≤ γk/c."""
    told = check_scp(mechanism, market, colluders) if colluders else check_mic(mechanism, market)
    assert (told.holds, told.gain) == (False, gain)


def test_a_miner_with_too_high_a_rate_adds_a_fake_bid() -> None:
    """Values 3, 3, 0, 0 and a fake of 3: payout 9/4, cost 3/2."""
    told = check_mic(BSP(3, 2, 1, F(3, 4)), Market(4, 3, F(1, 2))).deviation
    assert told is not None
    assert told.values == (3, 3, 0, 0)
    assert [(e.owner, e.bid) for e in told.entries] == [
        ("outsider", 3),
        ("outsider", 3),
        ("fake of the miner", 3),
    ]


@pytest.mark.parametrize(
    ("mechanism", "users", "top", "gamma", "size", "gain"),
    [(BSP(3, 2, 2, F(1, 2)), 4, 3, F(1, 2), 1, F(3, 2)), (BSP(5, 4, 4, F(1)), 5, 2, F(1), 2, F(2))],
)
def test_colluders_who_all_bid_nothing_and_leave_the_others_out_earn_the_known_gain(
    mechanism: BSP, users: int, top: int, gamma: F, size: int, gain: F
) -> None:
    """All value M; a block of bids of 0 by colluders alone, in plain fractions."""
    game = Game(mechanism, users, top, gamma)
    honest: list[Bid] = [(top, "out", top)] * (users - size) + [(top, "member", top)] * size
    mu, before = lottery(game, honest)
    assert earned(game, [(0, "member", top)] * size, mu, before) == gain


LONG = [
    (3, 2, F(1), F(1, 4), F(9, 4), F(3, 2)),
    (3, 2, F(1, 2), F(1, 4), F(9, 8), F(3, 4)),
    (4, 2, F(1), F(1, 2), F(5, 2), F(5, 2)),
]


@pytest.mark.parametrize(("block", "slots", "gamma", "stake", "mixed", "consistent"), LONG)
def test_bsp_gamma_is_not_side_contract_proof_in_the_long_run(
    block: int, slots: int, gamma: F, stake: F, mixed: F, consistent: F
) -> None:
    """[pos-fees] (failure) while MIC survives."""
    mechanism = bsp_gamma(block, slots, gamma)
    for accounting, gain in (("mixed", mixed), ("consistent", consistent)):
        market = Market(4, 3, gamma, stake, accounting=accounting)
        told = check_scp(mechanism, market, 1)
        assert (told.holds, told.gain) == (False, gain)
        assert check_mic(mechanism, market).holds


def test_one_tick_more_earns_nothing_in_a_block_and_a_jump_in_the_long_run() -> None:
    """[pos-fees] (discontinuity) Values 3, 3, 2, 2, a colluder bids 3 for 2: (1 − x)μ = 3/2."""
    mechanism, x = bsp_gamma(3, 2, F(1)), F(1, 4)
    truth = mechanism.outcome([F(3), F(3), F(2)]).revenue
    more = mechanism.outcome([F(3), F(3), F(3)]).revenue
    cost = user_utility(F(2), F(3), F(0), F(0), F(1))
    assert (truth, more, cost) == (2, 3, -1)
    assert coalition_gain("one-shot", more, truth, cost, x) == 0
    for accounting in ("mixed", "consistent"):
        assert coalition_gain(accounting, more, truth, cost, x) == F(3, 2)
    told = check_scp(mechanism, Market(4, 3, F(1), x, accounting="consistent"), 1).deviation
    assert told is not None
    assert sorted(told.values, reverse=True)[:3] == [3, 3, 2]
    assert told.colluders == (2,)
    assert [entry.bid for entry in told.entries] == [3, 3, 3]


def test_the_long_run_utility_jumps_at_truthful_revenue_by_the_whole_of_it() -> None:
    """[pos-fees] (long-run utility) [pos-fees] (discontinuity) +(1 − x)μ above, −xμ below."""
    mu, x, tiny = F(2), F(1, 4), F(1, 10**9)
    assert long_run(mu, mu, x) == x * mu
    assert long_run(mu + tiny, mu, x) - long_run(mu, mu, x) == (1 - x) * mu + tiny
    assert long_run(mu - tiny, mu, x) - long_run(mu, mu, x) == -x * mu


def test_each_accounting_is_its_definition() -> None:
    """[pos-fees] (accounting) Users gain 6 in a block of the miner, x = 1/3, μ = 3."""
    for u, mixed, consistent in ((4, 9, 9), (3, 6, 2), (2, 5, -1)):
        assert coalition_gain("one-shot", F(u), F(3), F(6), F(1, 3)) == u - 3 + 6
        assert coalition_gain("mixed", F(u), F(3), F(6), F(1, 3)) == mixed
        assert coalition_gain("consistent", F(u), F(3), F(6), F(1, 3)) == consistent


def test_the_strict_utility_charges_an_overbid_that_waits() -> None:
    """[tfm] (strict utility) ½ (3 − 2) − ½ · ¾ · (5 − 3); nothing for a bid below the value."""
    assert user_utility(F(3), F(5), F(1, 2), F(2), F(3, 4)) == F(1, 2) - F(3, 4)
    assert user_utility(F(3), F(2), F(1, 2), F(2), F(3, 4)) == F(1, 2)


TABLE = [  # B, k, c, m, γ, x, M, lowest and highest θ, gains just below and just above
    (3, 2, 1, 1, F(1), F(4, 5), 2, F(5, 8), F(5, 6), "0.0016", "0.0012"),
    (4, 2, 1, 1, F(1), F(9, 10), 2, F(5, 9), F(10, 13), "0.0018", "0.0013"),
    (4, 3, 1, 1, F(1), F(3, 4), 2, F(4, 9), F(4, 5), "0.0015", "0.00125"),
    (5, 4, 2, 1, F(1), F(4, 5), 2, F(5, 8), F(5, 6), "0.0016", "0.0012"),
    (4, 3, 1, 1, F(4, 5), F(4, 5), 2, F(5, 12), F(2, 3), "0.0016", "0.0012"),
    (3, 2, 1, 1, F(4, 5), F(9, 10), 2, F(5, 9), F(8, 11), "0.0018", "0.0011"),
    (5, 3, 1, 2, F(1), F(9, 10), 2, F(20, 27), F(10, 13), "0.0018", "0.0013"),
]
SMALL = [row for row in TABLE if row[0] < 5]


@pytest.mark.parametrize("row", mostly_long(TABLE, SMALL), ids=lambda row: str(row[:7]))
def test_bsp_theta_holds_at_both_ends_of_its_range_and_fails_just_outside(row: tuple) -> None:
    """[pos-fees] (theta range) [pos-fees] (BSP theta)"""
    block, slots, colluders, drawn, gamma, stake, top, low, high, below, above = row
    setting = AuctionSetting(gamma, colluders, stake, top)
    assert theta_range(block, slots, drawn, setting, minting=True) == (low, high)
    mixed = Market(max(block, 4), top, gamma, stake, accounting="mixed")
    even = Market(max(block, 4), top, gamma, stake, accounting="consistent")
    cases = {low - STEP: F(below), low: 0, (low + high) / 2: 0, high: 0, high + STEP: F(above)}
    for theta, gain in cases.items():
        mechanism = BSP(block, slots, drawn, theta, minting=True)
        assert check_scp(mechanism, mixed, colluders).gain == gain
        fair = check_scp(mechanism, even, colluders).gain
        assert fair == (gain if theta > high else 0)
        assert check_mic(mechanism, mixed).holds
    assert check_uic(BSP(block, slots, drawn, high, minting=True), mixed).holds


def test_a_constant_reward_moves_both_ends() -> None:
    """[pos-fees] (theta range) r₀ = 1/5 ticks; below, it depends on the highest value."""
    half = AuctionSetting(F(1), 1, F(4, 5), 2, F(1, 5))
    assert theta_range(3, 2, 1, half) == (F(5, 8) - F(1, 10), F(4, 5))
    for theta, top, gain in (
        (F(4, 5), 2, F(0)),
        (F(801, 1000), 2, F("0.0012")),
        (F(1, 2), 1, F(0)),
        (F(1, 2), 2, F("0.04")),
    ):
        market = Market(4, top, F(1), F(4, 5), reward=F(1, 5), accounting="mixed")
        assert check_scp(BSP(3, 2, 1, theta), market, 1).gain == gain
        setting = AuctionSetting(F(1), 1, F(4, 5), top, F(1, 5))
        low, high = theta_range(3, 2, 1, setting)
        assert (low <= theta <= high) == (gain == 0)


VARIANTS = [  # what is changed of BSP(γ), m, θ; one-shot, mixed, consistent
    ("lower theta only", 2, F(5, 6), (False, False, True)),
    ("lower m only", 1, F(1), (True, False, False)),
    ("m = floor(theta k)", 1, F(5, 6), (True, True, True)),
    ("free m, theta in range", 1, F(5, 8), (True, True, True)),
    ("no slack left by the floor", 1, F(1, 2), (True, False, True)),
]


@pytest.mark.parametrize(("name", "drawn", "theta", "holds"), VARIANTS)
def test_each_repair_holds_where_it_is_said_to(
    name: str, drawn: int, theta: F, holds: tuple[bool, bool, bool]
) -> None:
    """[pos-fees] (theta range) B = 3, k = 2, c = 1, γ = 1, x = 4/5, M = 2."""
    found = []
    for accounting in ("one-shot", "mixed", "consistent"):
        market = Market(4, 2, F(1), F(4, 5), accounting=accounting)
        found.append(check_scp(BSP(3, 2, drawn, theta), market, 1).holds)
    assert tuple(found) == holds, name


@pytest.mark.parametrize("accounting", [long("one-shot"), "mixed", long("consistent")])
def test_the_range_is_what_the_search_finds_for_any_setting(accounting: str) -> None:
    """[pos-fees] (theta range) With rewards too; consistent accounting only if m ≤ γk/c."""
    luck, seen = random.Random(7), set()
    for _ in range(60):
        slots = luck.randint(1, 2)
        block, drawn, top = (
            slots + luck.randint(1, 3 - slots),
            luck.randint(1, slots),
            luck.randint(1, 3),
        )
        gamma, stake = F(luck.randint(1, 4), 4), F(luck.randint(1, 10), 10)
        reward = F(luck.choice([0, 0, 1]), 10)
        setting = AuctionSetting(gamma, 1, stake, top, reward, accounting)
        low, high = theta_range(block, slots, drawn, setting, minting=True)
        theta = max(luck.choice([low - STEP, low, (low + high) / 2, high, high + STEP]), F(0))
        made = BSP(block, slots, drawn, theta, minting=True)
        market = Market(block + 1, top, gamma, stake, F(1), reward, accounting)
        holds = check_scp(made, market, 1).holds and check_mic(made, market).holds
        if accounting != "consistent" or drawn <= gamma * slots:
            assert holds == valid(made, setting), (made, setting)
        assert holds or not valid(made, setting)
        seen.add(holds)
    assert seen == {True, False}


def test_a_miner_who_is_paid_nothing_lowers_the_price_for_free() -> None:
    """[pos-fees] (theta range) θ = 0, x = 4/5: u = μ = 0 always, a colluder with 2 gains x q 2."""
    market = Market(4, 2, F(1), F(4, 5), accounting="consistent")
    setting = AuctionSetting(F(1), 1, F(4, 5), 2, accounting="consistent")
    assert check_scp(BSP(3, 2, 1, F(0)), market, 1).gain == F(4, 5) * F(1, 2) * 2
    assert not valid(BSP(3, 2, 1, F(0)), setting)
    assert valid(BSP(3, 2, 1, F(1, 10**6)), setting)
    assert (interval(F(0), F(1)), interval(F(1, 2), F(1))) == ("(0, 1]", "[1/2, 1]")
    assert interval(F(1), F(1, 2)) == "empty"


@pytest.mark.parametrize(("prices", "top", "sum_"), [(1, 3, 2), (2, 3, 5), (3, 4, 11)])
def test_the_largest_tail_that_can_be_raised_is_one_below_the_largest(
    prices: int, top: int, sum_: int
) -> None:
    """[pos-fees] (theta range)"""
    assert tail(prices, top) == sum_


def test_the_least_tick_is_where_theta_is_at_the_top_of_its_range() -> None:
    """[pos-fees] (tick) With that tick the highest value is a whole number of ticks here."""
    for theta, prices, top, stake in ((F(5, 6), 1, 2, F(4, 5)), (F(10, 13), 2, 2, F(9, 10))):
        for tick in (F(1), F(1, 7)):
            assert least_tick(theta, prices, top * tick, F(1), stake) == tick
    tick, gamma, x, highest, prices = F(3, 10), F(4, 5), F(3, 4), F(6), 3
    high = gamma * tick / (tick + (1 - x) * (prices * highest - tick))
    assert least_tick(high, prices, highest, gamma, x) == tick
    assert least_tick(F(1), 1, F(9), F(1), F(1)) == 0


def test_the_range_is_cut_where_payouts_would_exceed_payments() -> None:
    setting = AuctionSetting(F(1), 1, F(1), 2)
    assert theta_range(4, 2, 1, setting) == (F(1, 2), F(1, 2))
    assert theta_range(4, 2, 1, setting, minting=True) == (F(1, 2), F(1))
    minted = BSP(4, 2, 1, F(1), minting=True).outcome([F(1)] * 4)
    assert minted.burn == -1


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: BSP(3, 2, 3, F(1)), "m of k = 2 slots are confirmed, 1 to 2, got m = 3"),
        (lambda: BSP(3, 2, 0, F(1)), "got m = 0"),
        (lambda: BSP(3, 3, 1, F(1)), "has 1 to 2 slots that can be confirmed, got k = 3"),
        (lambda: BSP(1, 1, 1, F(1)), "2 places or more with this mechanism, got 1"),
        (lambda: BSP(4, 2, 1, F(3, 4)), r"θ is in \[0, 1/2\] = \[0, m/k'\].*got 3/4"),
        (lambda: BSP(4, 2, 1, F(-1, 4)), r"θ is in \[0, 1/2\].*got -1/4"),
        (lambda: BSP(4, 2, 1, F(-1, 4), minting=True), "θ is 0 or more; got -1/4"),
        (lambda: BSP(3, 2, 1, F(1), tick=F(0)), "`tick` is above 0, got 0"),
        (lambda: BSP(3, 2, 1, F(1)).outcome([F(1), F(2), F(0)]), "falling order.*got 1, 2, 0"),
        (lambda: BSP(3, 2, 1, F(1)).outcome([F(1), F(0), F(-1)]), "falling order, 0 or more"),
        (lambda: BSP(3, 2, 1, F(1)).outcome([F(1)]), "a block of 3 places needs as many bids"),
        (lambda: BSP(3, 2, 1, F(1)).outcome([F(3, 2), F(0), F(0)]), "multiples of the tick 1"),
        (lambda: bsp_gamma(3, 2, F(1, 3)), "confirms nobody; k = 2 slots need γ/c of 1/2"),
        (lambda: bsp_gamma(3, 2, F(0)), "`gamma` is above 0 and at most 1"),
        (lambda: AuctionSetting(F(2), 1, F(1), 1), "`gamma` is above 0 and at most 1, got 2"),
        (lambda: AuctionSetting(F(1), 1, F(0), 1), "share of stakes is above 0, at most 1, got 0"),
        (lambda: AuctionSetting(F(1), 0, F(1), 1), "1 or more, got 0 and 1"),
        (lambda: AuctionSetting(F(1), 1, F(1), 1, F(-1)), "reward of a block is 0 or more, got -1"),
        (lambda: AuctionSetting(F(1), 1, F(1), 1, F(0), "fair"), "one-shot, mixed, consistent"),
        (lambda: least_tick(F(1), 1, F(1), F(1), F(1, 2)), r"in \[0, 1\), below γ; got 1"),
        (lambda: least_tick(F(1, 2), 1, F(1), F(1), F(3)), "above 0, at most 1.*got 3, 1 and 1"),
        (lambda: least_tick(F(1, 2), 0, F(1), F(1), F(1)), "k' is 1 or more.*got 1, 0 and 1"),
    ],
)
def test_wrong_parameters_are_refused_in_a_sentence(make, sentence: str) -> None:  # noqa: ANN001
    with pytest.raises(ValueError, match=sentence):
        make()


def test_a_rate_outside_the_range_is_refused_with_the_range() -> None:
    """[pos-fees] (BSP theta)"""
    setting = AuctionSetting(F(1), 1, F(4, 5), 2)
    good = BSP(3, 2, 1, F(5, 8))
    assert bsp_theta(good, setting) is good
    for theta in (F(1, 2), F(9, 10)):
        with pytest.raises(ValueError, match=rf"θ is in \[5/8, 5/6\] for m = 1.*got {theta}"):
            bsp_theta(BSP(3, 2, 1, theta), setting)
    with pytest.raises(ValueError, match="at most γk/c = 1 of k = 2 slots may be confirmed"):
        bsp_theta(BSP(3, 2, 2, F(1, 2)), AuctionSetting(F(1, 2), 1, F(1), 2))
    with pytest.raises(ValueError, match=r"no payout rate θ is valid.*at most 4/7; take a coarser"):
        bsp_theta(good, AuctionSetting(F(1), 1, F(1, 4), 2))
    with pytest.raises(ValueError, match=r"; confirm fewer, or take a coarser tick"):
        bsp_theta(BSP(3, 2, 2, F(5, 8)), AuctionSetting(F(1), 1, F(1, 4), 2))
