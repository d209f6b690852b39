"""Compressed diffusion of hourly temperatures against plain diffusion:

    pip install vega_datasets pandas
    python benchmarks/compressed/series.py [--tiny]

Windows of 256 hours of San Francisco and Seattle in 2010. Every fifth block of 256 hours is held
out. Writes series.jsonl and series.png beside itself. Arms: plain, cosines at several m, and Haar,
in which temperatures are not sparse enough.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.compressed.study import (
    Arm,
    Effort,
    coefficients,
    measured,
    perceptron,
    plain,
    report,
    run_arm,
    write,
)
from scoreward.recovery.decoders import Fista
from scoreward.recovery.dimension import recommended_rows, statistical_dimension

HERE, HOURS, HELD_OUT, STRIDE = Path(__file__).parent, 256, 5, 2
FILES = ("sf-temps.csv", "seattle-temps.csv")
ROWS = (48, 64, 96, 128)
WIDTHS = {"plain": 384, "compressed": 192}  # channels, half for about a quarter of the numbers


def hourly() -> list[np.ndarray]:
    import pandas

    found = find_spec("vega_datasets")
    if found is None or found.origin is None:
        raise SystemExit("this study needs the package vega_datasets")
    folder = Path(found.origin).parent / "_data"
    return [pandas.read_csv(folder / name)["temp"].to_numpy(float) for name in FILES]


def windows() -> tuple[Tensor, Tensor]:
    """(training, held-out) windows in [0, 1]; no training window touches a held-out block."""
    every = hourly()
    low, high = min(v.min() for v in every), max(v.max() for v in every)
    train, test = [], []
    for values in every:
        values = (values - low) / (high - low)
        blocks = [values[i : i + HOURS] for i in range(0, len(values) - HOURS + 1, HOURS)]
        test += blocks[HELD_OUT - 1 :: HELD_OUT]
        for i in range(0, len(blocks), HELD_OUT):
            run = np.concatenate(blocks[i : i + HELD_OUT - 1])
            train += list(np.lib.stride_tricks.sliding_window_view(run, HOURS)[::STRIDE])
    return tuple(torch.from_numpy(np.stack(part)).float() for part in (train, test))  # type: ignore


def arms(train: Tensor, keep: int, rows: tuple[int, ...]) -> list[Arm]:
    whole = plain(train)
    made = [
        Arm("plain, wide", whole, perceptron(whole.latent, WIDTHS["plain"])),
        Arm("plain, narrow", whole, perceptron(whole.latent, WIDTHS["compressed"])),
    ]
    for basis, sizes in (("dct", rows), ("haar", rows[-1:])):
        for m in sizes:
            decoder = Fista(0.01, 200, keep=min(keep, m // 2))
            how = measured(train, m, basis, decoder, centred=True)
            network = perceptron(how.latent, WIDTHS["compressed"])
            made.append(Arm(f"{basis}, m = {m}", how, network))
    return made


def draw(lines: list[dict], best: int, samples: dict[str, Tensor], test: Tensor) -> None:
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    for r in lines:
        curve = r["curve"][1:]
        first.plot([p["seconds"] for p in curve], [p["sliced"] for p in curve], label=r["arm"])
    first.set(xlabel="training, s", ylabel="sliced W2 to held-out data", yscale="log")
    first.legend(frameon=False, fontsize=6)
    cosines = [r for r in lines if r["basis"] == "dct"]
    second.plot([r["m"] for r in cosines], [r["curve"][-1]["sliced"] for r in cosines], "o-")
    second.axhline(lines[0]["curve"][-1]["sliced"], color="0.5", ls=":", label=lines[0]["arm"])
    second.axvline(best, color="tab:red", ls="--", label=f"rule (iii), a = 2: m = {best}")
    second.set_xlabel("m")
    second.legend(frameon=False, fontsize=7)
    third.plot(test[0], color="0.3", lw=0.8, label="data")
    for i, r in enumerate(lines):
        third.plot(samples[r["arm"]][0] - 0.6 * (i + 1), lw=0.8, label=r["arm"])
    third.legend(frameon=False, fontsize=6)
    third.set_xlabel("hour")
    figure.savefig(HERE / f"{lines[0]['file']}.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiny", action="store_true")
    tiny = parser.parse_args().tiny
    torch.set_num_threads(1)
    train, test = windows()
    effort, name = (Effort.tiny(), "series_tiny") if tiny else (Effort(batch=128), "series")
    s = coefficients(train[::10], measured(train, 16, "dct", centred=True), 0.99)
    best, threshold = recommended_rows(s, HOURS), statistical_dimension(s, HOURS).dimension
    print(f"{len(train)} windows; {s:.0f} cosines of {HOURS} hold 99 % of what is not the mean")
    print(f"D = {threshold:.0f}, m* = {best}")
    lines, samples = [], {}
    for arm in arms(train, round(1.5 * s), ROWS[1:2] if tiny else ROWS):
        line, samples[arm.name] = run_arm(arm, train, test, effort)
        lines.append(line | {"file": name, "s": s, "threshold": threshold, "best": best})
        write(HERE / f"{name}.jsonl", lines)
    report(lines)
    draw(lines, best, samples, test)


if __name__ == "__main__":
    main()
