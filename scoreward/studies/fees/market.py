"""Many blocks with users who bid their values, or what they learned to bid.

Values are drawn from a law on 0 … M ticks, anew for every block. Users learn by fictitious play:
the best bid for each value against the average of what was played so far. A mechanism that is UIC
teaches nothing but the value; under first price users learn to shade.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Float, Int

from scoreward.studies.fees.grid import Grid, Market
from scoreward.studies.fees.mechanism import EIP1559, Mechanism, next_base_fee


def uniform(top: int) -> Float[np.ndarray, "values"]:
    """Every value of 0 … M alike."""
    return np.full(top + 1, 1 / (top + 1))


def geometric(top: int, ratio: float) -> Float[np.ndarray, "values"]:
    """Each value `ratio` times as likely as the one below, cut at M.  Raises ValueError if ≤ 0."""
    if not ratio > 0:
        raise ValueError(f"`ratio` is above 0, got {ratio}")
    weights = ratio ** np.arange(top + 1)
    return weights / weights.sum()


def two_kinds(top: int, low: int, rich: float) -> Float[np.ndarray, "values"]:
    """Uniform on 0 … low, and with chance `rich` uniform on low + 1 … M."""
    if not (0 <= low < top and 0 <= rich <= 1):
        raise ValueError(f"0 ≤ low < {top} and a chance in [0, 1] expected, got {low} and {rich}")
    poor = np.arange(top + 1) <= low
    return np.where(poor, (1 - rich) / (low + 1), rich / (top - low))


@dataclass(frozen=True)
class Learned:
    """What users learned: how often a value bids what, and what they could still gain."""

    bids: Float[np.ndarray, "values levels"]  # rows sum to 1
    regret: float  # gain of a best response, mean over values, in ticks

    @property
    def mean(self) -> Float[np.ndarray, "values"]:
        """Mean bid of each value, in ticks."""
        return self.bids @ np.arange(self.bids.shape[1])


def truthful(top: int) -> Float[np.ndarray, "values levels"]:
    """Everybody bids the value."""
    return np.eye(top + 1, top + 2)


def draw(
    law: Float[np.ndarray, "values"],
    bids: Float[np.ndarray, "values levels"],
    shape: tuple[int, int],
    chance: np.random.Generator,
) -> tuple[Int[np.ndarray, "blocks users"], Int[np.ndarray, "blocks users"]]:
    """(values, bids) of users in blocks."""
    values = chance.choice(len(law), size=shape, p=law)
    cut = bids.cumsum(1)[values]
    return values, (chance.random(shape)[..., None] * cut[..., -1:] >= cut).sum(-1)


def payoffs(
    grid: Grid, others: Int[np.ndarray, "blocks others"]
) -> Float[np.ndarray, "values levels"]:
    """Mean utility of each value with each bid against drawn bids of the others, in ticks."""
    kinds = np.arange(grid.top + 1)
    table = []
    for bid in range(grid.top + 2):
        mine = np.full((len(others), 1), bid)
        bids = -np.sort(-np.concatenate([others, mine], axis=1), axis=1)
        values = np.broadcast_to(kinds[:, None], (len(kinds), len(bids)))
        table.append(grid.expected(bids, mine[:, 0], values).astype(float).mean(1))
    return np.stack(table, axis=1) / grid.scale / float(grid.market.tick)


def learn(
    grid: Grid,
    law: Float[np.ndarray, "values"],
    rounds: int = 300,
    samples: int = 400,
    seed: int = 0,
) -> Learned:
    """Fictitious play of `grid.market.users` alike users, from truthful bids.

    Of equally good bids the one nearest to the value is played. Raises ValueError if the law has
    not one chance for each value.
    """
    if len(law) != grid.top + 1 or rounds < 1 or samples < 1:
        raise ValueError(
            f"a law of {grid.top + 1} chances, 1 round and 1 sample or more expected, got "
            f"{len(law)}, {rounds} and {samples}"
        )
    chance = np.random.default_rng(seed)
    shape = (samples, grid.market.users - 1)
    average = truthful(grid.top)
    levels, kinds = np.arange(grid.top + 2), np.arange(grid.top + 1)
    near = 1e-9 * np.abs(levels[None] - kinds[:, None])
    for turn in range(rounds):
        worth = payoffs(grid, draw(law, average, shape, chance)[1])
        best = np.argmax(worth - near, axis=1)
        average += (np.eye(grid.top + 2)[best] - average) / (turn + 2)
    worth = payoffs(grid, draw(law, average, (10 * samples, shape[1]), chance)[1])
    gain = worth.max(1) - (worth * average).sum(1)
    return Learned(average, float(gain @ law))


@dataclass(frozen=True)
class Means:
    """Per block, in ticks.  Welfare = users' surplus + revenue + burn."""

    welfare: float  # values of the confirmed
    revenue: float
    burn: float
    confirmed: float  # how many

    @property
    def surplus(self) -> float:
        """What is left to users."""
        return self.welfare - self.revenue - self.burn


