"""Draw the emoji packs and store what MiniLM says of the captions.

python -m tools.emoji.make_pack FOLDER_OF_UNPACKED_ICONIFY_SETS

A caption is a name that all four sets share, without flags, symbols, skin tones and the men and
women of what is also a person. Three sets go into one file; OpenMoji, which only the judge is
trained on, has its own file and its own licence.
"""

import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import resvg_py
from PIL import Image

from scoreward.data.emoji import FOLDER, SIDE, STYLES
from scoreward.models.texts.minilm import vectors

SETS = {"noto": "noto", "twemoji": "twemoji", "fluent": "fluent-emoji-flat", "openmoji": "openmoji"}
LEFT_OUT = re.compile(r"skin-tone|facing-right|^(man|woman|men|women)s?-|-(man|woman|men|women)\b")
KINDS_LEFT_OUT = ("Flags", "Symbols")


def read(folder: Path) -> dict:
    return json.loads((folder / "icons.json").read_text(encoding="utf-8"))


def shared_names(sets: dict[str, dict], kinds: dict[str, list[str]]) -> list[str]:
    """The names that become captions, in alphabetical order."""
    visible = [{n for n, i in s["icons"].items() if not i.get("hidden")} for s in sets.values()]
    unwanted = {name for kind in KINDS_LEFT_OUT for name in kinds[kind]}
    return sorted(n for n in set.intersection(*visible) - unwanted if not LEFT_OUT.search(n))


def draw(icons: dict, name: str) -> np.ndarray:
    """One picture on white, uint8 [32, 32, 3]."""
    icon = icons["icons"][name]
    box = [icon.get(k, icons.get(k, 0)) for k in ("left", "top")]
    box += [icon.get(k, icons.get(k, 16)) for k in ("width", "height")]
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{" ".join(map(str, box))}" width="{SIDE}" height="{SIDE}">{icon["body"]}</svg>'
    )
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=SIDE, height=SIDE))
    picture = Image.open(io.BytesIO(png)).convert("RGBA").resize((SIDE, SIDE))
    paper = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    paper.alpha_composite(picture)
    return np.asarray(paper.convert("RGB"))


def differences(pictures: np.ndarray) -> np.ndarray:
    """Each channel minus its left neighbour, modulo 256: flat colours become zeros."""
    planes = pictures.transpose(0, 3, 1, 2)
    return np.diff(planes, axis=-1, prepend=np.zeros_like(planes[..., :1]))


def main(folder: Path) -> None:
    sets = {style: read(folder / name) for style, name in SETS.items()}
    kinds = json.loads((folder / "noto" / "metadata.json").read_text())["categories"]
    names = shared_names(sets, kinds)
    drawn = {
        style: differences(np.stack([draw(icons, name) for name in names]))
        for style, icons in sets.items()
    }
    captions = [name.replace("-", " ") for name in names]
    told = [v for i in range(0, len(captions), 64) for v in vectors(captions[i : i + 64])]
    data = {
        "captions": np.array(captions),
        "counts": np.array([len(v) for v in told], np.uint8),
        "vectors": np.concatenate([v.numpy() for v in told]).astype(np.float16),
    }
    data |= {style: drawn[style] for style in STYLES}
    np.savez_compressed(FOLDER / "pack.npz", allow_pickle=False, **data)
    apart = FOLDER / "openmoji" / "pack.npz"
    np.savez_compressed(apart, allow_pickle=False, openmoji=drawn["openmoji"])
    for path in (FOLDER / "pack.npz", apart):
        print(path.name, path.stat().st_size, "bytes,", len(captions), "captions")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
