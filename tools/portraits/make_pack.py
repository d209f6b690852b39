"""Draw the portraits pack.

python make_pack.py parts.json ../../scoreward/assets/portraits

Labels are drawn first, evenly; then styles, skin and eyes at random until the picture shows every
label clearly. Combinations are split by a hash, so the split does not depend on the number drawn.
"""

import hashlib
import json
import sys
import time
from pathlib import Path

import looks
import numpy as np
from drawing import Look, Studio, clear, on_white, rasterise

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scoreward.data.portraits import FIELDS, ORDERS, named

COUNT, TRIES, SEED = 30_000, 60, 2
SKIN = ["ffdbac", "f5cfa0", "eac393", "e0b687", "cb9e6e", "b68655", "a26d3d", "8d5524"]


def split_of(labels: tuple[int, ...]) -> int:
    """0 train (80 %), 1 validation (10 %), 2 test (10 %), by the combination."""
    tenth = hashlib.blake2b(bytes(labels), digest_size=8, person=b"portraits").digest()[0] % 10
    return (0, 0, 0, 0, 0, 0, 0, 0, 1, 2)[tenth]


def draw_labels(rng: np.random.Generator) -> tuple[int, ...]:
    absent = {"none", "no"}
    row = []
    for field, values in FIELDS.items():
        first = 1 if values[0] in absent else 0
        worn = not first or rng.random() < looks.CHANCE[field]
        row.append(int(rng.integers(first, len(values))) if worn else 0)
    return tuple(row)


def draw_look(labels: tuple[int, ...], colors: dict, rng: np.random.Generator) -> Look:
    """Random styles and shades with these labels."""
    said = named(labels)

    def pick(values: list[str]) -> str:
        return values[int(rng.integers(len(values)))]

    look = {
        "face": ("face", pick(SKIN)),
        "clothing": (pick(looks.CLOTHING), pick(looks.CLOTHES[said["clothes"]])),
        "eyes": (pick(looks.EYES), pick(colors["eyes"])),
        "mouth": (pick(looks.MOUTH[said["mouth"]]), pick(colors["mouth"])),
        "hair": (pick(looks.HAIR[said["hair"]]), pick(looks.HAIR_COLOR[said["hair_color"]])),
    }
    if said["glasses"] != "none":
        look["glasses"] = (pick(looks.GLASSES[said["glasses"]]), pick(colors["glasses"]))
    if said["hat"] != "none":
        look["hat"] = (pick(looks.HATS), pick(looks.HAT[said["hat"]]))
    if said["earrings"] == "yes":
        look["accessories"] = (pick(looks.ACCESSORIES), pick(looks.EARRINGS))
    return look


def find_look(
    labels: tuple[int, ...], studio: Studio, colors: dict, rng: np.random.Generator
) -> Look | None:
    for _ in range(TRIES):
        look = draw_look(labels, colors, rng)
        if clear(studio, look):
            return look
    return None


def check_drawing(studio: Studio, references: list[dict]) -> None:
    """Our assembly equals DiceBear's own, to the last bit."""
    for reference in references:
        extra = reference["extra"]
        look: Look = {"face": ("face", extra["skinColor"][1:])}
        for group in ("accessories", "clothing", "eyes", "glasses", "mouth", "hair", "hat"):
            if extra.get(group):
                look[group] = (extra[group], extra[f"{group}Color"][1:])
        if not np.array_equal(studio.picture(look), on_white(rasterise(reference["svg"]))):
            raise RuntimeError(f"the assembled avatar differs from DiceBear's own: {extra}")


def compress(images: np.ndarray) -> dict[str, np.ndarray]:
    """Each picture as numbers into its own palette, each palette as numbers into `colors`."""
    flat = images.reshape(len(images), 256, 3)
    code = (flat.astype(np.int32) * np.array([65536, 256, 1])).sum(-1)
    values, index = np.unique(code, return_inverse=True)
    index = index.reshape(code.shape)
    pixels, palettes = np.zeros(code.shape, np.uint8), []
    for i, row in enumerate(index):
        shades, first, inverse = np.unique(row, return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))  # numbered by first appearance: colour does not matter
        pixels[i] = rank[inverse.reshape(-1)]
        palettes.append(shades[np.argsort(first)])
    palette = np.zeros((len(images), max(map(len, palettes))), np.uint16)
    for i, shades in enumerate(palettes):
        palette[i, : len(shades)] = shades
    colors = np.stack([values >> 16, values >> 8 & 255, values & 255], -1).astype(np.uint8)
    return {"colors": colors, "palette": palette, "pixels": pixels}


def main(parts_file: str, out: str, count: int = COUNT) -> None:
    source = json.loads(Path(parts_file).read_text())
    studio, rng, start = Studio(source["parts"]), np.random.default_rng(SEED), time.time()
    check_drawing(studio, source["references"])
    images, labels, seen, failed = [], [], set(), 0
    while len(images) < count:
        row = draw_labels(rng)
        look = find_look(row, studio, source["colors"], rng)
        body = look and studio.body(look)
        if look is None or body in seen:
            failed += 1
            continue
        seen.add(body)
        images.append(studio.picture(look))
        labels.append(row)
        if len(images) % 2000 == 0:
            print(len(images), "drawn,", failed, "given up,", f"{time.time() - start:.0f} s")
    data = compress(np.stack(images))
    order = np.lexsort(data["pixels"].T[::-1])  # neighbours alike: the file is smaller
    data |= {
        "labels": np.array(labels, np.int8),
        "split": np.array([split_of(row) for row in labels], np.int8),
        "order": rng.integers(0, ORDERS, count).astype(np.uint8),
    }
    data |= {k: v[order] for k, v in data.items() if k != "colors"}
    data["pixels"] = np.ascontiguousarray(data["pixels"])
    path = Path(out) / "pack.npz"
    np.savez_compressed(path, allow_pickle=False, **data)
    print(path.stat().st_size, "bytes;", np.bincount(data["split"]), "pictures per split")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
