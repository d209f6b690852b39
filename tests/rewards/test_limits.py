"""What is too much is refused, before any picture is decoded."""

import socket
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from scoreward.rewards.encodings import PictureHeader, encoded, opened, png
from scoreward.rewards.remote.wire import Limits, Refusal
from tests.rewards.serving import QUICK, brightness, running, score

TINY = Limits(bytes=100_000, pictures=4, pixels=32 * 32, total_pixels=3 * 16 * 16)


@pytest.fixture(scope="module")
def small() -> Iterator[str]:
    with running({"brightness": brightness}, replace(QUICK, limits=TINY)) as address:
        yield address


def unchecked(side: int) -> bytes:
    """A PNG of a few hundred bytes that promises so many pixels, and is right in all else."""
    head = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    honest = png(np.zeros((1, 1, 3), np.uint8))
    return honest[:12] + head + struct.pack(">I", zlib.crc32(head)) + honest[33:]


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (encoded(torch.zeros(5, 3, 2, 2), "png"), "5 pictures came; the server takes at most 4"),
        (encoded(torch.zeros(1, 3, 33, 33), "png"), "picture 0 has 33 x 33 pixels; the server tak"),
        (encoded(torch.zeros(4, 3, 16, 16), "png"), "4 pictures of 16 x 16 pixels came; the serv"),
        ([unchecked(5000)], "picture 0 has 5000 x 5000 pixels; the server takes at most 1024 in a"),
        ([unchecked(60000)], "picture 0 is too large: Image size (3600000000 pixels) exceeds"),
        ([b"x" * 200_000], "bytes came; the server takes at most 100000"),
        ([b"x" * (24 << 20)], "bytes came; the server takes at most 100000"),  # heard to its end
    ],
    ids=range(7),
)
def test_what_is_too_large_is_refused(small: str, files: list[bytes], sentence: str) -> None:
    status, said = score(small, files, ["a"] * len(files))
    assert status == 413
    assert sentence in said["error"]
    assert "\n" not in said["error"]


def test_a_size_is_refused_before_any_picture_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    from scoreward.rewards.remote import wire

    decoded = []

    def watched(picture: memoryview) -> PictureHeader:
        return replace(opened(picture), read=lambda: decoded.append(picture))

    monkeypatch.setattr(wire, "opened", watched)
    files = [memoryview(p) for p in (*encoded(torch.zeros(1, 3, 8, 8), "png"), unchecked(5000))]
    request = wire.Request(("r",), ["a", "b"], files, None, 1.0)
    with pytest.raises(Refusal, match="picture 1 has 5000 x 5000"):
        wire.decoded(request, TINY)
    assert not decoded


def test_a_request_must_say_how_long_it_is(small: str) -> None:
    host, port = small.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        raw.sendall(
            b"POST /score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 411")


def test_a_request_that_never_comes_is_given_up() -> None:
    with running({"brightness": brightness}, replace(QUICK, reading=0.1)) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as raw:
            raw.sendall(b"POST /score HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nabc")
            answer = raw.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"3 of 50 bytes came within 0.1 s" in answer
