"""Pictures as bytes: PNG, WebP or NPY; each tells its own size.

Eight bits ("uint8", "png" and "webp") round: a value x in [0, 1] becomes round(255 x) / 255, so a
reward over the wire agrees with one in the process only up to that. The float encodings are exact
for their precision. "uint8" is the fastest, "webp" the smallest.
"""

import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from threading import Lock
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile
from torch import Tensor

from scoreward.rewards.base import SLACK

Encoding = Literal["uint8", "png", "webp", "float16", "float32"]
ENCODINGS: tuple[Encoding, ...] = ("uint8", "png", "webp", "float16", "float32")
TOGETHER = 1 << 20  # numbers worked on at once; more would leave the caches
NPY = b"\x93NUMPY"
HEADER = Lock()
"""Two threads that parse headers at once get a SystemError from some releases of Python 3.11."""
KINDS = (np.dtype("u1"), np.dtype("<f2"), np.dtype("<f4"))


def encoded(media: Float[Tensor, "batch 3 *shape"], encoding: Encoding) -> list[bytes]:
    """One picture after another; of a video, frame after frame."""
    frames = media.detach()
    if frames.ndim == 5:
        frames = frames.transpose(1, 2).flatten(0, 1)
    together = max(1, TOGETHER // frames[0].numel())
    return [b for few in frames.split(together) for b in _written(few, encoding)]


def _written(frames: Float[Tensor, "batch 3 height width"], encoding: Encoding) -> list[bytes]:
    if encoding in ("float16", "float32"):
        kind = torch.float16 if encoding == "float16" else torch.float32
        return [npy(f) for f in frames.to(kind).cpu().contiguous().numpy()]
    whole = quantised(frames)
    if encoding == "uint8":
        return [npy(f) for f in whole.cpu().contiguous().numpy()]
    write = png if encoding == "png" else webp
    return [write(f) for f in whole.permute(0, 2, 3, 1).contiguous().cpu().numpy()]


def quantised(media: Float[Tensor, "*shape"]) -> UInt8[Tensor, "*shape"]:
    """round(255 x), cut off at 0 and 255."""
    return (media.float() * 255).round_().clamp_(0, 255).to(torch.uint8)


def restored(media: Tensor) -> Float32[Tensor, "*shape"]:
    """What the server gives to a reward: 8 bits as x / 255, floats as they are."""
    return media.float().div_(255) if media.dtype == torch.uint8 else media.float()


def png(picture: np.ndarray) -> bytes:
    """A PNG whose rows are stored uncompressed, [height, width, 3].

    Pillow chooses a filter for every row even then, which takes 30 times as long at 512 pixels.
    Where bytes are dearer than time, use WebP.
    """
    height, width, _ = picture.shape
    rows = np.zeros((height, 1 + 3 * width), np.uint8)  # each row starts with its filter, 0
    rows[:, 1:] = picture.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.data, 0)), (b"IEND", b""))
    parts = [b"\x89PNG\r\n\x1a\n"]
    for kind, data in chunks:
        check = zlib.crc32(data, zlib.crc32(kind))
        parts += [struct.pack(">I", len(data)), kind, data, struct.pack(">I", check)]
    return b"".join(parts)


def webp(picture: np.ndarray) -> bytes:
    """A lossless WebP with the least effort: smaller than PNG, and faster to make."""
    file = BytesIO()
    Image.fromarray(picture).save(file, "WEBP", lossless=True, quality=0, method=0)
    return file.getvalue()


def npy(picture: np.ndarray) -> bytes:
    """An NPY file of [3, height, width]."""
    file = BytesIO()
    np.save(file, picture, allow_pickle=False)
    return file.getvalue()


@dataclass(frozen=True)
class PictureHeader:
    """A picture of which only the header has been read; `read` decodes the rest, [3, h, w]."""

    height: int
    width: int
    read: Callable[[], Tensor]


def opened(blob: memoryview) -> PictureHeader:
    """Reads the header only.  Raises ValueError, OSError and Pillow's for what is no picture."""
    if blob[: len(NPY)] == NPY:
        return _opened_npy(blob)
    image = Image.open(BytesIO(blob), formats=("PNG", "WEBP"))
    if not isinstance(image, PngImageFile | WebPImageFile) or image.is_animated:
        raise ValueError("it is animated; send the frames of a video one by one")
    if image.mode != "RGB":
        raise ValueError(f"its mode is {image.mode}; expected RGB with 8 bits, without alpha")
    decode = lambda: torch.from_numpy(np.array(image)).permute(2, 0, 1)  # noqa: E731
    return PictureHeader(image.height, image.width, decode)


def _opened_npy(blob: memoryview) -> PictureHeader:
    """Never unpickles: of an NPY file only the plain header is read, and the numbers behind it."""
    head = BytesIO(blob[:512])
    if np.lib.format.read_magic(head) != (1, 0):
        raise ValueError("it is an NPY file of another version than 1.0")
    with HEADER:
        shape, by_column, kind = np.lib.format.read_array_header_1_0(head)
    if by_column or kind not in KINDS or len(shape) != 3 or shape[0] != 3:
        raise ValueError(
            f"it is an array of {kind} of shape {shape}; expected uint8, float16 or "
            "float32, (3, height, width), in C order"
        )
    start, count = head.tell(), math.prod(shape)
    if len(blob) - start != count * kind.itemsize:
        raise ValueError(f"its {len(blob) - start} bytes are not {shape} of {kind}")
    return PictureHeader(shape[1], shape[2], lambda: _array(blob[start:], kind, shape))


def _array(data: memoryview, kind: np.dtype, shape: tuple[int, ...]) -> Tensor:
    values = np.frombuffer(data, kind).reshape(shape)
    if kind == np.uint8:
        return torch.from_numpy(values if values.flags.writeable else values.copy())
    floats = torch.from_numpy(values.astype(np.float32))
    low, high = (float(value) for value in floats.aminmax())
    if not (low >= -SLACK and high <= 1 + SLACK):  # NaN is neither
        raise ValueError(f"it has values from {low:.4g} to {high:.4g}, not finite ones in [0, 1]")
    return floats
