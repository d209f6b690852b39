"""UIC, MIC and c-SCP by exhaustive search on a grid of values and bids, in exact arithmetic.

User incentive compatibility (UIC): no user gains by another bid or by fake bids. Miner incentive
compatibility (MIC): the miner does not gain by choosing whom to include or by fake bids.
Side-contract proofness (c-SCP): nor do the miner and 1 … c users together.

Why it is quick. A coalition realises a block if the bids in it that are not its own are among the
outsiders' truthful bids. So each block is looked at once for each way of saying whose each place
is, not once for each profile: what it earns is filed under the outsiders' bids it uses, as pairs of
the miner's revenue and the users' best utility. A profile then only looks at the subsets of its
outsiders' bids.  [pos-fees] (search)
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations, product
from math import comb

import numpy as np
from jaxtyping import Shaped

from scoreward.studies.fees.deviation import Deviation, DeviationBid, Verdict
from scoreward.studies.fees.grid import Grid, Market, Numbers, multisets
from scoreward.studies.fees.mechanism import Mechanism

OUTSIDER, MINER_FAKE, USER_FAKE, MEMBER = 0, 1, 2, 3  # whose a place is; the i-th member 3 + i
MANY = 1_000_000_000  # blocks × ways to fill × values of the coalition; about a minute
CHOICES = 50_000_000  # profiles of outsiders × subsets of their bids; about a minute
BATCH = 4_000_000  # numbers held before they are reduced; 32 MB


def check_uic(mechanism: Mechanism, market: Market) -> Verdict:
    """One user against an honest miner: every bid, or none, and every set of fakes.  [tfm] (UIC)

    Equal bids are ordered by lot. Values 0 … M, bids 0 … M + 1; fake bids at most `market.fakes`, 1
    if that is None. Raises ValueError for a grid too large.
    """
    market = replace(market, fakes=1 if market.fakes is None else market.fakes)
    grid = Grid(mechanism, market)
    own = comb(grid.fakes + grid.top + 2, grid.fakes) * (grid.top + 3)  # of `_own_bids`
    _few_profiles(grid, 1, own * (grid.top + 1) * market.users, MANY)
    others = multisets(market.users - 1, market.top)
    kinds = np.arange(market.top + 1)
    before = np.stack([_alone(grid, others, (int(v),), kinds[v : v + 1])[0] for v in kinds])
    best, found = 0, None
    for own in _own_bids(market):
        gains = _alone(grid, others, own, kinds) - before
        value, row = np.unravel_index(np.argmax(gains), gains.shape)
        if gains[value, row] > best:
            best, found = gains[value, row], (int(value), int(row), own)
    profiles = len(others) * len(kinds)
    if found is None:
        return Verdict("UIC", True, None, profiles)
    value, row, own = found
    names = ("own", *["fake"] * (len(own) - 1))
    entries = tuple(DeviationBid(name, int(bid)) for name, bid in zip(names, own) if bid >= 0)
    truth = Fraction(int(before[value, row]), grid.scale)
    gain = Fraction(int(best), grid.scale)
    told = (*(int(v) for v in others[row]), value)
    zero = Fraction(0)
    deviation = Deviation("UIC", gain, told, (value,), entries, zero, zero, truth, truth + gain)
    return Verdict("UIC", False, deviation, profiles)


def _own_bids(market: Market) -> Iterator[tuple[int, ...]]:
    """(bid or −1 for none, fakes…) of one user."""
    for fakes in range((market.fakes or 0) + 1):
        for row in multisets(fakes, market.top + 1).tolist():
            for bid in range(-1, market.top + 2):
                yield (bid, *row)


def _alone(
    grid: Grid, others: np.ndarray, own: tuple[int, ...], values: np.ndarray
) -> Shaped[np.ndarray, "kinds rows"]:
    """Utility of a user with own bid and fakes, for each value and each set of others' bids."""
    rows = len(others)
    mine = np.broadcast_to(np.array(own), (rows, len(own)))
    bids = -np.sort(-np.concatenate([others, mine], axis=1), axis=1)
    total = np.zeros((len(values), rows), dtype=grid.dtype)
    for i, bid in enumerate(own):
        if bid >= 0:
            worth = values if i == 0 else np.zeros(1, dtype=np.int64)
            kinds = np.broadcast_to(worth[:, None], (len(worth), rows))
            total = total + grid.expected(bids, np.full(rows, bid), kinds)
    return total


