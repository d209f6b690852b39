"""All blocks of a mechanism on a grid of bids, as whole numbers over one common denominator.

Bids are 0 … M + 1 ticks, values 0 … M. A block is one of C(M + 1 + B, B) sequences in falling
order, numbered as combinations are. Fractions are put over a common denominator once, so the search
itself adds and compares integers and stays exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import combinations_with_replacement
from math import comb, lcm

import numpy as np
from jaxtyping import Shaped

from scoreward.studies.fees.bsp import ACCOUNTINGS
from scoreward.studies.fees.mechanism import Mechanism

Numbers = np.ndarray  # of whole numbers: 64 bits, or Python's own where those might overflow
MANY = 3_000_000  # blocks of one search; about half a minute


@dataclass(frozen=True)
class Market:
    """Who takes part in a search: users, values, tick, and how utility is counted."""

    users: int  # n
    top: int  # M, the highest value in ticks
    gamma: Fraction = Fraction(1)
    stake: Fraction = Fraction(1)  # x
    tick: Fraction = Fraction(1)
    reward: Fraction = Fraction(0)  # r₀ per block, in money
    accounting: str = "one-shot"
    fakes: int | None = None  # fake bids at most; None for as many as a block has places

    def __post_init__(self) -> None:
        if self.users < 1 or self.top < 1:
            raise ValueError(
                f"a search needs 1 user and 1 tick or more, got {self.users} and {self.top}"
            )
        if not (0 <= self.gamma <= 1 and 0 < self.stake <= 1 and self.tick > 0):
            raise ValueError(
                "`gamma` is in [0, 1], the share of stakes in (0, 1] and the tick above 0; got "
                f"{self.gamma}, {self.stake} and {self.tick}"
            )
        if self.accounting not in ACCOUNTINGS:
            raise ValueError(f"`accounting` is {', '.join(ACCOUNTINGS)}, got {self.accounting!r}")
        if self.reward < 0 or (self.fakes or 0) < 0:
            raise ValueError(
                f"reward and fake bids are 0 or more, got {self.reward} and {self.fakes}"
            )


def multisets(size: int, top: int) -> Shaped[np.ndarray, "rows size"]:
    """All sequences of 0 … top in falling order."""
    rows = [row[::-1] for row in combinations_with_replacement(range(top + 1), size)]
    return np.array(rows, dtype=np.int64).reshape(len(rows), size)


class Grid:
    """Outcomes and utilities of every block, in units of 1/scale."""

    def __init__(self, mechanism: Mechanism, market: Market) -> None:
        self.mechanism, self.market = mechanism, market
        self.block, self.top = mechanism.block, market.top
        count = comb(self.top + 1 + self.block, self.block)
        if count > MANY:
            raise ValueError(
                f"{self.block} places and {self.top + 2} levels of bids give more than the {MANY} "
                "blocks that are searched; lower the highest value or the places"
            )
        rows = multisets(self.block, self.top + 1)
        self.bids = rows[np.argsort(self.number(rows))]

    def number(self, blocks: Shaped[np.ndarray, "rows block"]) -> Shaped[np.ndarray, "rows"]:
        """The number of each block in 0 … C(M + 1 + B, B) − 1."""
        places = np.arange(self.block, 0, -1)
        return self._ways[blocks + places - 1, places].sum(1)

    @cached_property
    def _ways(self) -> np.ndarray:
        """C(i, j), binomial coefficients."""
        rows, columns = self.top + self.block + 2, self.block + 1
        return np.array([[comb(i, j) for j in range(columns)] for i in range(rows)])

    @cached_property
    def _outcomes(self) -> list[tuple[Fraction, ...]]:
        """For each block (revenue, q…, q·price…)."""
        rows = []
        for row in self.bids.tolist():
            told = self.mechanism.outcome([level * self.market.tick for level in row])
            payments = (q * p for q, p in zip(told.confirmed, told.price))
            rows.append((told.revenue + self.market.reward, *told.confirmed, *payments))
        return rows

    @cached_property
    def scale(self) -> int:
        """A common denominator of all that is added up, also after averaging over ties."""
        tick, gamma, stake = self.market.tick, self.market.gamma, self.market.stake
        parts = {part.denominator for row in self._outcomes for part in row}
        ties = lcm(*range(1, self.market.users + self.fakes + 1))
        return lcm(*parts) * tick.denominator * gamma.denominator * stake.denominator * ties

    @property
    def fakes(self) -> int:
        """Fake bids at most."""
        return self.block if self.market.fakes is None else self.market.fakes

    @cached_property
    def dtype(self) -> type:
        """64 bits if no sum can overflow, else Python's own integers."""
        largest = max(abs(part) for row in self._outcomes for part in row)
        money = largest + (self.top + 1) * self.market.tick
        people = self.market.users + self.fakes + 1
        return np.int64 if 4 * self.scale * money * people**2 < 2**62 else object

    def whole(self, fractions: Sequence[Fraction]) -> Numbers:
        """Exactly scale times each. Raises ValueError if the scale does not fit."""
        scaled = [fraction * self.scale for fraction in fractions]
        if any(number.denominator != 1 for number in scaled):
            raise ValueError(f"{scaled} are no whole numbers; the scale {self.scale} is wrong")
        return np.array([int(number) for number in scaled], dtype=self.dtype)

    @cached_property
    def revenue(self) -> Shaped[np.ndarray, "blocks"]:
        """Of the miner, with the block reward."""
        return self.whole([row[0] for row in self._outcomes])

    @cached_property
    def chance(self) -> Shaped[np.ndarray, "blocks block"]:
        """Of confirmation, of each place."""
        return np.stack([self.whole(row[1 : 1 + self.block]) for row in self._outcomes])

    @cached_property
    def paid(self) -> Shaped[np.ndarray, "blocks block"]:
        """Expected payment of each place."""
        return np.stack([self.whole(row[1 + self.block :]) for row in self._outcomes])

    @cached_property
    def utility(self) -> Shaped[np.ndarray, "values blocks block"]:
        """At each place of each block, for values 0 … M: q (v − p) − (1 − q) γ max(b − v, 0)."""
        values = np.arange(self.top + 1).astype(self.dtype)[:, None, None]
        over = np.maximum(self.bids[None].astype(self.dtype) - values, 0)
        tick, gamma = self.market.tick, self.market.gamma
        missed = (self.scale - self.chance) * over * (tick * gamma).numerator
        # scale holds the denominators of tick and γ on top of those of q, so nothing is lost
        won = self.chance * values * tick.numerator // tick.denominator
        return won - self.paid - missed // (tick * gamma).denominator

    @cached_property
    def missed(self) -> Shaped[np.ndarray, "levels"]:
        """γ times 0 … M + 1 ticks, what a bid outside the block costs for each tick of overbid."""
        cost = self.market.gamma * self.market.tick
        return self.whole([cost * level for level in range(self.top + 2)])

    @cached_property
    def so_far(self) -> Shaped[np.ndarray, "values blocks places"]:
        """Sums of utility over the first 0 … B places."""
        start = np.zeros((*self.utility.shape[:2], 1), dtype=self.dtype)
        return np.concatenate([start, np.cumsum(self.utility, axis=2)], axis=2)

    def honest(self, bids: Shaped[np.ndarray, "rows n"]) -> Shaped[np.ndarray, "rows"]:
        """The number of the block that an honest miner makes of bids in falling order."""
        missing = max(self.block - bids.shape[1], 0)
        blocks = np.pad(bids[:, : self.block], ((0, 0), (0, missing)))
        return self.number(np.maximum(blocks, 0))

    def expected(
        self,
        bids: Shaped[np.ndarray, "rows n"],
        bid: Shaped[np.ndarray, "rows"],
        values: Shaped[np.ndarray, "kinds rows"],
    ) -> Shaped[np.ndarray, "kinds rows"]:
        """Utility of one of the bids, its place among equals drawn by lot, for some values.

        `bids` are all bids in falling order, −1 where there is none.
        """
        above = (bids > bid[:, None]).sum(1)
        until = above + (bids == bid[:, None]).sum(1)
        number, places = self.honest(bids), self.block
        inside = self.so_far[values, number, np.minimum(until, places)]
        inside = inside - self.so_far[values, number, np.minimum(above, places)]
        outside = np.maximum(until, places) - np.maximum(above, places)
        lost = self.missed[np.maximum(bid[None] - values, 0)] * outside
        return (inside - lost) // (until - above)  # the scale is a multiple of every tie
