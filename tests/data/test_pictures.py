"""Pictures come in by one door: upright, on white, eight bits, and told by name if they cannot."""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from scoreward.data import pictures
from scoreward.data.pictures import PictureError, fitted, opened, picture, rgb, size_of

RED, BLUE = (250, 5, 5), (5, 5, 250)


def saved(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    file = BytesIO()
    image.save(file, format=kind, **how)
    return file.getvalue()


def two_halves() -> Image.Image:
    """Red above blue, higher than wide."""
    image = Image.new("RGB", (8, 16), BLUE)
    image.paste(RED, (0, 0, 8, 8))
    return image


def near(image: Image.Image, place: tuple[int, int], colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(np.array(image.getpixel(place)) - colour).max() < 12)


TURNS: dict[int, list[Image.Transpose]] = {
    1: [],
    2: [Image.Transpose.FLIP_LEFT_RIGHT],
    3: [Image.Transpose.ROTATE_180],
    4: [Image.Transpose.FLIP_TOP_BOTTOM],
    5: [Image.Transpose.TRANSPOSE],
    6: [Image.Transpose.ROTATE_90],
    7: [Image.Transpose.TRANSVERSE],
    8: [Image.Transpose.ROTATE_270],
}
"""How a camera that writes an orientation has turned what it saw."""


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", TURNS)
def test_a_picture_stands_upright(orientation: int, kind: str) -> None:
    stored, exif = two_halves(), Image.Exif()
    for turn in TURNS[orientation]:
        stored = stored.transpose(turn)
    exif[0x0112] = orientation
    content = saved(stored, kind, exif=exif)
    assert size_of(opened(content, "p")) == (8, 16)
    upright = picture(content)
    assert upright.size == (8, 16)
    assert near(upright, (4, 3), RED)
    assert near(upright, (4, 12), BLUE)


@pytest.mark.parametrize("hidden", [(255, 0, 0), (0, 0, 0), (255, 255, 255)])
def test_what_is_hidden_under_transparency_does_not_show(hidden: tuple[int, int, int]) -> None:
    image = Image.new("RGBA", (4, 4), (*hidden, 0))
    image.paste((0, 0, 255, 128), (0, 0, 2, 4))
    expected = Image.new("RGB", (4, 4), (255, 255, 255))
    expected.paste((127, 127, 255), (0, 0, 2, 4))
    for found in (picture(saved(image)), rgb(image)):
        assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("mode", ["LA", "P", "RGB", "L", "1"])
def test_every_way_to_be_transparent_lies_on_white(mode: str) -> None:
    if mode == "LA":
        content = saved(Image.new("LA", (2, 2), (40, 0)))
    else:
        solid = Image.new(mode, (2, 2), 0)
        content = saved(solid, transparency=(0, 0, 0) if mode == "RGB" else 0)
    assert picture(content).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bits_are_scaled_and_not_cut() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    content = saved(Image.fromarray(ramp))
    found = np.asarray(picture(content))
    assert np.abs(found[..., 0].ravel().astype(int) - np.arange(256)).max() <= 1
    clear = saved(Image.fromarray(ramp), transparency=0)
    assert picture(clear).getpixel((0, 0)) == (255, 255, 255)
    assert picture(clear).getpixel((1, 0)) == (1, 1, 1)


def test_sixteen_bits_stand_upright_as_well() -> None:
    ramp, exif = np.full((4, 8), 65535, np.uint16), Image.Exif()
    ramp[:, 4:] = 0  # lying: what is bright on the left is to be shown above
    exif[0x0112] = 6
    upright = picture(saved(Image.fromarray(ramp), exif=exif))
    assert upright.size == (4, 8)
    assert (upright.getpixel((1, 0)), upright.getpixel((1, 7))) == ((255,) * 3, (0,) * 3)


def test_sixteen_bits_of_colour_are_scaled() -> None:
    """A PNG of three channels of 16 bits, written by hand: PIL writes none."""
    rows = b"".join(
        b"\x00" + struct.pack(">6H", 65535, 32768, 0, 0, 257 * 9, 65535) for _ in (0, 1)
    )
    head = struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )
    found = np.asarray(picture(content)).astype(int)
    assert np.abs(found[0] - [[255, 128, 0], [0, 9, 255]]).max() <= 1


def test_floats_are_of_one_scale_or_refused() -> None:
    half = Image.fromarray(np.full((2, 2), 0.5, np.float32))
    assert picture(saved(half, "TIFF")).getpixel((0, 0)) == (128, 128, 128)
    for value in (200.0, -0.5, float("nan")):
        odd = Image.fromarray(np.full((2, 2), value, np.float32))
        with pytest.raises(PictureError, match=r"p.tif has values from .* expected 0 to 1"):
            picture(saved(odd, "TIFF"), "p.tif")
    with pytest.raises(PictureError, match="values from 70000 to 70000; expected 0 to 65535"):
        rgb(Image.fromarray(np.full((2, 2), 70000, np.int32)))


def test_a_workflow_in_a_picture_does_not_matter() -> None:
    for packed in (False, True):
        info = PngImagePlugin.PngInfo()
        info.add_text("workflow", "x" * (3 << 20), zip=packed)
        info.add_itxt("prompt", "y" * (3 << 20), zip=packed)
        found = picture(saved(two_halves(), pnginfo=info))
        assert found.tobytes() == two_halves().tobytes()


def test_a_photo_with_a_preview_is_one_picture(tmp_path: Path) -> None:
    two_halves().save(tmp_path / "p.jpg", "MPO", save_all=True, append_images=[two_halves()])
    assert Image.open(tmp_path / "p.jpg").format == "MPO"
    assert near(picture(tmp_path / "p.jpg"), (4, 3), RED)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_what_moves_is_refused(kind: str) -> None:
    frames = [two_halves(), Image.new("RGB", (8, 16))]
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(PictureError, match=r"p.x has 2 frames, expected a still picture"):
        picture(content, "p.x")


def test_what_is_no_picture_is_told_by_name(tmp_path: Path) -> None:
    good = saved(two_halves())
    cases = {
        "empty.png": (b"", "is empty, expected a picture"),
        "text.png": (b"no picture", "is not a picture of a kind that can be read"),
        "cut.png": (good[:-30], "does not decode; its file is damaged or cut off"),
        "head.png": (good[:20], "is not a picture"),
        "svg.svg": (b"<svg/>", "is not a picture of a kind that can be read"),
    }
    for name, (content, said) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PictureError, match=f"{name} {said}"):
            picture(tmp_path / name)
    with pytest.raises(PictureError, match=r"gone.png cannot be read: No such file"):
        picture(tmp_path / "gone.png")
    with pytest.raises(PictureError, match="cannot be read: Is a directory"):
        picture(tmp_path)


def test_too_many_pixels_are_refused_before_they_are_decoded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pictures, "MOST", 8 * 16)
    assert picture(saved(two_halves())).size == (8, 16)
    larger = saved(Image.new("L", (8, 17)))
    with pytest.raises(PictureError, match="p has 8 x 17 pixels, more than the 0 million"):
        picture(larger, "p")


def test_another_shape_is_cut_or_has_white_beside_it() -> None:
    cut, padded = fitted(two_halves(), (8, 8)), fitted(two_halves(), (8, 8), "pad")
    assert (cut.size, padded.size) == ((8, 8), (8, 8))
    assert cut.getpixel((0, 1)) == RED
    assert cut.getpixel((0, 6)) == BLUE
    assert padded.getpixel((0, 1)) == (255, 255, 255)
    assert near(padded, (4, 1), RED)
