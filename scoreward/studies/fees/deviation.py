"""A deviation that pays, as a record and as sentences."""

from dataclasses import dataclass
from fractions import Fraction

NAMES = {
    "UIC": "user incentive compatibility",
    "MIC": "miner incentive compatibility",
    "c-SCP": "side-contract proofness",
}


@dataclass(frozen=True)
class DeviationBid:
    """A bid of a deviation: whose it is (outsider, colluder, a fake's owner), how many ticks."""

    owner: str
    bid: int

    def __str__(self) -> str:
        return f"{self.bid} ({self.owner})"


@dataclass(frozen=True)
class Deviation:
    """The most profitable deviation of a search; gains and utilities in money per block."""

    rule: str  # UIC, MIC or c-SCP
    gain: Fraction
    values: tuple[int, ...]  # of all users, in ticks, the colluders' last
    colluders: tuple[int, ...]  # values of the users who deviate
    entries: tuple[
        DeviationBid, ...
    ]  # MIC, c-SCP: the block; UIC: the bids of the user who deviates
    truthful: Fraction  # the miner's revenue if all are truthful, μ
    revenue: Fraction  # of the miner, with her fake bids, u
    users_before: Fraction  # utility of those who deviate, together
    users_after: Fraction

    def __str__(self) -> str:
        values = ", ".join(map(str, self.values))
        bids = ", ".join(map(str, self.entries)) or "nothing"
        who = " and ".join(f"{value}" for value in self.colluders)
        users = f"user who values {who}" if len(self.colluders) == 1 else f"users who value {who}"
        utility = f"utility {self.users_before} -> {self.users_after}"
        if self.rule == "UIC":
            return (
                f"users value {values} ticks; the {users} bids {bids} instead of {who}: {utility}, "
                f"gain {self.gain}"
            )
        miner = f"revenue {self.truthful} -> {self.revenue}"
        if self.rule == "MIC":
            who, utility = "the miner makes", ""
        else:
            who, utility = f"the miner and the {users} make", f", users' {utility}"
        return (
            f"users value {values} ticks; {who} the block {bids}: {miner}{utility}, "
            f"gain {self.gain}"
        )

    def record(self) -> dict[str, object]:
        """For JSON; fractions as text."""
        return {
            "gain": str(self.gain),
            "values": list(self.values),
            "colluders": list(self.colluders),
            "bids": [{"owner": entry.owner, "bid": entry.bid} for entry in self.entries],
            "miner": [str(self.truthful), str(self.revenue)],
            "users": [str(self.users_before), str(self.users_after)],
            "sentence": str(self),
        }


@dataclass(frozen=True)
class Verdict:
    """Whether a property holds on the whole grid."""

    rule: str
    holds: bool
    deviation: Deviation | None  # the best one, if it gains something
    searched: int  # truthful profiles

    @property
    def gain(self) -> Fraction:
        """The most that anybody gains, 0 if nobody does."""
        return self.deviation.gain if self.deviation else Fraction(0)
