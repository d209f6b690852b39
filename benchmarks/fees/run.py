"""Welfare, revenue and burn against θ, gains of deviations, shading: python benchmarks/fees/run.py

Writes results.json beside itself; figure.py draws it and prints the tables of the page.
"""

import json
import time
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np

from scoreward.studies.fees.bsp import BSP, AuctionSetting, bsp_gamma, theta_range
from scoreward.studies.fees.checks import check_mic, check_scp, check_uic
from scoreward.studies.fees.grid import Market
from scoreward.studies.fees.market import (
    Means,
    geometric,
    grid_of,
    learn,
    simulate,
    simulate_base_fee,
    truthful,
    two_kinds,
    uniform,
)
from scoreward.studies.fees.mechanism import EIP1559, FirstPrice, SecondPrice
from scoreward.studies.fees.shares import Race, simulate_share

HERE = Path(__file__).parent
USERS, TOP, BLOCK, SLOTS = 10, 8, 7, 6  # k' = 1
STAKE, GAMMA = Fraction(9, 10), Fraction(1)
THETAS = [Fraction(i, 30) for i in range(1, 31)]
BLOCKS = 10_000
LAWS = {
    "uniform": uniform(TOP),
    "geometric": geometric(TOP, 0.7),
    "two kinds": two_kinds(TOP, 3, 0.2),
}


def told(means: Means) -> dict[str, float]:
    parts = {name: getattr(means, name) for name in ("welfare", "revenue", "burn", "surplus")}
    return {name: round(part, 4) for name, part in parts.items()}


def against_theta() -> list[dict]:
    """BSP(θ), m as large as each accounting allows, users truthful, γ = c = 1."""
    rows = []
    for theta in THETAS:
        wanted = {"mixed": floor(theta * SLOTS * STAKE), "consistent": SLOTS}
        for accounting, drawn in wanted.items():
            if not drawn or theta > drawn:
                continue
            grid = grid_of(BSP(BLOCK, SLOTS, drawn, theta), USERS, TOP)
            for name, law in LAWS.items():
                means = told(simulate(grid, law, truthful(TOP), BLOCKS))
                about = {"law": name, "accounting": accounting, "m": drawn}
                rows.append({**about, "theta": float(theta), **means})
    return rows


def others() -> list[dict]:
    """The classical mechanisms with the same places and users; first price as learned."""
    rows = []
    for name, law in LAWS.items():
        grid = grid_of(FirstPrice(BLOCK), USERS, TOP)
        users = learn(grid, law, rounds=200, samples=300)
        found = {
            "first price, learned": told(simulate(grid, law, users.bids, BLOCKS)),
            "first price, truthful": told(simulate(grid, law, truthful(TOP), BLOCKS)),
        }
        for burnt, label in ((False, "second price"), (True, "second price, burnt")):
            grid = grid_of(SecondPrice(BLOCK, burnt), USERS, TOP)
            found[label] = told(simulate(grid, law, truthful(TOP), BLOCKS))
        base = simulate_base_fee(EIP1559(BLOCK, Fraction(3), Fraction(1, 4)), law, USERS, BLOCKS)
        found["EIP-1559"] = told(base.means)
        grid = grid_of(bsp_gamma(BLOCK, SLOTS, GAMMA), USERS, TOP)
        found["BSP(1)"] = told(simulate(grid, law, truthful(TOP), BLOCKS))
        rows += [{"law": name, "mechanism": label, **means} for label, means in found.items()]
    return rows


def gains() -> list[dict]:
    """The most a coalition gains, B = 3, k = 2, m = 1, c = γ = 1, x = 4/5, M = 2."""
    rows = []
    for theta in [Fraction(i, 60) for i in range(61)]:
        row = {"theta": float(theta)}
        for accounting in ("one-shot", "mixed", "consistent"):
            market = Market(4, 2, GAMMA, Fraction(4, 5), accounting=accounting)
            row[accounting] = float(check_scp(BSP(3, 2, 1, theta), market, 1).gain)
        rows.append(row)
    return rows


def ranges() -> list[dict]:
    """Valid θ against the number of ticks, k' = 1, c = γ = 1."""
    rows = []
    for stake in ("1/2", "4/5", "19/20"):
        for top in range(1, 41):
            setting = AuctionSetting(GAMMA, 1, Fraction(stake), top)
            low, high = theta_range(BLOCK, SLOTS, 1, setting)
            rows.append({"stake": stake, "ticks": top, "low": float(low), "high": float(high)})
    return rows


def shading() -> list[dict]:
    """Learned bids under first price, uniform values, and theory."""
    rows = []
    v = np.arange(21) / 20
    theory = {(1, 3): v * 2 / 3, (2, 4): v * (2 - 1.5 * v) / (3 - 2 * v)}
    for (places, users), bids in theory.items():
        grid = grid_of(FirstPrice(places), users, 20)
        found = learn(grid, uniform(20), rounds=400, samples=600)
        away = float(np.abs(found.mean / 20 - bids).max())
        curves = {"value": v, "learned": found.mean / 20, "theory": bids}
        about = {"places": places, "users": users, "regret": found.regret / 20, "away": away}
        rows.append(about | {name: curve.round(4).tolist() for name, curve in curves.items()})
    return rows


def shares() -> list[dict]:
    """Mean share of stakes from 30 %, N₀ = 10 μ, 2,000 runs."""
    at = tuple(int(n) for n in np.unique(np.geomspace(1, 20_000, 40).astype(int)))
    rows = []
    for own in (0.5, 1.0, 1.1, 1.5):
        mean = simulate_share(Race(3, 10, own, 1), at, 2000, 0).mean(1)
        rows.append({"u": own, "blocks": list(at), "share": mean.round(5).tolist()})
    return rows


def timing() -> dict[str, float]:
    """Seconds of processor time for 4 places, 5 users, 12 values."""
    mechanism, market = BSP(4, 3, 1, Fraction(1, 2)), Market(5, 11, GAMMA, Fraction(4, 5))
    seconds = {}
    for name, check in (
        ("UIC", lambda: check_uic(mechanism, market)),
        ("MIC", lambda: check_mic(mechanism, market)),
        ("c-SCP, 1 user", lambda: check_scp(mechanism, market, 1)),
        ("c-SCP, 2 users", lambda: check_scp(mechanism, market, 2)),
        ("c-SCP, 3 users", lambda: check_scp(mechanism, market, 3)),
    ):
        start = time.process_time()
        check()
        seconds[name] = round(time.process_time() - start, 2)
    return seconds


def main() -> None:
    parts = {
        "theta": against_theta,
        "others": others,
        "gains": gains,
        "ranges": ranges,
        "shading": shading,
        "shares": shares,
        "seconds": timing,
    }
    results = {}
    for name, part in parts.items():
        start = time.process_time()
        results[name] = part()
        print(name, f"{time.process_time() - start:.1f} s", flush=True)
    lines = ",\n".join(f'"{name}": {json.dumps(part)}' for name, part in results.items())
    (HERE / "results.json").write_text("{\n" + lines + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