def simulate(
    grid: Grid,
    law: Float[np.ndarray, "values"],
    bids: Float[np.ndarray, "values levels"],
    blocks: int = 4000,
    seed: int = 0,
) -> Means:
    """Means over blocks of an honest miner; equal bids are ordered by lot.

    `bids` says how often a value bids what. The lot that confirms is averaged over, not drawn.
    """
    chance = np.random.default_rng(seed)
    values, offered = draw(law, bids, (blocks, grid.market.users), chance)
    order = np.argsort(-offered - chance.random(offered.shape) / 2, axis=1)
    values, offered = np.take_along_axis(values, order, 1), np.take_along_axis(offered, order, 1)
    number = grid.honest(offered)
    places = min(grid.block, grid.market.users)
    confirmed = grid.chance[number][:, :places].astype(float) / grid.scale
    unit = grid.scale * float(grid.market.tick)
    paid = grid.paid[number].astype(float).sum(1).mean() / unit
    revenue = (grid.revenue[number].astype(float).mean()) / unit
    welfare = (confirmed * values[:, :places]).sum(1).mean()
    return Means(
        float(welfare), float(revenue), float(paid - revenue), float(confirmed.sum(1).mean())
    )


@dataclass(frozen=True)
class BaseFee:
    """The base fee of EIP-1559 over blocks, in ticks."""

    fees: Float[np.ndarray, "blocks"]
    used: Int[np.ndarray, "blocks"]
    means: Means


def simulate_base_fee(
    mechanism: EIP1559, law: Float[np.ndarray, "values"], users: int, blocks: int, seed: int = 0
) -> BaseFee:
    """Blocks whose base fee follows demand; half a block is the target.  [roughgarden] (base fee)

    Users bid their values. Base fees are whole thousandths of a tick.
    """
    if users < 1 or blocks < 1 or mechanism.block < 2:
        raise ValueError(
            f"1 user, 1 block and 2 places or more expected, got {users}, {blocks} and "
            f"{mechanism.block}"
        )
    chance, unit = np.random.default_rng(seed), 1000
    fee, tip = round(mechanism.base_fee * unit), mechanism.tip
    rows, fees, used = [], [], []
    for _ in range(blocks):
        now = EIP1559(mechanism.block, Fraction(fee, unit), tip)
        values = np.sort(chance.choice(len(law), size=users, p=law))[::-1][: now.block]
        bids = [Fraction(int(v)) for v in values] + [Fraction(0)] * (now.block - len(values))
        told = now.outcome(bids)
        welfare = sum(q * v for q, v in zip(told.confirmed, bids))
        taken = int(sum(told.confirmed))
        rows.append([float(part) for part in (welfare, told.revenue, told.burn, taken)])
        fees.append(fee / unit)
        used.append(taken)
        fee = next_base_fee(fee, taken, now.block // 2)
    return BaseFee(np.array(fees), np.array(used), Means(*np.mean(rows, axis=0).tolist()))


def grid_of(mechanism: Mechanism, users: int, top: int, gamma: Fraction = Fraction(1)) -> Grid:
    """The grid of a simulation."""
    return Grid(mechanism, Market(users, top, gamma))
