"""The range of θ against the search on random settings: python benchmarks/fees/agree.py [N]

Prints how often the rule and the search agree, and every setting where they do not.
"""

import random
import sys
from fractions import Fraction

from scoreward.studies.fees.bsp import ACCOUNTINGS, BSP, AuctionSetting, theta_range, valid
from scoreward.studies.fees.checks import check_mic, check_scp
from scoreward.studies.fees.grid import Market


def draw(luck: random.Random) -> tuple[BSP, AuctionSetting]:
    """Up to 4 places, 2 colluders, values of 3 ticks; θ near an end of its range, or anywhere."""
    slots = luck.randint(1, 3)
    block = slots + luck.randint(1, min(2, 4 - slots))
    setting = AuctionSetting(
        Fraction(luck.randint(1, 10), 10),
        luck.randint(1, 2),
        Fraction(luck.randint(1, 20), 20),
        luck.randint(1, 3),
        accounting=luck.choice(ACCOUNTINGS),
    )
    drawn, step = luck.randint(1, slots), Fraction(1, 1000)
    low, high = theta_range(block, slots, drawn, setting, minting=True)
    ends = [low - step, low, (low + high) / 2, high, high + step, Fraction(luck.randint(0, 40), 40)]
    return BSP(block, slots, drawn, max(luck.choice(ends), Fraction(0)), minting=True), setting


def agree(made: BSP, setting: AuctionSetting) -> tuple[bool, bool]:
    """(what the rule says, what the search finds): MIC and c-SCP hold."""
    market = Market(
        made.block + 1, setting.top, setting.gamma, setting.stake, accounting=setting.accounting
    )
    holds = check_mic(made, market).holds and check_scp(made, market, setting.colluders).holds
    return valid(made, setting), holds


def main(number: int) -> None:
    luck, kinds = random.Random(0), {}
    for _ in range(number):
        made, setting = draw(luck)
        rule, search = agree(made, setting)
        many = setting.colluders * made.confirmed > setting.gamma * made.slots
        kind = (setting.accounting, "m > γk/c" if many else "m ≤ γk/c", rule, search)
        kinds[kind] = kinds.get(kind, 0) + 1
    print("accounting, m, the rule says, the search finds: settings")
    for kind, count in sorted(kinds.items()):
        print(*kind, count)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
