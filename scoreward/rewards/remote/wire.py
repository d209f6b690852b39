"""What travels between a reward server and its clients: JSON and pictures in, numbers out.

A request is `POST /score`. Its body is the length of a JSON object (4 bytes, big endian), the
object, then the pictures one after another (type `application/x-scoreward`). The same object may
come alone, with the pictures in base64 under "pictures" (type `application/json`). Its fields:

    rewards   names, each answered for every sample
    prompts   one per sample
    metadata  null, or an object per sample: the other fields of its prompt's row
    frames    null for pictures; for video the number of frames of every sample
    sizes     bytes of each picture, sample after sample, of each its frames
    seconds   how long the client waits; later the work is dropped

The answer is {"rewards": {name: [one number per sample]}}, an error {"error": "one sentence"}.
"""

import base64
import json
import math
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from scoreward.data.prompts import Prompt
from scoreward.rewards.encodings import PictureHeader, opened

FRAMED, PLAIN = "application/x-scoreward", "application/json"
TOKEN = "SCOREWARD_TOKEN"  # the variable of the environment that holds a token
LONGEST = 3600.0  # seconds that a client may ask to be waited for


class Secret:
    """A token: neither printed nor written among the settings of a run."""

    def __init__(self, word: str) -> None:
        if not word or not word.isascii() or not word.isprintable() or " " in word:
            raise ValueError("a token is a word of visible ASCII characters, without spaces")
        self._word = word

    def __repr__(self) -> str:
        return "Secret"

    def word(self) -> str:
        return self._word


