"""Compressed diffusion of pictures against plain diffusion:

    python benchmarks/compressed/images.py                       # digits of the package, 32 x 32
    python benchmarks/compressed/images.py --fashion FOLDER      # Fashion-MNIST, idx files
    python benchmarks/compressed/images.py --medmnist FILE.npz   # any grey set of that layout
    python benchmarks/compressed/images.py --arm MLP --seeds 3 4 # some of the runs
    python benchmarks/compressed/images.py --figure              # from what is there
    python benchmarks/compressed/images.py --tune                # learning rates, on training data
    python benchmarks/compressed/images.py --tiny                # seconds; numbers mean nothing

Adds lines to NAME.jsonl beside itself and leaves out what is there already, then draws NAME.png.
Arms: the built-in picture transformer on pixels with patches of 4, the same with patches of 8 (a
quarter of the tokens: a control that compresses nothing), a residual MLP on pixels; the same MLP on
m Haar measurements for several m, the same transformer on 16 x 16 of them, and the pixel basis.
"""

import argparse
import gzip
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from benchmarks.compressed.results import Results, append, done, table
from benchmarks.compressed.study import (
    Arm,
    Data,
    Distances,
    Effort,
    coefficients,
    costs,
    measured,
    perceptron,
    plain,
    trained,
    transformer,
)
from scoreward.data import digits
from scoreward.models.compressed import Compression
from scoreward.recovery.decoders import Fista
from scoreward.recovery.dimension import recommended_rows, statistical_dimension

HERE, SIDE = Path(__file__).parent, 32
RATES = (5e-4, 1e-3, 2e-3)
CHOSEN = {"transformer": 1e-3, "MLP": 1e-3}  # by --tune
REFERENCES = ("pixels, transformer 4", "pixels, transformer 8", "pixels, MLP")
SHARES = {"digits": 0.999}  # of the energy that counted coefficients hold; 0.99 elsewhere


def fashion(folder: Path, part: str) -> Tensor:
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return torch.from_numpy(pixels.astype(np.float32) / 255)


def fitted(pictures: Tensor) -> Tensor:
    """32 x 32, bilinear where that is not their size."""
    if pictures.shape[-1] == SIDE:
        return pictures
    return F.interpolate(pictures, (SIDE, SIDE), mode="bilinear", antialias=True).clamp(0, 1)


def loaded(options: argparse.Namespace) -> tuple[str, Data]:
    """(name, pictures)."""
    if options.fashion:
        train, test = (fashion(options.fashion, part) for part in ("train", "t10k"))
        return "fashion", Data(fitted(train[:20_000]), fitted(test[:2000]))
    if options.medmnist:
        parts = [digits.read_pictures(options.medmnist, s)[:20_000, :1] for s in ("train", "test")]
        return options.medmnist.stem, Data(fitted(parts[0]), fitted(parts[1][:2000]))
    train, test = (digits.load(part, 4).images for part in ("train", "test"))
    return "digits", Data(train, test)


def sparsity(train: Tensor, share: float) -> tuple[float, float, int]:
    """(s, D, the recommended m) of the training pictures in Haar."""
    s = coefficients(train[:500], measured(train, 16, "haar")(0), share)
    return s, statistical_dimension(s, SIDE**2).dimension, recommended_rows(s, SIDE**2)


