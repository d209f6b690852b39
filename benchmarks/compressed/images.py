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
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

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
from scoreward.data import digits
from scoreward.models.compressed.decoders import Fista
from scoreward.models.compressed.dimension import recommended_rows, statistical_dimension
from scoreward.models.compressed.model import Compression

SIDE = 32
CHOSEN = {"transformer": 2e-3, "MLP": 2e-3}  # by --tune; the lines are in digits_rates.jsonl
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


def show(path: Path, samples: dict[str, Tensor], test: Tensor) -> None:
    """Held-out pictures and samples of every arm."""
    rows = [test[:12], *(s[:12] for s in samples.values())]
    figure = Figure(figsize=(6, 0.42 * len(rows)), layout="constrained")
    ax = figure.subplots()
    grid = torch.cat([torch.cat([*row[:, 0]], 1) for row in rows])
    ax.imshow(grid, cmap="gray_r", vmin=0, vmax=1)
    ax.set_yticks([16 + 32 * i for i in range(len(rows))], ["held out", *samples])
    ax.tick_params(labelsize=6, bottom=False, labelbottom=False)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--fashion", type=Path, help="the folder of the four idx files")
    parser.add_argument("--medmnist", type=Path, help="an npz file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        name, data = loaded(options)
    except (ValueError, OSError) as error:
        raise SystemExit(f"cannot read the pictures: {error}") from error
    share = SHARES.get(name, 0.99)
    _, threshold, best = sparsity(data.train, share)
    Comparison(
        f"{name}_tiny" if options.tiny else name,
        data,
        arms(data.train, share),
        REFERENCES,
        {"threshold": threshold, "best": best},
        "Haar",
        Effort.tiny() if options.tiny else Effort(),
        options.to,
    ).go(options, show)


if __name__ == "__main__":
    main()
