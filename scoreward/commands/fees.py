"""The command `fees`: what a transaction-fee mechanism does with bids, and who could cheat it."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import ceil

import tyro
from rich.table import Table

from scoreward.commands.talk import console
from scoreward.studies.fees import bsp
from scoreward.studies.fees.bsp import BSP, AuctionSetting
from scoreward.studies.fees.checks import check_mic, check_scp, check_uic
from scoreward.studies.fees.deviation import NAMES, Verdict
from scoreward.studies.fees.grid import Market
from scoreward.studies.fees.mechanism import (
    EIP1559,
    FirstPrice,
    Mechanism,
    Outcome,
    SecondPrice,
    bids_of,
    exact,
    included,
    padded,
)

MOST_USERS, MOST_TICKS = 5, 11  # of a search by default; a few seconds with four places
MOST_PLACES = 10_000  # of a block; more would only take time


@dataclass(frozen=True)
class FeesOptions:
    """What a fee mechanism does with the bids of a block, and which incentives hold.

    Numbers are exact: 0.1 and 1/3 mean what they say. Incentives are searched over all values and
    bids on a grid of ticks, and what fails comes with the deviation that gains most.
    """

    bids: tuple[str, ...] = ("5", "4", "3", "3", "1")  # all bids that wait, 0 or more
    mechanism: str = (
        "bsp-theta"  # or bsp-gamma, first-price, second-price, second-price-burnt, eip-1559
    )
    block: int = 4  # B, places of a block
    slots: int | None = None  # k, of them that can be confirmed, BSP; all but one if not given
    confirmed: int | None = (
        None  # m, of the k that are, BSP(theta); as many as possible if not given
    )
    theta: str | None = None  # payout rate of BSP(theta); the highest valid one if not given
    gamma: str = "1"  # of the strict utility: what an overbid that waits costs, 0 to 1
    colluders: int = 1  # c, users who may collude with the miner
    stake: str = "4/5"  # x, the miner's share of all stakes, above 0, at most 1
    accounting: str = "mixed"  # of the long run: mixed or consistent; one-shot for neither
    tick: str = "1"  # bids are multiples of it
    reward: str = "0"  # constant, per block, in money
    base_fee: str = "1"  # of eip-1559
    tip: str = "0"  # of eip-1559, what users offer on top
    users: int | None = None  # of the search; one more than places, or as many as bids if fewer
    top: int | None = None  # M, highest value in ticks; that of the highest bid if not given
    outside: bool = False  # take a theta outside its valid range, to see what breaks
    check: bool = True  # search for deviations
    seed: int = 0  # of the lot that confirms
    json: bool = False  # print one object and nothing else; fractions as text


def fees(words: list[str]) -> int:
    """scoreward fees [options]"""
    options = tyro.cli(FeesOptions, args=words, prog="scoreward fees")
    bids, tick = bids_of(options.bids), exact(options.tick, "tick")
    if not bids or tick <= 0:
        raise ValueError(f"1 bid or more and a tick above 0 expected, got {len(bids)} and {tick}")
    if options.block > MOST_PLACES or (options.users is not None and options.users < 1):
        raise ValueError(
            f"a block has at most {MOST_PLACES} places and a search 1 user or more, got --block "
            f"{options.block} and --users {options.users}"
        )
    top = ceil(max(bids) / tick) or 1
    setting = AuctionSetting(
        exact(options.gamma, "gamma"),
        options.colluders,
        exact(options.stake, "stake"),
        top if options.top is None else options.top,
        exact(options.reward, "reward") / tick,
        options.accounting,
    )
    mechanism = _mechanism(options, setting, tick)
    told = mechanism.outcome(padded(mechanism, bids))
    answer = AuctionResult(options, bids, mechanism, told, setting, tick)
    verdicts = answer.verdicts() if options.check else []
    if options.json:
        print(json.dumps(answer.record(verdicts), ensure_ascii=False))
        return 0
    answer.tell(verdicts)
    return 0


def _mechanism(options: FeesOptions, setting: AuctionSetting, tick: Fraction) -> Mechanism:
    made: dict[str, Callable[[], Mechanism]] = {
        "bsp-theta": lambda: _bsp_theta(options, setting, tick),
        "bsp-gamma": lambda: replace(
            bsp.bsp_gamma(options.block, _slots(options), setting.gamma, setting.colluders),
            tick=tick,
        ),
        "first-price": lambda: FirstPrice(options.block),
        "second-price": lambda: SecondPrice(options.block),
        "second-price-burnt": lambda: SecondPrice(options.block, burnt=True),
        "eip-1559": lambda: EIP1559(
            options.block, exact(options.base_fee, "base fee"), exact(options.tip, "tip")
        ),
    }
    if options.mechanism not in made:
        raise ValueError(f"unknown mechanism {options.mechanism!r}; it is {', '.join(made)}")
    _belong(options)
    return made[options.mechanism]()


def _belong(options: FeesOptions) -> None:
    """Raises ValueError for an option that the mechanism would ignore."""
    name = options.mechanism
    if name != "bsp-theta" and (options.theta is not None or options.confirmed is not None):
        raise ValueError(f"--theta and --confirmed belong to bsp-theta, not to {name}; leave them")
    if not name.startswith("bsp") and options.slots is not None:
        raise ValueError(f"--slots belongs to bsp-theta and bsp-gamma, not to {name}; leave it")
    fees_of = (options.base_fee, options.tip)
    if name != "eip-1559" and fees_of != (FeesOptions.base_fee, FeesOptions.tip):
        raise ValueError(f"--base-fee and --tip belong to eip-1559, not to {name}; leave them")


def _slots(options: FeesOptions) -> int:
    return options.block - 1 if options.slots is None else options.slots


def _bsp_theta(options: FeesOptions, setting: AuctionSetting, tick: Fraction) -> BSP:
    """With what is not given chosen so that all properties hold, if that is possible."""
    slots = _slots(options)
    theta = None if options.theta is None else exact(options.theta, "theta")
    drawn = options.confirmed
    if drawn is None:
        drawn = _most_confirmed(options.block, slots, theta, setting)
    low, high = bsp.theta_range(options.block, slots, drawn, setting)
    chosen = max(high, Fraction(0)) if theta is None else theta
    if chosen < 0 and low <= high and not options.outside:
        raise ValueError(f"the payout rate θ is in {bsp.interval(low, high)}, got {chosen}")
    if not options.outside:  # the narrower range is the one to be told
        bsp.bsp_theta(BSP(options.block, slots, drawn, chosen, tick, minting=True), setting)
    return BSP(options.block, slots, drawn, chosen, tick)


def _most_confirmed(block: int, slots: int, theta: Fraction | None, setting: AuctionSetting) -> int:
    """The largest m for which the range holds θ; with any θ; or 1."""
    BSP(block, slots, 1, Fraction(0))
    fit = []
    for drawn in range(slots, 0, -1):
        low, high = bsp.theta_range(block, slots, drawn, setting)
        if low <= high and setting.colluders * drawn <= setting.gamma * slots:
            fit.append((theta is None or low <= theta <= high, drawn))
    return max(fit)[1] if fit else 1


@dataclass(frozen=True)
class AuctionResult:
    """What is printed."""

    options: FeesOptions
    bids: list[Fraction]
    mechanism: Mechanism
    outcome: Outcome
    setting: AuctionSetting
    tick: Fraction

    @cached_property
    def places(self) -> dict[int, int]:
        """Place in the block of each bid that is included."""
        return {who: place for place, who in enumerate(included(self.mechanism, self.bids))}

    @cached_property
    def drawn(self) -> set[int]:
        """Places that are confirmed, by lot where it takes one."""
        chance = self.outcome.confirmed
        sure = {place for place, q in enumerate(chance) if q == 1}
        if not isinstance(self.mechanism, BSP) or sure:
            return sure
        lot = random.Random(self.options.seed)
        return set(lot.sample(range(self.mechanism.slots), self.mechanism.confirmed))

    @property
    def theta_range(self) -> tuple[Fraction, Fraction] | None:
        """Of BSP, for its m."""
        if not isinstance(self.mechanism, BSP):
            return None
        made = self.mechanism
        return bsp.theta_range(made.block, made.slots, made.confirmed, self.setting)

    @property
    def market(self) -> Market:
        """Of the search, in one block."""
        users = min(len(self.bids), self.mechanism.block + 1, MOST_USERS)
        top = min(self.setting.top, MOST_TICKS)
        return Market(
            users if self.options.users is None else self.options.users,
            top if self.options.top is None else self.options.top,
            self.setting.gamma,
            self.setting.stake,
            self.tick,
            exact(self.options.reward, "reward"),
        )

    def verdicts(self) -> list[tuple[str, Verdict]]:
        """(one-shot or the accounting, verdict)."""
        market, colluders = self.market, self.options.colluders
        found = [
            ("one-shot", check_uic(self.mechanism, market)),
            ("one-shot", check_mic(self.mechanism, market)),
            ("one-shot", check_scp(self.mechanism, market, colluders)),
        ]
        if self.options.accounting != "one-shot":
            name = self.options.accounting
            long = replace(market, accounting=name)
            found.append((name, check_mic(self.mechanism, long)))
            found.append((name, check_scp(self.mechanism, long, colluders)))
        return found

    def record(self, verdicts: list[tuple[str, Verdict]]) -> dict[str, object]:
        """For --json."""
        told, limits, searched = self.outcome, self.theta_range, None
        if verdicts:
            market = self.market
            searched = {"users": market.users, "top": market.top, "tick": str(market.tick)}
        return {
            "mechanism": self.name,
            "bidders": [dict(zip(ROW, self._row(i), strict=True)) for i in range(len(self.bids))],
            "revenue": str(told.revenue),
            "burn": str(told.burn),
            "theta_range": None if limits is None else [str(end) for end in limits],
            "properties": [
                {
                    "property": verdict.rule,
                    "accounting": accounting,
                    "holds": verdict.holds,
                    "gain": str(verdict.gain),
                    "deviation": verdict.deviation.record() if verdict.deviation else None,
                }
                for accounting, verdict in verdicts
            ],
            "searched": searched,
        }

    @property
    def name(self) -> dict[str, object]:
        made = self.mechanism
        if isinstance(made, BSP):
            numbers = {"slots": made.slots, "confirmed": made.confirmed, "theta": str(made.theta)}
            return {"name": self.options.mechanism, "block": made.block} | numbers
        return {"name": self.options.mechanism, "block": made.block}

    def _row(self, i: int) -> tuple[str, bool, str, bool, str]:
        place = self.places.get(i)
        if place is None:
            return str(self.bids[i]), False, "0", False, "0"
        told, hit = self.outcome, place in self.drawn
        price = told.price[place] if hit else Fraction(0)
        return str(self.bids[i]), True, str(told.confirmed[place]), hit, str(price)

    def tell(self, verdicts: list[tuple[str, Verdict]]) -> None:
        """On the terminal."""
        say = lambda line: console.print(line, highlight=False)  # noqa: E731
        say(", ".join(f"{key} {value}" for key, value in self.name.items()).replace("name ", "", 1))
        table = Table("bid", "included", "chance", "confirmed", "pays", box=None)
        for i in range(len(self.bids)):
            cells = self._row(i)
            table.add_row(*(YES[cell] if isinstance(cell, bool) else cell for cell in cells))
        console.print(table)
        say(f"miner's revenue {self.outcome.revenue}, burnt {self.outcome.burn} (expected)")
        if self.theta_range is not None:
            low, high = self.theta_range
            say(f"valid θ ({self.setting.accounting} accounting): {bsp.interval(low, high)}")
        if not verdicts:
            return
        market = self.market
        say("")
        table = Table("property", "utility", "holds", "gain", box=None)
        for accounting, verdict in verdicts:
            name = f"{verdict.rule}, {NAMES[verdict.rule]}"
            table.add_row(name, accounting, YES[verdict.holds], str(verdict.gain))
        console.print(table)
        for accounting, verdict in verdicts:
            if verdict.deviation is not None:
                say(f"{verdict.rule}, {accounting}: {verdict.deviation}")
        line = f"searched: {market.users} users, values of 0 to {market.top} ticks of {market.tick}"
        cut = market.top < self.setting.top
        say(line + (f"; the highest bid is {self.setting.top} ticks, see --top" if cut else ""))


ROW = ("bid", "included", "chance", "confirmed", "pays")
YES = {True: "yes", False: "no"}
