"""Burning second-price auctions: BSP(γ), and BSP(θ) with a tick.

Key: pos-fees, Tang and Yao, "Transaction fee mechanism for Proof-of-Stake protocol", arXiv
2308.13881. We had its abstract, not its text: that BSP(γ) fails under long-run utility, and that a
payout rate θ in a range together with a tick repairs it, is theirs; the rule, the range and the
tick below are ours, found and checked here.

Symbols: B places, k of them can be confirmed and k' = B − k only set prices; m of the k are drawn;
θ the payout rate; γ of the strict utility; c users collude; x the miner's share of all stakes; M
the highest value in ticks; r₀ a constant reward for each block, in ticks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

from scoreward.studies.fees.mechanism import Outcome, check_block, check_places

ACCOUNTINGS = ("one-shot", "mixed", "consistent")


@dataclass(frozen=True)
class BSP:
    """Confirm m of the k highest by lot; all pay b_{k+1}; θ Σ_{i>k} b_i to the miner, rest burnt.

    [pos-fees] (BSP) The lot is drawn by trusted randomness, not by the miner. With `minting` the
    miner may be paid more than users pay, from new coins, so `burn` may be negative. Raises
    ValueError for sizes that do not fit, a rate outside [0, m/k'], or a tick that is not positive.
    """

    block: int  # B
    slots: int  # k
    confirmed: int  # m
    theta: Fraction
    tick: Fraction = Fraction(1)
    minting: bool = False
    reserve: Fraction = Fraction(0)

    def __post_init__(self) -> None:
        check_places(self.block, 2)
        if not 1 <= self.slots < self.block:
            raise ValueError(
                f"a block of {self.block} places has 1 to {self.block - 1} slots that can be "
                f"confirmed, got k = {self.slots}"
            )
        if not 1 <= self.confirmed <= self.slots:
            raise ValueError(
                f"m of k = {self.slots} slots are confirmed, 1 to {self.slots}, got m = "
                f"{self.confirmed}"
            )
        if self.tick <= 0:
            raise ValueError(f"`tick` is above 0, got {self.tick}")
        most = Fraction(self.confirmed, self.prices)
        if self.theta < 0 or (self.theta > most and not self.minting):
            right = f"in [0, {most}] = [0, m/k'], or payouts exceed payments"
            raise ValueError(
                f"the payout rate θ is {'0 or more' if self.minting else right}; got {self.theta}"
            )

    @property
    def prices(self) -> int:
        """k', the places that only set prices."""
        return self.block - self.slots

    def outcome(self, bids: Sequence[Fraction]) -> Outcome:
        """[pos-fees] (BSP)"""
        check_block(self, bids)
        stray = [bid for bid in bids if (bid / self.tick) % 1]
        if stray:
            raise ValueError(
                f"bids are multiples of the tick {self.tick}, got {stray[0]}; round it, or take a "
                "finer tick"
            )
        chance = Fraction(self.confirmed, self.slots)
        price = bids[self.slots]
        revenue = self.theta * sum(bids[self.slots :], Fraction(0))
        return Outcome(
            (chance,) * self.slots + (Fraction(0),) * self.prices,
            (price,) * self.slots + (Fraction(0),) * self.prices,
            revenue,
            self.confirmed * price - revenue,
        )


@dataclass(frozen=True)
class AuctionSetting:
    """What the valid range of θ depends on."""

    gamma: Fraction  # γ, in (0, 1]
    colluders: int  # c, 1 or more
    stake: Fraction  # x, in (0, 1]
    top: int  # M, 1 or more
    reward: Fraction = Fraction(0)  # r₀
    accounting: str = "mixed"  # of a coalition: one-shot, mixed or consistent

    def __post_init__(self) -> None:
        if not 0 < self.gamma <= 1:
            raise ValueError(f"`gamma` is above 0 and at most 1, got {self.gamma}")
        if not 0 < self.stake <= 1:
            raise ValueError(f"the miner's share of stakes is above 0, at most 1, got {self.stake}")
        if self.colluders < 1 or self.top < 1:
            raise ValueError(
                "the number of colluding users and the highest value in ticks are 1 or more, got "
                f"{self.colluders} and {self.top}"
            )
        if self.reward < 0:
            raise ValueError(f"the reward of a block is 0 or more, got {self.reward}")
        if self.accounting not in ACCOUNTINGS:
            raise ValueError(f"`accounting` is {', '.join(ACCOUNTINGS)}, got {self.accounting!r}")


def gamma_confirmed(slots: int, gamma: Fraction, colluders: int) -> int:
    """m = ⌊γk/c⌋.  [tfm] (BSP)"""
    return floor(gamma * slots / colluders)


def bsp_gamma(
    block: int, slots: int, gamma: Fraction, colluders: int = 1, minting: bool = False
) -> BSP:
    """BSP(γ) of Chung and Shi: m = ⌊γk/c⌋ confirmed, θ = γ.  [tfm] (BSP)

    Raises ValueError if nobody would be confirmed.
    """
    if not 0 < gamma <= 1 or colluders < 1:
        raise ValueError(
            f"`gamma` is above 0 and at most 1, and 1 user or more colludes; got {gamma} and "
            f"{colluders}"
        )
    drawn = gamma_confirmed(slots, gamma, colluders)
    if not drawn:
        raise ValueError(
            f"γk/c = {gamma * slots / colluders} confirms nobody; k = {slots} slots need γ/c of "
            f"{Fraction(1, max(slots, 1))} or more"
        )
    return BSP(block, slots, drawn, gamma, minting=minting)


def tail(prices: int, top: int) -> int:
    """S = k'M − 1, the largest truthful sum of the k' last bids that a tick can still raise."""
    return prices * top - 1


def theta_range(
    block: int, slots: int, confirmed: int, setting: AuctionSetting, minting: bool = False
) -> tuple[Fraction, Fraction]:
    """(lowest, highest) θ with which BSP(θ) is UIC, MIC and c-SCP; empty if they are reversed.

    [pos-fees] (theta range) One-shot: cm/k ≤ θ ≤ γ, [tfm] (one-shot). Long-run: at most
    (γ − (1 − x) r₀)/(1 + (1 − x) S), and at least cm/(kx) − r₀/M with mixed accounting, 0 with the
    consistent one. Payouts are paid for if θ ≤ m/k'. Besides, m ≤ γk/c, and θ > 0: a miner who is
    paid nothing lowers the price for free.
    """
    BSP(block, slots, confirmed, Fraction(0))  # sizes that fit
    prices = block - slots
    chance = Fraction(setting.colluders * confirmed, slots)
    x, gamma, reward = setting.stake, setting.gamma, setting.reward
    low, high = chance, gamma
    if setting.accounting != "one-shot":
        high = (gamma - (1 - x) * reward) / (1 + (1 - x) * tail(prices, setting.top))
        low = max(chance / x - reward / setting.top, Fraction(0))
    if setting.accounting == "consistent":
        low = Fraction(0)
    return low, high if minting else min(high, Fraction(confirmed, prices))


def interval(low: Fraction, high: Fraction) -> str:
    """The range as text; 0 itself is never in it."""
    if low > high or not high:
        return "empty"
    return f"{'[' if low else '('}{low}, {high}]"


def valid(bsp: BSP, setting: AuctionSetting) -> bool:
    """θ is in its range and m at most γk/c.  [pos-fees] (theta range)

    Then UIC, MIC and c-SCP hold. If not, one fails, except that some m above γk/c hold as well with
    consistent accounting, and for more colluders than slots, c > k.
    """
    low, high = theta_range(bsp.block, bsp.slots, bsp.confirmed, setting, bsp.minting)
    few = setting.colluders * bsp.confirmed <= setting.gamma * bsp.slots
    return few and bsp.theta > 0 and low <= bsp.theta <= high


def bsp_theta(bsp: BSP, setting: AuctionSetting) -> BSP:
    """The mechanism itself, if it has all three properties.  [pos-fees] (BSP theta)

    Raises ValueError with the valid range otherwise.
    """
    low, high = theta_range(bsp.block, bsp.slots, bsp.confirmed, setting, bsp.minting)
    where = (
        f"γ = {setting.gamma}, c = {setting.colluders}, x = {setting.stake} and values of "
        f"at most {setting.top} ticks"
    )
    if Fraction(setting.colluders * bsp.confirmed, bsp.slots) > setting.gamma:
        raise ValueError(
            f"at most γk/c = {setting.gamma * bsp.slots / setting.colluders} of k = {bsp.slots} "
            f"slots may be confirmed for {where}, got m = {bsp.confirmed}"
        )
    if low > high:
        raise ValueError(
            f"no payout rate θ is valid for m = {bsp.confirmed}, k = {bsp.slots}, B = {bsp.block}, "
            f"{where}: it would have to be at least {low} and at most {high}; "
            f"{'confirm fewer, or ' if bsp.confirmed > 1 else ''}take a coarser tick"
        )
    if not valid(bsp, setting):
        raise ValueError(
            f"the payout rate θ is in {interval(low, high)} for m = {bsp.confirmed}, "
            f"k = {bsp.slots}, B = {bsp.block}, {where}; got {bsp.theta}"
        )
    return bsp


def least_tick(
    theta: Fraction, prices: int, highest: Fraction, gamma: Fraction, stake: Fraction
) -> Fraction:
    """The smallest tick for which θ is not too high, in money.  [pos-fees] (tick)

    `highest` is the highest value in money. Δ ≥ (1 − x) θ k' v_max / (γ − xθ), which is θ at most
    γΔ / (Δ + (1 − x)(k' v_max − Δ)). Raises ValueError unless 0 ≤ θ < γ, or θ = γ and x = 1, and
    for a share outside (0, 1], no price-setting place or no positive value.
    """
    if not 0 < stake <= 1 or prices < 1 or highest <= 0:
        raise ValueError(
            "the share of stakes is above 0, at most 1, k' is 1 or more and the highest value "
            f"above 0; got {stake}, {prices} and {highest}"
        )
    if stake == 1 and theta == gamma:
        return Fraction(0)
    if not 0 <= theta < gamma:
        raise ValueError(
            f"a tick helps if the payout rate θ is in [0, {gamma}), below γ; got {theta}"
        )
    return (1 - stake) * theta * prices * highest / (gamma - stake * theta)
