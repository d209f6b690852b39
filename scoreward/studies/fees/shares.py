"""The share of stakes of a miner whose blocks earn u while blocks of others earn μ.

A block is won with a chance equal to the share of stakes, and what it earns is staked. For u = μ
the share is a martingale and tends to a random number; otherwise it tends to 1 or 0, but slowly, as
a power of the number of blocks.  [pos-fees] (urn)
"""

from dataclasses import dataclass
from math import isfinite, log, log10

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Race:
    """Stakes at the start, and what a block adds to them; all in one unit."""

    stake: float  # X₀, the miner's
    total: float  # N₀, of all
    own: float  # u, for a block the miner wins
    others: float  # μ, for a block of somebody else

    def __post_init__(self) -> None:
        if not 0 < self.stake < self.total:
            raise ValueError(
                f"the miner's stake is above 0 and below the total {self.total}, got {self.stake}"
            )
        if not (self.own > 0 and self.others > 0 and isfinite(self.own + self.others)):
            raise ValueError(f"blocks earn more than 0, got {self.own} and {self.others}")

    @property
    def share(self) -> float:
        """x = X₀/N₀."""
        return self.stake / self.total


def simulate_share(
    race: Race, at: tuple[int, ...], runs: int, seed: int
) -> Float[np.ndarray, "times runs"]:
    """Shares after each of these numbers of blocks, increasing.  [pos-fees] (urn)"""
    if not at or at[0] < 1 or list(at) != sorted(set(at)) or runs < 1:
        raise ValueError(
            f"block numbers increase from 1 or more, and 1 run or more; got {at}, {runs}"
        )
    chance = np.random.default_rng(seed)
    mine, other = np.full(runs, float(race.stake)), np.full(runs, float(race.total - race.stake))
    kept = []
    for block in range(1, at[-1] + 1):
        won = chance.random(runs) * (mine + other) < mine
        mine += race.own * won
        other += race.others * ~won
        if block in at:
            kept.append(mine / (mine + other))
    return np.stack(kept)


def limit_law(race: Race) -> tuple[float, float]:
    """(a, b) of the Beta law of the limiting share.  [pos-fees] (urn)

    Beta(X₀/μ, (N₀ − X₀)/μ), mean x, variance x(1 − x)/(1 + N₀/μ). Raises ValueError unless u = μ.
    """
    if race.own != race.others:
        raise ValueError(
            f"the share has a random limit only if u = μ, got {race.own} and {race.others}"
        )
    return race.stake / race.others, (race.total - race.stake) / race.others


def blocks_until(race: Race, share: float) -> float:
    """log₁₀ of the blocks until the share is reached, without randomness.  [pos-fees] (fluid)

    X = X₀ (Y/Y₀)^{u/μ}, and X/u + Y/μ grows by 1 with each block. Raises ValueError for a share
    that is never reached.
    """
    rest = race.total - race.stake
    odds = log(share / (1 - share)) - log(race.stake / rest) if 0 < share < 1 else 0.0
    if odds * (race.own - race.others) <= 0:
        raise ValueError(
            f"the share goes from {race.share} towards {int(race.own > race.others)} and does not "
            f"come to {share}"
        )
    growth = odds / (race.own / race.others - 1)  # log Y/Y₀
    if growth > 300:  # the start does not matter, and exp would overflow
        return (growth + log(rest * (share / (1 - share) / race.own + 1 / race.others))) / log(10)
    other = rest * np.exp(growth)
    mine = other * share / (1 - share)
    return log10((mine - race.stake) / race.own + (other - rest) / race.others)
