"""The quick search agrees with the plain one, and finds what is known of the classical auctions."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction as F

import numpy as np
import pytest

from scoreward.studies.fees.bsp import BSP, bsp_gamma
from scoreward.studies.fees.checks import check_mic, check_scp, check_uic
from scoreward.studies.fees.grid import Grid, Market
from scoreward.studies.fees.mechanism import EIP1559, FirstPrice, Mechanism, Outcome, SecondPrice
from tests.fees.plain import Bid, Game, best_coalition, best_user, earned, lottery
from tests.support.matrix import mostly_long


@dataclass(frozen=True)
class Arbitrary:
    """Different for every block, without rhyme or reason, but always the same for the same."""

    block: int
    reserve: F = F(0)

    def outcome(self, bids: Sequence[F]) -> Outcome:
        luck = random.Random(repr(tuple(bids)))
        some = [F(luck.randrange(7), 6) for _ in range(self.block)]
        price = [min(bid, F(luck.randrange(9), 4)) for bid in bids]
        return Outcome(
            tuple(min(q, F(1)) for q in some), tuple(price), F(luck.randrange(12), 5), F(0)
        )


SMALL: list[Mechanism] = [
    FirstPrice(2),
    SecondPrice(3),
    SecondPrice(3, burnt=True),
    EIP1559(2, F(1), F(1, 2)),
    BSP(3, 2, 1, F(2, 3)),
    BSP(3, 1, 1, F(1, 2)),
    BSP(2, 1, 1, F(3, 4)),
    Arbitrary(2),
    Arbitrary(3),
]
FEW = [FirstPrice(2), EIP1559(2, F(1), F(1, 2)), BSP(3, 1, 1, F(1, 2)), Arbitrary(2)]
WAYS = [(F(1), F(1, 3), F(0)), (F(1, 2), F(3, 4), F(1, 7))]  # γ, x, r₀


@pytest.mark.parametrize("mechanism", mostly_long(SMALL, FEW), ids=str)
@pytest.mark.parametrize("accounting", ["one-shot", "mixed", "consistent"])
def test_the_quick_search_of_coalitions_finds_what_the_plain_one_finds(
    mechanism: Mechanism, accounting: str
) -> None:
    """[pos-fees] (search) [tfm] (MIC) [tfm] (c-SCP)"""
    for users, top, size in ((3, 1, 1), (2, 2, 1), (3, 1, 2), (3, 2, 0)):
        for gamma, stake, reward in WAYS[: 1 + (users == 3)]:
            market = Market(users, top, gamma, stake, F(1), reward, accounting, fakes=1)
            game = Game(mechanism, users, top, gamma, stake, reward, accounting)
            plain = max(best_coalition(game, s) for s in range(min(size, 1), size + 1))
            quick = check_scp(mechanism, market, size) if size else check_mic(mechanism, market)
            assert quick.gain == plain
            assert quick.holds == (plain == 0)


@pytest.mark.parametrize("mechanism", SMALL, ids=str)
def test_the_quick_search_of_a_user_finds_what_the_plain_one_finds(mechanism: Mechanism) -> None:
    """[tfm] (UIC)"""
    for users, top, gamma, fakes in ((3, 2, F(1, 2), 1), (2, 2, F(1), 2), (2, 3, F(0), 1)):
        game = Game(mechanism, users, top, gamma, fakes=fakes)
        quick = check_uic(mechanism, Market(users, top, gamma, fakes=fakes))
        assert quick.gain == best_user(game)


def test_two_fakes_are_searched_as_the_plain_search_does() -> None:
    mechanism = Arbitrary(3)
    for accounting in ("one-shot", "mixed"):
        market = Market(2, 1, F(1, 2), F(1, 3), accounting=accounting, fakes=2)
        game = Game(mechanism, 2, 1, F(1, 2), F(1, 3), accounting=accounting, fakes=2)
        assert check_scp(mechanism, market, 1).gain == best_coalition(game, 1)
        assert check_mic(mechanism, market).gain == best_coalition(game, 0)


@pytest.mark.parametrize("accounting", ["one-shot", "mixed", "consistent"])
def test_whole_numbers_of_any_size_give_the_same_as_64_bits(
    accounting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mechanism = BSP(3, 2, 2, F(3, 4))
    market = Market(4, 2, F(1, 2), F(1, 3), accounting=accounting)
    quick = check_scp(mechanism, market, 1)
    monkeypatch.setattr(Grid, "dtype", object)
    assert check_scp(mechanism, market, 1) == quick
    assert check_uic(mechanism, market) == check_uic(mechanism, market)


def test_an_overbid_that_ties_for_the_last_place_may_be_left_out_and_costs_then() -> None:
    """Base fee 1, two places, three bids of 3, value 2: ⅔ (2 − 1) − ⅓ γ (3 − 2), γ = ½."""
    grid = Grid(EIP1559(2, F(1)), Market(3, 3, F(1, 2)))
    bids = np.array([[3, 3, 3]])
    (worth,) = grid.expected(bids, np.array([3]), np.array([[2]]))[0].tolist()
    assert F(worth, grid.scale) == F(2, 3) - F(1, 6)


def test_a_scale_too_large_for_64_bits_stays_exact() -> None:
    """θ just above γ by 10⁻²⁰: MIC fails by 3·10⁻²⁰, the fake of 3 the miner adds."""
    tiny = F(1, 10**20)
    mechanism = BSP(3, 2, 1, F(1, 2) + tiny)
    assert Grid(mechanism, Market(4, 3, F(1, 2))).dtype is object
    assert check_mic(mechanism, Market(4, 3, F(1, 2))).gain == 3 * tiny
    assert check_mic(replace(mechanism, theta=F(1, 2)), Market(4, 3, F(1, 2))).gain == 0


def test_first_price_is_not_truthful_but_leaves_the_miner_nothing_to_do() -> None:
    market = Market(3, 3)
    told = check_uic(FirstPrice(2), market)
    assert not told.holds
    assert told.gain == 2  # value 3 against 0 and 0: bid 1, or 0 and win two times in three
    assert check_mic(FirstPrice(2), market).holds
    assert check_scp(FirstPrice(2), market, 2).holds


def test_second_price_is_truthful_but_the_miner_bids_herself() -> None:
    """k confirmed pay one more for each tick of a fake that costs the miner γ at most."""
    market = Market(4, 3, gamma=F(1))
    assert check_uic(SecondPrice(3), market).holds
    told = check_mic(SecondPrice(3), market)
    assert told.gain == 3  # 3, 3, 0, 0: a fake of 3 earns 2·3 and costs 3
    assert told.deviation is not None
    assert [e.bid for e in told.deviation.entries if e.owner == "fake of the miner"] == [3]


def test_burning_all_payments_stops_the_miner_but_not_a_coalition() -> None:
    market = Market(4, 3)
    mechanism = SecondPrice(3, burnt=True)
    assert check_uic(mechanism, market).holds
    assert check_mic(mechanism, market).holds
    assert check_scp(mechanism, market, 1).gain == 3  # leave the price-setting bid out


def test_eip_1559_holds_while_blocks_are_not_full() -> None:
    """Two places for two users; with a third who can pay, bids above the value buy the place."""
    enough = Market(2, 3)
    mechanism = EIP1559(2, F(1))
    assert check_uic(mechanism, enough).holds
    assert check_mic(mechanism, enough).holds
    assert check_scp(mechanism, enough, 1).holds
    crowded = Market(3, 3)
    assert check_uic(mechanism, crowded).gain == 1  # 2 against 3 and 3: nothing, or 2 − 1
    assert check_scp(mechanism, crowded, 1).gain == 1


def test_the_deviation_is_the_one_that_earns_the_gain() -> None:
    """Its numbers are those of the mechanism for its own block."""
    mechanism, stake = bsp_gamma(3, 2, F(1)), F(1, 4)
    told = check_scp(mechanism, Market(4, 3, stake=stake, accounting="consistent"), 1).deviation
    assert told is not None
    bids = [F(entry.bid) for entry in told.entries]
    assert mechanism.outcome(bids).revenue == told.revenue
    truth = sorted((F(v) for v in told.values), reverse=True)[:3]
    assert mechanism.outcome(truth).revenue == told.truthful
    change = told.users_after - told.users_before
    assert told.gain == told.revenue - stake * told.truthful + change
    assert str(told.gain) in str(told)
    assert told.record()["sentence"] == str(told)


OWNERS = {"outsider": "out", "fake of the miner": "miner", "fake of a user": "user"}


@pytest.mark.parametrize("mechanism", [m for m in SMALL if m != FirstPrice(2)], ids=str)
def test_the_deviation_can_be_made_and_earns_its_gain_in_plain_fractions(
    mechanism: Mechanism,
) -> None:
    """Its outsiders' bids are of that profile, and the plain accounts of its block agree."""
    market = Market(3, 2, F(1), F(1, 3), accounting="mixed", fakes=1)
    told = check_scp(mechanism, market, 1).deviation
    assert told is not None
    (value,), others = told.colluders, told.values[:-1]
    used = Counter(entry.bid for entry in told.entries if entry.owner == "outsider")
    assert used <= Counter(others)
    game = Game(mechanism, 3, 2, F(1), F(1, 3), accounting="mixed")
    honest: list[Bid] = [(v, "out", v) for v in others] + [(value, "member", value)]
    block: list[Bid] = []
    for entry in told.entries:
        owner = OWNERS.get(entry.owner, "member")
        worth = {"out": entry.bid, "member": value}.get(owner, 0)
        block.append((entry.bid, owner, worth))
    assert earned(game, block, *lottery(game, honest)) == told.gain


