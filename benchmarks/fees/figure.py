"""Draws results.json and prints the tables of the page: python benchmarks/fees/figure.py"""

import json
from fractions import Fraction
from pathlib import Path

from scoreward.studies.fees.bsp import AuctionSetting, theta_range
from scoreward.studies.fees.figure import FeeCurve, Panel, write_fees_figure

HERE = Path(__file__).parent
PARTS = ("welfare", "revenue", "burn", "surplus")
LEVELS = ("first price, learned", "second price", "EIP-1559", "BSP(1)")


def curve(label: str, rows: list[dict], x: str, y: str) -> FeeCurve:
    return FeeCurve(label, [row[x] for row in rows], [row[y] for row in rows])


def of(rows: list[dict], **wanted: object) -> list[dict]:
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


# θ that is valid for some m ≥ 1 with mixed accounting, of `run.py`: B = 7, k = 6, x = 9/10, M = 8
LOW, HIGH = map(float, theta_range(7, 6, 1, AuctionSetting(Fraction(1), 1, Fraction(9, 10), 8)))


def welfare(results: dict, law: str) -> list[Panel]:
    rows = of(results["theta"], law=law)
    panels = []
    for part in PARTS[:3]:
        curves = [
            curve("BSP(θ), m = ⌊θkx⌋", of(rows, accounting="mixed"), "theta", part),
            curve("BSP(θ), m = k", of(rows, accounting="consistent"), "theta", part),
        ]
        for name in LEVELS:
            (level,) = of(results["others"], law=law, mechanism=name)
            curves.append(FeeCurve(name, [0.0], [level[part]]))
        title = f"{part}, ticks per block"
        panels.append(
            Panel(title, "θ", curves, [("valid, mixed", LOW, HIGH)], legend=part == "burn")
        )
    return panels


def incentives(results: dict) -> list[Panel]:
    names = ("one-shot", "mixed", "consistent")
    gains = [curve(name, results["gains"], "theta", name) for name in names]
    ends = []
    for stake in ("1/2", "4/5", "19/20"):
        rows = of(results["ranges"], stake=stake)
        ends.append(curve(f"x = {stake}", rows, "ticks", "high"))
    shown = []
    for row in results["shading"]:
        about = f"{row['places']} of {row['users']}"
        shown.append(FeeCurve(f"learned, {about}", row["value"], row["learned"]))
        shown.append(FeeCurve(f"theory, {about}", row["value"], row["theory"]))
    paths = [
        FeeCurve(f"u/μ = {row['u']}", row["blocks"], row["share"]) for row in results["shares"]
    ]
    return [
        Panel("most a coalition gains", "θ", gains, [("valid, mixed", 5 / 8, 5 / 6)]),
        Panel("highest valid θ", "v_max in ticks", ends, log=True),
        Panel("bids under first price", "value", shown),
        Panel("mean share of stakes", "blocks", paths, log=True),
    ]


def tables(results: dict) -> None:
    print("| law | mechanism | welfare | revenue | burn | users |")
    print("|---|---|---|---|---|---|")
    for row in results["others"]:
        cells = " | ".join(f"{row[part]:.2f}" for part in PARTS)
        print(f"| {row['law']} | {row['mechanism']} | {cells} |")
        if row["mechanism"] == "BSP(1)":
            best = [
                of(results["theta"], law=row["law"], accounting=a) for a in ("mixed", "consistent")
            ]
            for rows in best:
                fit = [r for r in rows if r["theta"] <= HIGH][-1]
                name = f"BSP({fit['theta']:.3f}), m = {fit['m']}, {fit['accounting']}"
                cells = " | ".join(f"{fit[part]:.2f}" for part in PARTS)
                print(f"| {row['law']} | {name} | {cells} |")
    print()
    for row in results["shading"]:
        print(f"shading {row['places']} of {row['users']}: away {row['away']:.4f}, "
              f"regret {row['regret']:.5f}")  # fmt: skip
    print(results["seconds"])


def main() -> None:
    results = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    write_fees_figure(welfare(results, "uniform"), HERE / "welfare.png", "uniform values, 0 to 8")
    write_fees_figure(welfare(results, "two kinds"), HERE / "two_kinds.png", "a fifth is rich")
    write_fees_figure(incentives(results), HERE / "incentives.png")
    tables(results)


if __name__ == "__main__":
    main()
