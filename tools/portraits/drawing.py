"""Put the parts of an avatar together, and see which of them can be seen."""

import io
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import resvg_py
from PIL import Image

ORDER = ("face", "accessories", "clothing", "eyes", "glasses", "mouth", "hair", "hat")  # bottom up
Look = dict[str, tuple[str, str]]  # group -> (name of the part, colour without "#")


def rasterise(svg: str) -> np.ndarray:
    """A 16 x 16 RGBA picture of an SVG."""
    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=16, height=16))
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))


def on_white(rgba: np.ndarray) -> np.ndarray:
    """uint8 [16, 16, 3] over a white background."""
    page = Image.new("RGBA", (16, 16), (255,) * 4)
    page.alpha_composite(Image.fromarray(rgba))
    return np.asarray(page.convert("RGB"))


class Studio:
    """Draws looks from the parts of generate.mjs."""

    def __init__(self, parts: dict[str, dict[str, str]]) -> None:
        self.parts = parts
        self.layer = lru_cache(maxsize=None)(self._draw_layer)

    def body(self, look: Look) -> str:
        return "".join(
            self.parts[group][look[group][0]].replace("COLOR", f"#{look[group][1]}")
            for group in ORDER
            if group in look
        )

    def picture(self, look: Look) -> np.ndarray:
        """uint8 [16, 16, 3], drawn by resvg."""
        return on_white(rasterise(_svg(self.body(look))))

    def quick(self, look: Look) -> np.ndarray:
        """Almost the same picture in 0.1 ms, from cached layers: float [16, 16, 3] in 0..255."""
        page = np.full((16, 16, 3), 255.0)
        for group in ORDER:
            if group in look:
                color, keep = self.layer(group, *look[group])
                page = color + keep * page
        return page

    def _draw_layer(self, group: str, name: str, color: str) -> tuple[np.ndarray, np.ndarray]:
        rgba = rasterise(_svg(self.body({group: (name, color)}))).astype(float)
        alpha = rgba[..., 3:] / 255
        return rgba[..., :3] * alpha, 1 - alpha


def _svg(body: str) -> str:
    head = 'xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="none"'
    return f'<svg {head} shape-rendering="crispEdges" width="16" height="16">{body}</svg>'


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* (D65) of sRGB in 0..255."""
    c = np.asarray(rgb, float) / 255
    linear = np.where(c > 0.04045, ((c + 0.055) / 1.055) ** 2.4, c / 12.92)
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = linear @ np.array(to_xyz).T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def contrast(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Colour difference per pixel (CIE76); about 2 is just noticeable side by side."""
    return np.sqrt(np.square(lab(a) - lab(b)).sum(-1))


def rgb(color: str) -> np.ndarray:
    return np.array([int(color[i : i + 2], 16) for i in (0, 2, 4)], float)


def exact(page: np.ndarray, color: str) -> np.ndarray:
    """Which pixels have exactly this colour, up to rounding."""
    return np.all(np.abs(page - rgb(color)) < 1.5, axis=-1)


def clear(studio: Studio, look: Look) -> bool:
    """Can a person read every attribute of this picture? The limits were set by looking."""
    page = studio.quick(look)

    def seen(group: str) -> np.ndarray:
        rest = {k: v for k, v in look.items() if k != group}
        return contrast(page, studio.quick(rest))

    hair, color = seen("hair"), look["hair"][1]
    strands = (hair > 18) & exact(page, color)
    long = look["hair"][0].startswith("long")
    if strands.sum() < 5 or (long and strands[8:].sum() < 4):
        return False
    shirt = (seen("clothing") > 22) & exact(page, look["clothing"][1])
    if shirt.sum() < 8:
        return False
    mouth = seen("mouth")
    drawn = studio.layer("mouth", *look["mouth"])[1][..., 0] < 1
    if not (mouth[drawn] > 18).all():
        return False
    return _worn(studio, look, page, seen)


def _worn(studio: Studio, look: Look, page: np.ndarray, seen: Callable[[str], np.ndarray]) -> bool:
    """The same for what may be absent."""
    if "glasses" in look:
        name, color = look["glasses"]
        swap = name.replace("dark", "?").replace("light", "dark").replace("?", "light")
        lens = contrast(page, studio.quick({**look, "glasses": (swap, color)}))
        if (seen("glasses") > 15).sum() < 8 or (lens > 15).sum() < 4:
            return False
    if "hat" in look:
        same = contrast(rgb(look["hat"][1]), rgb(look["hair"][1]))
        if (exact(page, look["hat"][1]) & (seen("hat") > 18)).sum() < 12 or same < 22:
            return False
    if "accessories" in look:
        ear = rgb(look["accessories"][1])
        near = min(contrast(ear, rgb(look[k][1])) for k in ("face", "hair"))
        spots = seen("accessories") > 22
        if spots[:, :8].sum() < 1 or spots[:, 8:].sum() < 1 or spots.sum() < 2 or near < 22:
            return False
    return True