class Refusal(Exception):
    """A request is not answered: the status of HTTP and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """What one request may hold; beyond it is refused before any picture is decoded."""

    bytes: int = 256 << 20
    pictures: int = 2048  # frames of videos count
    pixels: int = 2048 * 2048  # of one picture
    total_pixels: int = 64 << 20  # of all pictures of a request

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"the limit `{name}` must be at least 1, got {value}")


@dataclass(frozen=True)
class Request:
    """A request whose pictures are not decoded yet."""

    rewards: tuple[str, ...]
    prompts: Sequence[str]
    pictures: list[memoryview]
    frames: int | None
    seconds: float


def packed(head: Mapping[str, object], pictures: Sequence[bytes]) -> bytes:
    """The body of a request."""
    text = json.dumps({**head, "sizes": [len(p) for p in pictures]}, default=str).encode()
    return b"".join((struct.pack(">I", len(text)), text, *pictures))


def parsed(kind: str, body: bytearray) -> Request:
    """A request out of a body of this content type.  Raises Refusal."""
    kind = kind.partition(";")[0].strip().lower()
    if kind not in (FRAMED, PLAIN):
        raise Refusal(415, f"content type {kind!r} is unknown; expected {FRAMED} or {PLAIN}")
    try:
        head, pictures = _framed(body) if kind == FRAMED else _plain(body)
    except (ValueError, TypeError, RecursionError, struct.error) as error:
        raise Refusal(400, f"the request cannot be read: {error}") from error
    rewards, prompts = _words(head, "rewards"), _words(head, "prompts")
    frames, seconds = head.get("frames"), head.get("seconds", LONGEST)
    if frames is not None and (type(frames) is not int or frames < 1):
        raise Refusal(400, f"`frames` must be null or at least 1, got {frames!r}")
    if type(seconds) not in (int, float) or not 0 < seconds <= LONGEST:
        raise Refusal(400, f"`seconds` must be in (0, {LONGEST:g}], got {seconds!r}")
    more = head.get("metadata")
    if more is not None:
        if not isinstance(more, list) or not all(isinstance(fields, dict) for fields in more):
            raise Refusal(400, "`metadata` must be null or a list of objects")
        if len(more) != len(prompts):
            raise Refusal(400, f"`metadata` of {len(more)} came for {len(prompts)} prompts")
        prompts = [Prompt(text, fields) for text, fields in zip(prompts, more)]
    if len(pictures) != len(prompts) * (frames or 1):
        each = f" of {frames} frames" if frames else ""
        raise Refusal(400, f"{len(pictures)} pictures came for {len(prompts)} prompts{each}")
    return Request(tuple(dict.fromkeys(rewards)), prompts, pictures, frames, float(seconds))


def _framed(body: bytearray) -> tuple[Any, list[memoryview]]:
    (length,) = struct.unpack_from(">I", body)
    view = memoryview(body)[4 + length :]
    head = json.loads(body[4 : 4 + length])
    sizes = head.get("sizes") if isinstance(head, dict) else None
    if not isinstance(sizes, list) or not all(type(n) is int and n >= 0 for n in sizes):
        raise ValueError("`sizes` must be a list of whole numbers, the bytes of each picture")
    if sum(sizes) != len(view):
        raise ValueError(f"`sizes` add up to {sum(sizes)} bytes, {len(view)} came")
    pictures = []
    for size in sizes:
        pictures.append(view[:size])
        view = view[size:]
    return head, pictures


def _plain(body: bytearray) -> tuple[Any, list[memoryview]]:
    head = json.loads(body)
    pictures = head.get("pictures") if isinstance(head, dict) else None
    if not isinstance(pictures, list):
        raise ValueError("`pictures` must be a list of pictures in base64")
    return head, [memoryview(base64.b64decode(p, validate=True)) for p in pictures]


def _words(head: Any, field: str) -> list[str]:
    words = head.get(field)
    if not isinstance(words, list) or not words or not all(isinstance(w, str) for w in words):
        raise Refusal(400, f"`{field}` must be a list of at least one string")
    return words


def decoded(request: Request, limits: Limits) -> Tensor:
    """The media, 8 bits or floats: [batch, 3, h, w] or [batch, 3, frames, h, w].  Raises Refusal.

    All headers are read and the sizes they promise checked before the first picture is decoded.
    """
    if len(request.pictures) > limits.pictures:
        count = len(request.pictures)
        raise Refusal(413, f"{count} pictures came; the server takes at most {limits.pictures}")
    heads: list[PictureHeader] = []
    for i, picture in enumerate(request.pictures):
        with _readable(i):
            heads.append(opened(picture))
    _small_enough(heads, limits)
    pictures: list[Tensor] = []
    for i, head in enumerate(heads):
        with _readable(i):
            pictures.append(head.read())
    if len({p.dtype for p in pictures}) > 1:
        raise Refusal(400, "some pictures have 8 bits and some are floats; send one kind")
    media = torch.stack(pictures)
    if request.frames is not None:
        media = media.unflatten(0, (-1, request.frames)).transpose(1, 2).contiguous()
    return media


@contextmanager
def _readable(number: int) -> Iterator[None]:
    """Whatever a stranger's bytes do to a decoder is a refusal that names the picture."""
    try:
        yield
    except Exception as error:
        # one line, without the address of a file object
        line = (str(error).partition(" <_io.")[0].splitlines() or [type(error).__name__])[0]
        if isinstance(error, Image.DecompressionBombError):
            raise Refusal(413, f"picture {number} is too large: {line}") from error
        raise Refusal(400, f"picture {number} cannot be read: {line}") from error


def _small_enough(heads: list[PictureHeader], limits: Limits) -> None:
    size = (heads[0].height, heads[0].width)
    for number, head in enumerate(heads):
        mine = (head.height, head.width)
        if math.prod(mine) > limits.pixels:
            raise Refusal(
                413,
                f"picture {number} has {mine[0]} x {mine[1]} pixels; the server takes at most "
                f"{limits.pixels} in a picture",
            )
        if mine != size or not math.prod(mine):
            raise Refusal(
                400,
                f"picture {number} has {mine[0]} x {mine[1]} pixels and the first "
                f"{size[0]} x {size[1]}; the pictures of a request must be of one size, not empty",
            )
    if len(heads) * math.prod(size) > limits.total_pixels:
        raise Refusal(
            413,
            f"{len(heads)} pictures of {size[0]} x {size[1]} pixels came; the server takes at "
            f"most {limits.total_pixels} pixels in a request",
        )