def check_mic(mechanism: Mechanism, market: Market) -> Verdict:
    """The miner alone: every choice of bids to include, and of fakes.  [tfm] (MIC)

    Raises ValueError for a grid too large.
    """
    grid = Grid(mechanism, market)
    _affordable(grid, 0)
    return _search(grid, 0)


def check_scp(mechanism: Mechanism, market: Market, colluders: int) -> Verdict:
    """The miner and 1 … c users: all bids, fakes of either, choices and orders.  [tfm] (c-SCP)

    Raises ValueError for a grid too large, or c < 1.
    """
    if colluders < 1:
        raise ValueError(f"a coalition has 1 colluding user or more, got {colluders}")
    grid = Grid(mechanism, market)
    sizes = range(1, min(colluders, market.users) + 1)
    for size in sizes:  # before the first of them is searched
        _affordable(grid, size)
    found = [_search(grid, size) for size in sizes]
    worst = max(found, key=lambda verdict: verdict.gain)
    return Verdict("c-SCP", worst.holds, worst.deviation, sum(v.searched for v in found))


@dataclass(frozen=True)
class Filled:
    """All blocks that one way of saying whose each place is can have.

    `outsiders` numbers the outsiders' bids in each, `revenue` is the miner's with her fakes.
    """

    owners: tuple[int, ...]
    blocks: Shaped[np.ndarray, "rows"]
    outsiders: Shaped[np.ndarray, "rows"]
    revenue: Shaped[np.ndarray, "rows"]

    def users(self, grid: Grid, values: Shaped[np.ndarray, "kinds size"]) -> Numbers:
        """Utility of the coalition's users and their fakes, one column for each of their values."""
        total = np.zeros((len(self.blocks), len(values)), dtype=grid.dtype)
        for place, owner in enumerate(self.owners):
            if owner == USER_FAKE:
                total += grid.utility[0, self.blocks, place][:, None]
            if owner >= MEMBER:
                total += grid.utility[values[:, owner - MEMBER]][:, self.blocks, place].T
        return total


def _fillings(grid: Grid, size: int) -> Iterator[tuple[int, ...]]:
    """Whose each place can be; a member has at most one."""
    kinds = (OUTSIDER, MINER_FAKE, *((USER_FAKE,) if size else ()))
    for owners in product((*kinds, *range(MEMBER, MEMBER + size)), repeat=grid.block):
        members = [owner for owner in owners if owner >= MEMBER]
        outside = owners.count(OUTSIDER)
        if len(set(members)) == len(members) and outside <= grid.market.users - size:
            yield owners


def _fill(grid: Grid, owners: tuple[int, ...]) -> Filled:
    """Outsiders bid M at most; a fake of 0 is an empty place, and free."""
    marks = np.array(owners)
    fake = (marks == MINER_FAKE) | (marks == USER_FAKE)
    bids = grid.bids
    fits = (bids[:, marks == OUTSIDER] <= grid.top).all(1)
    fits &= (bids[:, fake] > 0).sum(1) <= grid.fakes
    fits &= (bids[:, marks == USER_FAKE] > 0).all(1)  # an empty place is named once
    blocks = np.flatnonzero(fits)
    revenue = grid.revenue[blocks]
    for place in np.flatnonzero(marks == MINER_FAKE):
        revenue = revenue + grid.utility[0, blocks, place]
    return Filled(owners, blocks, _number(bids[blocks][:, marks == OUTSIDER], grid), revenue)


def _number(bids: Shaped[np.ndarray, "rows n"], grid: Grid) -> Shaped[np.ndarray, "rows"]:
    """One number for each sequence of up to B bids."""
    total = np.zeros(len(bids), dtype=np.int64)
    for column in bids.T:
        total = total * (grid.top + 2) + column + 1
    return total


