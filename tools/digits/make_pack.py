"""Writes scoreward/assets/digits/pack.npz from scikit-learn's copy: make_pack.py digits.csv.gz

The file is sklearn/datasets/data/digits.csv.gz of any installed scikit-learn; its order is kept.
"""

import gzip
import sys
from pathlib import Path

import numpy as np

TARGET = Path(__file__).parents[2] / "scoreward" / "assets" / "digits" / "pack.npz"


def main(source: str) -> None:
    with gzip.open(source, "rt") as file:
        rows = np.loadtxt(file, delimiter=",").astype(np.uint8)
    pixels, labels = rows[:, :-1], rows[:, -1]
    # all pixels of one place side by side, which packs better
    np.savez_compressed(TARGET, pixels=pixels.T.copy(), labels=labels)
    print(f"{len(rows)} digits, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1])
