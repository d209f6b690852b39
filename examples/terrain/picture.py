"""Fields as a map: colour is height, light falls from the upper left."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib import colormaps
from PIL import Image, ImageDraw, ImageFont

from examples.terrain.model import CELL, SIDE

LIGHT = np.array([-0.5, -0.5, 0.7071])  # towards the light: left, up, above
MARGIN, GAP, SCALE = 150, 4, 2  # pixels


def shade(heights: np.ndarray) -> np.ndarray:
    """Cosine of the angle between the ground and the light, 0 in its own shadow."""
    along, across = np.gradient(heights, CELL)
    length = np.sqrt(1 + across**2 + along**2)
    return np.clip((-across * LIGHT[0] - along * LIGHT[1] + LIGHT[2]) / length, 0, 1)


def tile(heights: np.ndarray, top: float) -> Image.Image:
    """One field, coloured from its lowest cell to `top` metres above it."""
    level = np.clip((heights - heights.min()) / top, 0, 1)
    colour = colormaps["terrain"](level)[..., :3] * (0.35 + 0.9 * shade(heights)[..., None])
    pixels = (np.clip(colour, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((SIDE * SCALE, SIDE * SCALE), Image.Resampling.BICUBIC)


def picture(stored: Mapping[str, Path], prompts: Sequence[str]) -> Image.Image:
    """A row of fields for the untouched model and for each arm; a column has one colour scale."""
    loaded = {arm: torch.load(path, weights_only=True) for arm, path in stored.items()}
    rows = {"untouched": next(iter(loaded.values()))["before"].numpy()}
    rows |= {arm: both["after"].numpy() for arm, both in loaded.items()}
    tops = np.ptp(rows["untouched"], (1, 2))
    step = SIDE * SCALE + GAP
    page = Image.new("RGB", (MARGIN + step * len(prompts), 24 + step * len(rows)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(size=15)
    for column, (prompt, top) in enumerate(zip(prompts, tops)):
        title = f"{prompt.removeprefix('terrain of ')}, {top:.1f} m"
        pen.text((MARGIN + column * step + 4, 2), title, "black", font)
        for row, (name, fields) in enumerate(rows.items()):
            pen.text((6, 24 + row * step + 8), name, "black", font)
            page.paste(tile(fields[column], float(top)), (MARGIN + column * step, 24 + row * step))
    return page