@dataclass(frozen=True)
class Earned:
    """What can be earned with given outsiders' bids: u, and the users' best utility with it."""

    revenue: Shaped[np.ndarray, "rows"]
    users: Shaped[np.ndarray, "rows kinds"]


def _file(grid: Grid, size: int, values: np.ndarray) -> dict[int, Earned]:
    """What is earned under each number of outsiders' bids."""
    batch, held, waiting = [], 0, []
    for owners in _fillings(grid, size):
        filled = _fill(grid, owners)
        batch.append((filled.outsiders, filled.revenue, filled.users(grid, values)))
        held += batch[-1][2].size
        if held > BATCH:
            waiting, batch, held = [_best([*waiting, *batch])], [], 0
    keys, revenue, users = _best([*waiting, *batch])
    cuts = np.flatnonzero(np.diff(keys)) + 1
    parts = zip(np.split(keys, cuts), np.split(revenue, cuts), np.split(users, cuts))
    return {int(key[0]): Earned(u, best) for key, u, best in parts}


def _best(parts: list[tuple[Numbers, Numbers, Numbers]]) -> tuple[Numbers, Numbers, Numbers]:
    """For each (outsiders, revenue) the best users' utility, sorted."""
    keys, revenue, users = (np.concatenate(column) for column in zip(*parts))
    order = np.lexsort((revenue, keys))
    keys, revenue, users = keys[order], revenue[order], users[order]
    fresh = (keys[1:] != keys[:-1]) | (revenue[1:] != revenue[:-1])
    starts = np.concatenate([[0], np.flatnonzero(fresh) + 1])
    return keys[starts], revenue[starts], np.maximum.reduceat(users, starts, axis=0)


def _gains(
    grid: Grid, revenue: Numbers, users: Numbers, truthful: Numbers, before: Numbers
) -> Numbers:
    """Gain of the coalition times the denominator of x.  [pos-fees] (accounting)

    As `coalition_gain`, in whole numbers; shapes that broadcast.
    """
    a, d = grid.market.stake.numerator, grid.market.stake.denominator
    change = users - before
    if grid.market.accounting == "one-shot":
        return d * (revenue - truthful + change)
    more, same = revenue > truthful, revenue == truthful
    miner = np.where(more, d * revenue, np.where(same, a * truthful, 0)) - a * truthful
    if grid.market.accounting == "mixed":
        return miner + d * change
    return miner + np.where(more, d * change, np.where(same, a * change, 0))


def _truth(grid: Grid, outsiders: np.ndarray, values: np.ndarray) -> tuple[Numbers, Numbers]:
    """(μ, the coalition's users' utility) if all are truthful, for each of the users' values."""
    rows = np.broadcast_to(outsiders, (len(values), len(outsiders)))
    bids = -np.sort(-np.concatenate([rows, values], axis=1), axis=1)
    users = np.zeros(len(values), dtype=grid.dtype)
    for value in values.T:
        users = users + grid.expected(bids, value, value[None])[0]
    return grid.revenue[grid.honest(bids)], users


def _subsets(outsiders: np.ndarray, grid: Grid) -> list[int]:
    """Numbers of all choices of outsiders' bids that fit into a block."""
    sizes = range(min(len(outsiders), grid.block) + 1)
    rows = {row for size in sizes for row in combinations(outsiders.tolist(), size)}
    return [int(_number(np.array([row], dtype=np.int64), grid)[0]) for row in sorted(rows)]


def _search(grid: Grid, size: int) -> Verdict:
    """The best deviation of the miner and `size` users, over all profiles."""
    values = multisets(size, grid.top)
    filed = _file(grid, size, values)
    others = multisets(grid.market.users - size, grid.top)
    best, found = 0, None
    for outsiders in others:
        truthful, before = _truth(grid, outsiders, values)
        parts = [filed[key] for key in _subsets(outsiders, grid) if key in filed]
        revenue = np.concatenate([part.revenue for part in parts])[:, None]
        users = np.concatenate([part.users for part in parts])
        gains = _gains(grid, revenue, users, truthful, before).max(0)
        kind = int(np.argmax(gains))
        if gains[kind] > best:
            best, found = gains[kind], (outsiders, values[kind])
    rule = "c-SCP" if size else "MIC"
    if found is None:
        return Verdict(rule, True, None, len(others) * len(values))
    deviation = _witness(grid, rule, int(best), *found)
    return Verdict(rule, False, deviation, len(others) * len(values))