def arms(train: Tensor, share: float) -> list[Arm]:
    s, threshold, best = sparsity(train, share)

    def haar(m: int) -> Callable[[int], Compression]:
        return measured(train, m, "haar", Fista(0.05, 100, keep=min(round(1.3 * s), m // 2)))

    attention, vector = CHOSEN["transformer"], CHOSEN["MLP"]
    box = measured(train, min(576, 2 * best), "pixel", Fista(0.01, 200, box=(0.0, 1.0)))
    sizes = {round(x) for x in (0.7 * threshold, threshold, best, 1.5 * best, 2 * best)}
    return [
        *(Arm(f"pixels, transformer {p}", plain(train), transformer(p), attention) for p in (4, 8)),
        Arm("pixels, MLP", plain(train), perceptron(), vector),
        *(
            Arm(f"Haar, m = {m}, MLP", haar(m), perceptron(), vector)
            for m in sorted(sizes)
            if m < SIDE**2
        ),
        Arm("Haar, m = 256, transformer 4", haar(256), transformer(4), attention),
        Arm("pixel basis and box, MLP", box, perceptron(), vector),
    ]


def tuned(name: str, every: Sequence[Arm], data: Data, effort: Effort) -> None:
    """Short runs at every rate, measured against training data that were left out."""
    few = replace(effort, rounds=max(2, effort.rounds // 4))
    for arm in every:
        for rate in RATES:
            line, _ = trained(replace(arm, lr=rate), data.validating(), few, 100)
            append(HERE / f"{name}_rates.jsonl", line | {"kind": "rate"})
            print(f"{arm.name}  lr {rate:g}  {line['frechet'][-1]:.3g}  {line['sliced'][-1]:.3g}")


def draw(name: str, path: Path) -> None:
    """Distance against training time, distance against m, and the saving."""
    results = Results(path)
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    first, second, third = figure.subplots(1, 3)
    for arm, cost in results.cost.items():
        updates, distance = results.curve(arm, "sliced")
        style = ":" if arm in REFERENCES else "-"
        first.plot(updates * cost.update, distance, style, label=arm)
        second_x = 1000 * (cost.network + cost.recovery)
        third.plot(second_x, results.last(arm, "sliced").mean(), "s" if style == ":" else "o")
    first.set(xlabel="training, processor s", ylabel="sliced W2 to held-out data", yscale="log")
    first.set_xscale("log")
    first.axhline(results.about["floor"]["sliced"], color="0.7", lw=0.8)
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=6)
    haar = sorted((r[0]["m"], a) for a, r in results.runs.items() if "Haar" in a and "MLP" in a)
    sizes, values = [m for m, _ in haar], [results.last(a, "sliced") for _, a in haar]
    second.errorbar(sizes, [v.mean() for v in values], [v.std() for v in values], fmt="o-")
    second.axhline(
        results.last(REFERENCES[2], "sliced").mean(), color="0.5", ls=":", label=REFERENCES[2]
    )
    about = results.about
    second.axvline(about["threshold"], color="tab:orange", ls="--", label="D")
    second.axvline(about["best"], color="tab:red", ls="--", label="rule (iii), a = 2")
    second.set(xlabel="m", ylabel="sliced W2, at the end")
    second.legend(frameon=False, fontsize=7)
    third.set(xlabel="a sample with recovery, processor ms", xscale="log")
    third.set_ylabel("sliced W2, at the end")
    figure.savefig(HERE / f"{name}.png", dpi=110)


def show(name: str, samples: dict[str, Tensor], test: Tensor) -> None:
    """Held-out pictures and samples of every arm."""
    rows = [test[:12], *(s[:12] for s in samples.values())]
    figure = Figure(figsize=(6, 0.42 * len(rows)), layout="constrained")
    ax = figure.subplots()
    grid = torch.cat([torch.cat([*row[:, 0]], 1) for row in rows])
    ax.imshow(grid, cmap="gray_r", vmin=0, vmax=1)
    ax.set_yticks([16 + 32 * i for i in range(len(rows))], ["held out", *samples])
    ax.tick_params(labelsize=6, bottom=False, labelbottom=False)
    figure.savefig(HERE / f"{name}_samples.png", dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--fashion", type=Path)
    parser.add_argument("--medmnist", type=Path)
    parser.add_argument("--arm", default="", help="only arms with this in their name")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--no-costs", action="store_true", help="leave timings to another call")
    parser.add_argument("--figure", action="store_true")
    parser.add_argument("--tune", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    name, data = loaded(options)
    every = arms(data.train, SHARES.get(name, 0.99))
    if options.tiny:
        name, options.seeds = f"{name}_tiny", [0]
    study(name, data, every, options)


def study(name: str, data: Data, every: list[Arm], options: argparse.Namespace) -> None:
    """What is not there yet, then the table and the figure."""
    path, effort = HERE / f"{name}.jsonl", Effort.tiny() if options.tiny else Effort()
    some = [arm for arm in every if options.arm in arm.name]
    if options.tune:
        tuned(name, some, data, effort)
        return
    if not options.figure:
        run(name, path, data, some, effort, options)
    if {arm.name for arm in every} <= set(Results(path).cost):
        print(table(Results(path), [r for r in REFERENCES if r in Results(path).runs]))
        draw(name, path)


def about(data: Data, share: float, effort: Effort) -> dict:
    """What the figures mark: the recommended m, and the distance of as many training data."""
    s, threshold, best = sparsity(data.train, share)
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    floor = Distances(data.train, data.test)(data.train[order[: effort.samples]], [])
    return {"kind": "about", "s": s, "threshold": threshold, "best": best, "floor": floor}


def run(
    name: str, path: Path, data: Data, every: list[Arm], effort: Effort, options: argparse.Namespace
) -> None:
    if not path.exists():
        append(path, about(data, SHARES.get(name, 0.99), effort))
    samples = {}
    for seed in options.seeds:
        for arm in every:
            if (arm.name, seed) in done(path):
                continue
            line, samples[arm.name] = trained(arm, data, effort, seed)
            append(path, line)
            print(
                f"{arm.name} {seed}: {line['frechet'][-1]:.3g} {line['sliced'][-1]:.3g}", flush=True
            )
    if samples and not options.arm:
        show(name, samples, data.test)
    if not options.no_costs:
        for line in costs(every, data, effort):
            append(path, line)


if __name__ == "__main__":
    main()