def test_ties_count_only_what_money_can_do() -> None:
    """A tick of a tenth gives a tenth of the gain."""
    market = Market(4, 3, stake=F(1, 4), accounting="mixed")
    whole = check_scp(bsp_gamma(3, 2, F(1)), market, 1)
    tenth = BSP(3, 2, 2, F(1), tick=F(1, 10))
    small = check_scp(tenth, replace(market, tick=F(1, 10)), 1)
    assert small.gain == whole.gain / 10 == F(9, 40)


@pytest.mark.long
def test_four_places_five_users_and_twelve_values_are_searched_in_a_minute() -> None:
    """All three properties, coalitions of one and of two users, any number of fakes."""
    start = time.process_time()
    mechanism = BSP(4, 3, 1, F(1, 2))
    market = Market(5, 11, F(1), F(4, 5), accounting="consistent")
    assert check_uic(mechanism, market).holds
    assert check_mic(mechanism, market).holds
    told = check_scp(mechanism, market, 2)
    assert told.searched == 12 * 1365 + 78 * 364  # values of the coalition × of the others
    assert told.gain == F(1, 2) * 11 - F(4, 5) * F(1, 2) * 10 - 1
    assert time.process_time() - start < 60


@pytest.mark.parametrize(
    ("market", "sentence"),
    [
        (lambda: Market(0, 3), "a search needs 1 user and 1 tick or more, got 0 and 3"),
        (lambda: Market(3, 3, gamma=F(2)), r"`gamma` is in \[0, 1\]"),
        (lambda: Market(3, 3, stake=F(0)), r"the share of stakes in \(0, 1\]"),
        (lambda: Market(3, 3, tick=F(0)), "the tick above 0"),
        (lambda: Market(3, 3, accounting="fair"), "one-shot, mixed, consistent, got 'fair'"),
        (lambda: Market(3, 3, reward=F(-1)), "reward and fake bids are 0 or more"),
        (lambda: Grid(FirstPrice(12), Market(3, 20)), "lower the highest value or the places"),
        (lambda: check_scp(FirstPrice(2), Market(3, 3), 0), "1 colluding user or more, got 0"),
        (lambda: check_scp(FirstPrice(6), Market(7, 11), 2), "cases, more than the"),
        (lambda: check_mic(FirstPrice(2), Market(10**6, 2)), "1000000 users, 2 places and 3 val"),
        (lambda: check_uic(FirstPrice(2), Market(300, 5)), "300 users, 2 places and 6 values are"),
        (lambda: Grid(FirstPrice(9000), Market(3, 9000)), "9000 places and 9002 levels of bids"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(market, sentence: str) -> None:  # noqa: ANN001
    with pytest.raises(ValueError, match=sentence):
        market()
