"""The checks the plain way: every profile, coalition, bid, fake, choice and order, in fractions.

Slow, and written without the library's grid; an oracle for it on small markets.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import combinations, combinations_with_replacement, pairwise, permutations, product

from scoreward.studies.fees.mechanism import Mechanism, Outcome

Bid = tuple[int, str, int]  # (bid, owner, value); owners: out, member, miner (fake), user (fake)


@dataclass(frozen=True)
class Game:
    """What is searched."""

    mechanism: Mechanism
    users: int
    top: int
    gamma: Fraction
    stake: Fraction = Fraction(1)
    reward: Fraction = Fraction(0)
    accounting: str = "one-shot"
    fakes: int = 1


def settle(game: Game, block: list[int]) -> Outcome:
    """Of a block with too few bids as well."""
    return outcome(game.mechanism, (*block, *(0,) * (game.mechanism.block - len(block))))


@cache
def outcome(mechanism: Mechanism, block: tuple[int, ...]) -> Outcome:
    return mechanism.outcome([Fraction(bid) for bid in block])


def utility(game: Game, told: Outcome, place: int, bid: int, value: int) -> Fraction:
    over = game.gamma * max(bid - value, 0)
    if place >= game.mechanism.block:
        return -over
    q = told.confirmed[place]
    return q * (value - told.price[place]) - (1 - q) * over


def lottery(game: Game, bids: list[Bid]) -> tuple[Fraction, Fraction]:
    """(revenue, utility of all but outsiders) of an honest miner, over all orders of equals."""
    orders = list(falling(bids))
    total = Fraction(0)
    for order in orders:
        told = settle(game, [bid for bid, _, _ in order][: game.mechanism.block])
        for place, (bid, owner, value) in enumerate(order):
            if owner != "out":
                total += utility(game, told, place, bid, value)
    block = [bid for bid, _, _ in orders[0]][: game.mechanism.block]
    return settle(game, block).revenue + game.reward, total / len(orders)


def falling(bids: Iterable[Bid]) -> Iterator[list[Bid]]:
    """All orders that never rise."""
    for order in permutations(bids):
        if all(a[0] >= b[0] for a, b in pairwise(order)):
            yield list(order)


def worth(game: Game, revenue: Fraction, truthful: Fraction, users: Fraction) -> Fraction:
    """The gain of a coalition, from the definition of each accounting."""
    if game.accounting == "one-shot":
        return revenue - truthful + users
    x = game.stake
    won = 1 if revenue > truthful else x if revenue == truthful else Fraction(0)
    miner = won * revenue - x * truthful  # u, xμ or 0, less xμ
    return miner + (won * users if game.accounting == "consistent" else users)


def best_coalition(game: Game, size: int) -> Fraction:
    """The most that the miner and `size` users gain."""
    best = Fraction(0)
    levels = range(game.top + 2)
    for values in combinations_with_replacement(range(game.top + 1), game.users):
        for chosen in {
            tuple(values[i] for i in who) for who in combinations(range(game.users), size)
        }:
            rest = list(values)
            for value in chosen:
                rest.remove(value)
            honest: list[Bid] = [(v, "out", v) for v in rest] + [(v, "member", v) for v in chosen]
            mu, before = lottery(game, honest)
            for bids in product([None, *levels], repeat=size):
                members = [(b, "member", v) for b, v in zip(bids, chosen) if b is not None]
                for fakes in fake_sets(game, size > 0):
                    for number in range(len(rest) + 1):
                        for kept in set(combinations(rest, number)):
                            block = [*members, *fakes, *((v, "out", v) for v in kept)]
                            if len(block) <= game.mechanism.block:
                                best = max(best, earned(game, block, mu, before))
    return best


def fake_sets(game: Game, users: bool) -> Iterator[list[Bid]]:
    owners = ["miner", "user"] if users else ["miner"]
    kinds = [(bid, owner, 0) for bid in range(game.top + 2) for owner in owners]
    for number in range(game.fakes + 1):
        yield from (list(fakes) for fakes in combinations_with_replacement(kinds, number))


def earned(game: Game, block: list[Bid], mu: Fraction, before: Fraction) -> Fraction:
    """The best order of the block."""
    gains = []
    for order in falling(block):
        told = settle(game, [bid for bid, _, _ in order])
        revenue, users = told.revenue + game.reward, -before
        for place, (bid, owner, value) in enumerate(order):
            if owner == "miner":
                revenue += utility(game, told, place, bid, value)
            if owner in ("member", "user"):
                users += utility(game, told, place, bid, value)
        gains.append(worth(game, revenue, mu, users))
    return max(gains, default=worth(game, settle(game, []).revenue + game.reward, mu, -before))


def best_user(game: Game) -> Fraction:
    """The most that a user gains alone."""
    best = Fraction(0)
    levels = range(game.top + 2)
    for others in combinations_with_replacement(range(game.top + 1), game.users - 1):
        rest: list[Bid] = [(v, "out", v) for v in others]
        for value in range(game.top + 1):
            before = lottery(game, [*rest, (value, "member", value)])[1]
            for bid in (None, *levels):
                own: list[Bid] = [] if bid is None else [(bid, "member", value)]
                for number in range(game.fakes + 1):
                    for fakes in combinations_with_replacement(levels, number):
                        all_bids = [*rest, *own, *((f, "user", 0) for f in fakes)]
                        best = max(best, lottery(game, all_bids)[1] - before)
    return best
