"""Where shirt, hair and hat are drawn, and in which colours.

python make_palette.py parts.json ../../scoreward/assets/portraits

The weight of a pixel is how often the training pictures show exactly a colour of the right value
there, in steps of a ninth; pixels below `SHARE` are left out, for the hat also those where hair
is common. Colours of other parts are listed so that they are not mistaken for the nearest shade.
"""

import json
import sys
from pathlib import Path

import looks
import numpy as np
from drawing import rgb
from make_pack import SKIN

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scoreward.data.portraits import FIELDS, Portraits, load

SHADES = {"hair_color": looks.HAIR_COLOR, "clothes": looks.CLOTHES, "hat": looks.HAT}
SHARE = {"hair_color": 0.15, "clothes": 0.3, "hat": 0.6}
LEAST = {"hair_color": 1.0, "clothes": 2.0, "hat": 4.0}  # votes of pixels that always show it


def shown(data: Portraits, field: str) -> np.ndarray:
    """bool [n, 256]: the pixel has exactly a shade of the label's value."""
    pixels = np.rint((data.images.flatten(2).mT.numpy() + 1) * 127.5).astype(int)
    labels = data.labels[:, list(FIELDS).index(field)].numpy()
    out = np.zeros(pixels.shape[:2], bool)
    for value, shades in SHADES[field].items():
        rows = labels == FIELDS[field].index(value)
        same = [(pixels[rows] == rgb(shade)).all(-1) for shade in shades]
        out[rows] = np.any(same, axis=0)
    return out


def place(data: Portraits, field: str, colors: list[str]) -> dict:
    worn = data.labels[:, list(FIELDS).index("hat")].numpy() > 0
    rows = worn if field == "hat" else np.ones_like(worn)
    share = shown(data, field)[rows].mean(0)
    use = share >= SHARE[field]
    if field == "hat":
        use &= shown(data, "hair_color")[~worn].mean(0) < 0.5
    weight = np.rint(9 * share * use).astype(int)
    owner = {shade: value for value, shades in SHADES[field].items() for shade in shades}
    values = [FIELDS[field].index(owner[c]) if c in owner else -1 for c in colors]
    return {"least": LEAST[field], "value": values, "weight": weight.tolist()}


def main(parts_file: str, out: str) -> None:
    source = json.loads(Path(parts_file).read_text())["colors"]
    faces = ["".join(f"{round(0.9 * c + 25.5):02x}" for c in rgb(skin)) for skin in SKIN]
    drawn = [s for shades in SHADES.values() for group in shades.values() for s in group]
    others = [*SKIN, *faces, *source["glasses"], *source["mouth"], *looks.EARRINGS, "ffffff"]
    colors = list(dict.fromkeys([*drawn, *others]))
    data = load("train")
    regions = {field: place(data, field, colors) for field in SHADES}
    text = json.dumps({"colors": colors, "regions": regions})
    (Path(out) / "palette.json").write_text(text.replace('], "', '],\n"') + "\n")
    for field, region in regions.items():
        print(field, region["least"])
        print(np.array(region["weight"]).reshape(16, 16))


if __name__ == "__main__":
    main(*sys.argv[1:])