def _few_profiles(grid: Grid, size: int, each: int, most: int) -> None:
    """Raises ValueError for too many profiles of the users who do not deviate."""
    outsiders = grid.market.users - size
    cases = comb(outsiders + grid.top, grid.top) * each
    if cases > most:
        raise ValueError(
            f"{grid.market.users} users, {grid.block} places and {grid.top + 1} values are more "
            f"than the {most:.0e} cases that are searched; lower the users or the highest value"
        )


def _affordable(grid: Grid, size: int) -> None:
    """Raises ValueError for a coalition of that size that would take too long."""
    outsiders = grid.market.users - size
    subsets = sum(comb(outsiders, n) for n in range(min(outsiders, grid.block) + 1))
    _few_profiles(grid, size, subsets, CHOICES)
    kinds = comb(size + grid.top, size)  # of values of the coalition
    work = len(grid.bids) * kinds * (size + 3) ** grid.block
    if work > MANY:
        raise ValueError(
            f"{grid.block} places, {grid.top + 1} values and coalitions of {size} users are about "
            f"{work:.1g} cases, more than the {MANY:.0e} that are searched; lower the highest "
            "value, the places or the colluders"
        )


def _witness(
    grid: Grid, rule: str, best: int, outsiders: np.ndarray, members: np.ndarray
) -> Deviation:
    """The deviation with that gain that has the fewest fakes and the fewest untruthful bids."""
    values = members[None]
    truthful, before = _truth(grid, outsiders, values)
    allowed = np.array(_subsets(outsiders, grid))
    least, chosen = (len(members) + grid.block + 1, 0), None
    for owners in _fillings(grid, len(members)):
        filled = _fill(grid, owners)
        users = filled.users(grid, values)[:, 0]
        gains = _gains(grid, filled.revenue, users, truthful, before)
        for row in np.flatnonzero((gains == best) & np.isin(filled.outsiders, allowed)):
            entries = _entries(grid.bids[filled.blocks[row]], owners, members)
            effort = _effort(entries, members)
            if effort < least:
                least, chosen = effort, (entries, filled.revenue[row], users[row])
    if chosen is None:
        raise RuntimeError(f"no deviation of gain {best} was found again; this is a bug")
    entries, revenue, users = chosen
    everybody = (*(int(v) for v in outsiders), *(int(v) for v in members))
    gain = Fraction(best, grid.scale * grid.market.stake.denominator)
    money = [Fraction(int(n), grid.scale) for n in (truthful[0], revenue, before[0], users)]
    return Deviation(rule, gain, everybody, everybody[len(outsiders) :], entries, *money)


def _entries(
    bids: np.ndarray, owners: tuple[int, ...], members: np.ndarray
) -> tuple[DeviationBid, ...]:
    """The block in words, without its empty places."""
    names = {OUTSIDER: "outsider", MINER_FAKE: "fake of the miner", USER_FAKE: "fake of a user"}
    names |= {MEMBER + i: f"colluder who values {v}" for i, v in enumerate(members.tolist())}
    kept = [(o, int(b)) for o, b in zip(owners, bids) if b or o not in (MINER_FAKE, USER_FAKE)]
    return tuple(DeviationBid(names[owner], bid) for owner, bid in kept)


def _effort(entries: tuple[DeviationBid, ...], members: np.ndarray) -> tuple[int, int]:
    """(fakes, colluders who are untruthful or stay out)."""
    fakes = sum(entry.owner.startswith("fake") for entry in entries)
    told = [f"colluder who values {v}" for v in members.tolist()]
    truthful = sum(
        (entry.owner, entry.bid) == (n, v) for n, v in zip(told, members) for entry in entries
    )
    return fakes, len(members) - truthful
