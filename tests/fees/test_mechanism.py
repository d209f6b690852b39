"""Mechanisms on blocks worked out by hand, and what is refused."""

from fractions import Fraction as F

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreward.studies.fees.bsp import BSP
from scoreward.studies.fees.mechanism import (
    EIP1559,
    FirstPrice,
    Mechanism,
    SecondPrice,
    bids_of,
    exact,
    included,
    next_base_fee,
    padded,
)

ALL: list[Mechanism] = [
    FirstPrice(4),
    SecondPrice(4),
    SecondPrice(4, burnt=True),
    EIP1559(4, F(5, 2), F(1)),
    BSP(4, 2, 1, F(1, 2)),
    BSP(4, 3, 2, F(1, 3)),
]


@pytest.mark.parametrize("mechanism", ALL, ids=str)
@given(bids=st.lists(st.integers(0, 9), min_size=4, max_size=4))
def test_what_is_paid_is_received_or_burnt(mechanism: Mechanism, bids: list[int]) -> None:
    told = mechanism.outcome([F(bid) for bid in sorted(bids, reverse=True)])
    assert told.paid == told.revenue + told.burn
    assert min(told.revenue, told.burn, *told.price) >= 0
    assert all(0 <= q <= 1 for q in told.confirmed)
    for bid, price, q in zip(sorted(bids, reverse=True), told.price, told.confirmed):
        assert not q or price <= bid  # nobody pays more than bid
    assert isinstance(mechanism, Mechanism)


def test_first_price_gives_all_bids_to_the_miner() -> None:
    told = FirstPrice(3).outcome([F(5), F(3), F(1)])
    assert (told.price, told.revenue, told.burn) == ((5, 3, 1), 9, 0)
    assert told.confirmed == (1, 1, 1)


@pytest.mark.parametrize(("burnt", "revenue", "burn"), [(False, 2, 0), (True, 0, 2)])
def test_second_price_takes_the_last_bid_of_the_block(burnt: bool, revenue: int, burn: int) -> None:
    told = SecondPrice(3, burnt).outcome([F(5), F(3), F(1)])
    assert (told.confirmed, told.price) == ((1, 1, 0), (1, 1, 0))
    assert (told.revenue, told.burn) == (revenue, burn)


def test_eip_1559_burns_the_base_fee_and_tips_from_what_is_left() -> None:
    """[roughgarden] (payment) Base 2, tip 1: 5 pays 3, 5/2 pays 5/2, 1 is out."""
    told = EIP1559(3, F(2), F(1)).outcome([F(5), F(5, 2), F(1)])
    assert told.confirmed == (1, 1, 0)
    assert told.price == (3, F(5, 2), 0)
    assert (told.revenue, told.burn) == (F(3, 2), 4)


@pytest.mark.parametrize(
    ("base_fee", "used", "target", "after"),
    [
        (1000, 20, 10, 1125),  # full: an eighth more
        (1000, 0, 10, 875),  # empty: an eighth less
        (1000, 10, 10, 1000),
        (1000, 15, 10, 1062),  # 62.5, rounded down
        (1000, 5, 10, 938),
        (3, 11, 10, 4),  # always one unit more
        (3, 9, 10, 3),
    ],
)
def test_the_base_fee_follows_demand(base_fee: int, used: int, target: int, after: int) -> None:
    """[roughgarden] (base fee)"""
    assert next_base_fee(base_fee, used, target) == after


def test_the_highest_bids_are_included_and_the_first_of_equals() -> None:
    bids = [F(b) for b in (1, 4, 4, 2, 4)]
    assert included(FirstPrice(2), bids) == [1, 2]
    assert included(EIP1559(4, F(2)), bids) == [1, 2, 4, 3]
    assert padded(EIP1559(3, F(4)), bids[:2]) == [4, 0, 0]


def test_numbers_are_taken_as_they_are_written() -> None:
    assert exact(0.1, "x") == F(1, 10)
    assert exact("2/3", "x") == F(2, 3)
    assert bids_of([1, "0.5"]) == [1, F(1, 2)]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: bids_of([3, -1]), "bids are 0 or more, got -1"),
        (
            lambda: exact("many", "stake"),
            "`stake` is a finite number like 3, 0.25 or 1/3, got 'many'",
        ),
        (lambda: exact(float("nan"), "stake"), "`stake` is a finite number"),
        (lambda: exact("1/0", "stake"), "`stake` is a finite number"),
        (lambda: exact("1e400000000", "bids"), "at most 100 characters and powers of 10, got '1e4"),
        (lambda: exact("9" * 101, "bids"), "got '99999999999999999999'…; write it shorter"),
        (lambda: FirstPrice(0), "a block has 1 place or more with this mechanism, got 0"),
        (lambda: SecondPrice(1), "a block has 2 places or more with this mechanism, got 1"),
        (lambda: EIP1559(2, F(-1)), "base fee and tip are 0 or more, got -1 and 0"),
        (lambda: next_base_fee(1, 1, 0), "target and denominator 1 or more; got 1, 1, 0 and 8"),
        (lambda: FirstPrice(2).outcome([F(1), F(2)]), "in falling order, 0 or more; got 1, 2"),
    ],
)
def test_wrong_numbers_are_refused_in_a_sentence(make, sentence: str) -> None:  # noqa: ANN001
    with pytest.raises(ValueError, match=sentence):
        make()
