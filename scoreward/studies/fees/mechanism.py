"""Transaction-fee mechanisms over one small interface, in exact arithmetic.

A block has B places.  An honest miner fills it with the B highest bids; the mechanism says, for the
bids of a block in falling order, who is confirmed with which probability, what the confirmed pay,
what the miner gets and what is burnt.  What is paid is always what is received plus what is burnt.

Keys: tfm, "Foundations of Transaction Fee Mechanism Design", arXiv 2111.03151; roughgarden, on
EIP-1559, arXiv 2012.00854.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Protocol, runtime_checkable

Number = int | float | str | Decimal | Fraction
LONGEST = 100  # characters of a number as text, and its exponent at most


@dataclass(frozen=True)
class Outcome:
    """What a mechanism makes of a block, one entry per place, highest bid first."""

    confirmed: tuple[Fraction, ...]  # probability
    price: tuple[Fraction, ...]  # paid if confirmed, nothing otherwise
    revenue: Fraction  # of the miner, expected
    burn: Fraction  # expected

    @property
    def paid(self) -> Fraction:
        """Expected payments of all."""
        return sum((q * p for q, p in zip(self.confirmed, self.price)), Fraction(0))


@runtime_checkable
class Mechanism(Protocol):
    """Confirmation, payment, burn and revenue of a block."""

    @property
    def block(self) -> int:
        """B, places of a block."""
        ...

    @property
    def reserve(self) -> Fraction:
        """Bids below it are not included."""
        ...

    def outcome(self, bids: Sequence[Fraction]) -> Outcome:
        """Of exactly B bids in falling order; empty places bid 0."""
        ...


def exact(number: Number, name: str) -> Fraction:
    """The number as a fraction; 0.1 is a tenth.

    Raises ValueError unless it is finite, or for text of more than 100 characters or powers of 10.
    """
    if isinstance(number, str):
        power = number.lower().partition("e")[2].lstrip("+-0_")
        if len(number) > LONGEST or (power.isdecimal() and int(power) > LONGEST):
            raise ValueError(
                f"`{name}` is a number of at most {LONGEST} characters and powers of 10, got "
                f"{number[:20]!r}{'…' * (len(number) > 20)}; write it shorter or in larger units"
            )
    try:
        return Fraction(str(number))
    except (ValueError, ZeroDivisionError):
        raise ValueError(
            f"`{name}` is a finite number like 3, 0.25 or 1/3, got {number!r}"
        ) from None


def bids_of(numbers: Sequence[Number]) -> list[Fraction]:
    """Exact bids.  Raises ValueError for a negative one."""
    bids = [exact(number, "bids") for number in numbers]
    if min(bids, default=0) < 0:
        raise ValueError(f"bids are 0 or more, got {min(bids)}")
    return bids


def included(mechanism: Mechanism, bids: Sequence[Fraction]) -> list[int]:
    """Who an honest miner includes, in the block's order: the B highest, the first of equals."""
    ranked = sorted(range(len(bids)), key=lambda i: -bids[i])
    return [i for i in ranked if bids[i] >= mechanism.reserve][: mechanism.block]


def padded(mechanism: Mechanism, bids: Sequence[Fraction]) -> list[Fraction]:
    """The bids of the honest block, with zeros for empty places."""
    chosen = [bids[i] for i in included(mechanism, bids)]
    return chosen + [Fraction(0)] * (mechanism.block - len(chosen))


def check_block(mechanism: Mechanism, bids: Sequence[Fraction]) -> None:
    """Raises ValueError unless there are B bids in falling order, none negative."""
    falling = all(a >= b for a, b in pairwise(bids))
    if len(bids) != mechanism.block or not falling or bids[-1] < 0:
        told = ", ".join(map(str, bids))
        raise ValueError(
            f"a block of {mechanism.block} places needs as many bids in falling order, 0 or more; "
            f"got {told}"
        )


def check_places(block: int, least: int) -> None:
    """Raises ValueError for a block too small."""
    if block < least:
        some = "1 place" if least == 1 else f"{least} places"
        raise ValueError(f"a block has {some} or more with this mechanism, got {block}")


@dataclass(frozen=True)
class FirstPrice:
    """Everybody in the block is confirmed and pays the own bid to the miner."""

    block: int
    reserve: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        check_places(self.block, 1)

    def outcome(self, bids: Sequence[Fraction]) -> Outcome:
        """Pay as bid."""
        check_block(self, bids)
        sure = (Fraction(1),) * self.block
        return Outcome(sure, tuple(bids), sum(bids, Fraction(0)), Fraction(0))


@dataclass(frozen=True)
class SecondPrice:
    """All but the last of the block are confirmed and pay the last one's bid."""

    block: int
    burnt: bool = False  # payments are destroyed instead of given to the miner
    reserve: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        check_places(self.block, 2)

    def outcome(self, bids: Sequence[Fraction]) -> Outcome:
        """One price for all, the highest bid in the block that is not confirmed."""
        check_block(self, bids)
        winners = self.block - 1
        sure = (Fraction(1),) * winners + (Fraction(0),)
        price = (bids[-1],) * winners + (Fraction(0),)
        paid = winners * bids[-1]
        return Outcome(
            sure, price, Fraction(0 if self.burnt else paid), Fraction(paid * self.burnt)
        )


@dataclass(frozen=True)
class EIP1559:
    """A base fee that is burnt, and a tip for the miner.  [roughgarden] (payment)

    A bid is the most one would pay. Who bids the base fee or more pays it, and a tip of at most
    `tip` from what the bid leaves.
    """

    block: int
    base_fee: Fraction
    tip: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        check_places(self.block, 1)
        if self.base_fee < 0 or self.tip < 0:
            raise ValueError(f"base fee and tip are 0 or more, got {self.base_fee} and {self.tip}")

    @property
    def reserve(self) -> Fraction:
        return self.base_fee

    def outcome(self, bids: Sequence[Fraction]) -> Outcome:
        """base + min(tip, bid − base), of which the base is burnt.  [roughgarden] (payment)"""
        check_block(self, bids)
        sure = tuple(Fraction(bid >= self.base_fee) for bid in bids)
        tips = [min(self.tip, bid - self.base_fee) * q for bid, q in zip(bids, sure)]
        price = tuple(self.base_fee * q + tip for tip, q in zip(tips, sure))
        return Outcome(sure, price, sum(tips, Fraction(0)), self.base_fee * sum(sure))


def next_base_fee(base_fee: int, used: int, target: int, denominator: int = 8) -> int:
    """The next block's base fee, in whole units of money.  [roughgarden] (base fee)

    base·(1 + (used − target)/(8·target)), rounded down, and at least one unit more if the block was
    above its target. Raises ValueError for negative numbers or a target of 0.
    """
    if base_fee < 0 or used < 0 or target < 1 or denominator < 1:
        raise ValueError(
            "base fee and places used are 0 or more, target and denominator 1 or more; got "
            f"{base_fee}, {used}, {target} and {denominator}"
        )
    change = base_fee * abs(used - target) // target // denominator
    if used > target:
        return base_fee + max(change, 1)
    return base_fee - change
