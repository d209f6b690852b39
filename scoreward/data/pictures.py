"""The one door for pictures that people give: upright, opaque, eight bits a channel, not too large.

Orientation is applied, what is transparent is laid on white, 16 bits and floats in [0, 1] are
scaled. A moving picture is refused. `rgb` does this to an open picture, `opened` opens one without
decoding it, and `picture` is both.
"""

import struct
import warnings
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps

MOST = 100_000_000  # pixels of a picture, ours; PIL warns at 89 million
BACKGROUND = (255, 255, 255)  # what shows through
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, struct.error)
"""What PIL raises for files that are no pictures, or are damaged."""
PNG = b"\x89PNG\r\n\x1a\n"
TEXTS = (b"tEXt", b"zTXt", b"iTXt")  # chunks of a PNG, where picture tools keep whole workflows
STILL = ("MPO",)  # formats whose further pictures are not a movement: a phone's depth, a preview
LYING = (5, 6, 7, 8)  # orientations that turn width and height
Fit = Literal["crop", "pad"]


class PictureError(ValueError):
    """A file that is not a picture as it should be."""


def picture(source: Path | bytes, name: str = "") -> Image.Image:
    """A picture in RGB.  Raises PictureError with the name of the file, or the one given."""
    what = name or (str(source) if isinstance(source, Path) else "a picture")
    return rgb(opened(source, what), what)


def opened(source: Path | bytes, name: str) -> Image.Image:
    """An open picture of which only the header is read.  Raises PictureError."""
    try:
        content = source.read_bytes() if isinstance(source, Path) else source
    except OSError as error:
        raise PictureError(f"{name} cannot be read: {error.strerror or error}") from None
    if not content:
        raise PictureError(f"{name} is empty, expected a picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MOST is our own limit
            image = Image.open(BytesIO(_without_texts(content)))
    except Image.UnidentifiedImageError:
        raise PictureError(f"{name} is not a picture of a kind that can be read") from None
    except UNREADABLE as error:
        raise PictureError(f"{name} is not a picture that can be read: {_line(error)}") from None
    width, height = image.size
    if width * height > MOST:
        raise PictureError(
            f"{name} has {width} x {height} pixels, more than the {MOST // 10**6} million that are "
            "read; make it smaller"
        )
    if getattr(image, "is_animated", False) and image.format not in STILL:
        raise PictureError(
            f"{name} has {getattr(image, 'n_frames', 'several')} frames, expected a still picture"
        )
    return image


def _without_texts(content: bytes) -> bytes:
    """A PNG without its texts: PIL refuses pictures that carry more than a mebibyte of them."""
    if not content.startswith(PNG):
        return content
    kept, at = [PNG], len(PNG)
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        end = at + 12 + length
        if content[at + 4 : at + 8] not in TEXTS:
            kept.append(content[at:end])
        at = end
    return b"".join([*kept, content[at:]])


def rgb(image: Image.Image, name: str = "a picture") -> Image.Image:
    """An open picture as it is to be looked at: 8 bits of red, green and blue.

    Raises PictureError for one that is damaged, or whose numbers have no known scale.
    """
    try:
        upright = ImageOps.exif_transpose(_eight_bits(image, name))
        if upright.has_transparency_data:
            over = upright.convert("RGBA")
            under = Image.new("RGBA", over.size, (*BACKGROUND, 255))
            upright = Image.alpha_composite(under, over)
        return upright.convert("RGB")
    except PictureError:
        raise
    except UNREADABLE as error:
        raise PictureError(
            f"{name} does not decode; its file is damaged or cut off ({_line(error)})"
        ) from None


def _eight_bits(image: Image.Image, name: str) -> Image.Image:
    """A picture of one channel with more bits: its whole range, scaled."""
    if not image.mode.startswith(("I", "F")):
        return image
    numbers = np.asarray(image, dtype=np.float64)
    most = 65535.0 if image.mode.startswith("I") else 1.0
    if not (np.isfinite(numbers).all() and numbers.min() >= 0 and numbers.max() <= most):
        raise PictureError(
            f"{name} has values from {numbers.min():g} to {numbers.max():g}; expected 0 to {most:g}"
        )
    eight = Image.fromarray((numbers / most * 255).round().astype(np.uint8))
    eight.getexif().update(image.getexif())
    if isinstance(clear := image.info.get("transparency"), int):  # one grey that is see-through
        eight.putalpha(Image.fromarray(np.where(numbers == clear, 0, 255).astype(np.uint8)))
    return eight


def size_of(image: Image.Image) -> tuple[int, int]:
    """(width, height) of an open picture when it stands upright; only a TIFF is decoded."""
    if image.format == "TIFF":  # which PIL turns while it decodes
        image.load()
        return image.size
    turned = image.getexif().get(ExifTags.Base.Orientation) in LYING
    return (image.height, image.width) if turned else image.size


def fitted(image: Image.Image, size: tuple[int, int], fit: Fit = "crop") -> Image.Image:
    """RGB at another (width, height): what sticks out is cut off, or white stands beside it."""
    if fit == "crop":
        return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
    return ImageOps.pad(image, size, Image.Resampling.LANCZOS, color=BACKGROUND)


def _line(error: Exception) -> str:
    """What went wrong underneath, on one line, without an address in memory."""
    said = " ".join(str(error).split()).partition(" <_io.")[0]
    return said[:200] or type(error).__name__
