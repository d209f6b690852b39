"""Compressed diffusion of pictures against plain diffusion:

    python benchmarks/compressed/images.py                       # digits of the package, 32 x 32
    python benchmarks/compressed/images.py --fashion FOLDER      # Fashion-MNIST, idx files
    python benchmarks/compressed/images.py --medmnist FILE.npz   # any grey set of that layout
    python benchmarks/compressed/images.py --tiny                # seconds; numbers mean nothing

Writes NAME.jsonl and NAME.png beside itself. Arms: plain with patches of 4 and of 8 pixels (the
cheap control), Haar at several m, and the pixel basis, where it is expected to fail.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional as F

from benchmarks.compressed.study import (
    Arm,
    Effort,
    coefficients,
    measured,
    plain,
    report,
    run_arm,
    transformer,
    write,
)
from scoreward.data import digits
from scoreward.recovery.decoders import Fista
from scoreward.recovery.dimension import recommended_rows, statistical_dimension

HERE, SIDE = Path(__file__).parent, 32
SIDES = (12, 16, 20, 24)  # of the square latents


def fashion(folder: Path, part: str) -> Tensor:
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return torch.from_numpy(pixels.astype(np.float32) / 255)


def fitted(pictures: Tensor) -> Tensor:
    """32 x 32, bilinear where that is not their size."""
    if pictures.shape[-1] == SIDE:
        return pictures
    return F.interpolate(pictures, (SIDE, SIDE), mode="bilinear", antialias=True).clamp(0, 1)


def data(options: argparse.Namespace) -> tuple[str, Tensor, Tensor]:
    """(name, training pictures, held-out pictures)."""
    if options.fashion:
        train, test = (fashion(options.fashion, part) for part in ("train", "t10k"))
        return "fashion", fitted(train[:20_000]), fitted(test[:2000])
    if options.medmnist:
        parts = [digits.read_pictures(options.medmnist, s)[:20_000, :1] for s in ("train", "test")]
        return options.medmnist.stem, fitted(parts[0]), fitted(parts[1][:2000])
    return "digits", digits.load("train", 4).images, digits.load("test", 4).images


def arms(train: Tensor, keep: int, sides: tuple[int, ...]) -> list[Arm]:
    whole = plain(train)
    made = [Arm(f"plain, patch {p}", whole, transformer(whole.latent, p)) for p in (4, 8)]
    for side in sides:
        decoder = Fista(0.05, 100, keep=min(keep, side**2 // 2))
        how = measured(train, side**2, "haar", decoder)
        made.append(Arm(f"haar, m = {side**2}", how, transformer(how.latent, 4)))
    how = measured(train, sides[-1] ** 2, "pixel", Fista(0.01, 200, box=(0.0, 1.0)))
    made.append(Arm(f"pixel and box, m = {sides[-1] ** 2}", how, transformer(how.latent, 4)))
    return made


def draw(name: str, lines: list[dict], best: int, samples: dict[str, Tensor], test: Tensor) -> None:
    """Distance against training time, distance against m, and samples."""
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    first, second, third = figure.subplots(1, 3, width_ratios=(1, 1, 1.1))
    for r in lines:
        curve = r["curve"][1:]
        first.plot([p["seconds"] for p in curve], [p["sliced"] for p in curve], label=r["arm"])
    first.set_xlabel("training, s")
    first.set_ylabel("sliced W2 to held-out data")
    first.set_yscale("log")
    first.legend(frameon=False, fontsize=6)
    haar = [r for r in lines if r["basis"] == "haar"]
    second.plot([r["m"] for r in haar], [r["curve"][-1]["sliced"] for r in haar], "o-")
    second.axhline(lines[0]["curve"][-1]["sliced"], color="0.5", ls=":", label=lines[0]["arm"])
    second.axvline(best, color="tab:red", ls="--", label=f"rule (iii), a = 2: m = {best}")
    second.set_xlabel("m")
    second.legend(frameon=False, fontsize=7)
    rows = [test[:8], *(samples[r["arm"]][:8] for r in lines)]
    third.imshow(torch.cat([torch.cat([*row[:, 0]], 1) for row in rows]), cmap="gray_r")
    third.set_yticks([16 + 32 * i for i in range(len(rows))], ["data", *(r["arm"] for r in lines)])
    third.tick_params(labelsize=6, bottom=False, labelbottom=False)
    figure.savefig(HERE / f"{name}.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fashion", type=Path)
    parser.add_argument("--medmnist", type=Path)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    name, train, test = data(options)
    effort = Effort.tiny() if options.tiny else Effort()
    s = coefficients(train[:500], measured(train, 16, "haar"), 0.999)
    best = recommended_rows(s, SIDE**2)
    threshold = statistical_dimension(s, SIDE**2).dimension
    print(f"{name}: {s:.0f} Haar coefficients of {SIDE**2} hold 99.9 %")
    print(f"D = {threshold:.0f}, m* = {best}")
    lines, samples = [], {}
    for arm in arms(train, round(1.3 * s), SIDES[1:2] if options.tiny else SIDES):
        line, samples[arm.name] = run_arm(arm, train, test, effort)
        lines.append(line | {"s": s, "threshold": threshold, "best": best})
        name = f"{name}_tiny" if options.tiny and "_tiny" not in name else name
        write(HERE / f"{name}.jsonl", lines)
    report(lines)
    draw(name, lines, best, samples, test)


if __name__ == "__main__":
    main()
