"""The rules, against what they must say of pictures drawn for it."""

import importlib
import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from scoreward.rewards import rules
from scoreward.rewards.catalogue import find
from scoreward.rewards.pictures import Frames
from scoreward.rewards.rules import NAMED, Counting, Saturation, blobs, pixels_of

NAMES = ("jpeg_compressibility", "jpeg_incompressibility", "colorfulness", "contrast")
NAMES += ("saturation", "symmetry")
PAINTS = {
    "red": (220, 30, 30),
    "green": (40, 160, 60),
    "blue": (30, 60, 220),
    "yellow": (240, 220, 30),
    "orange": (250, 140, 20),
    "brown": (120, 70, 30),
    "purple": (120, 40, 180),
    "pink": (250, 160, 190),
    "cyan": (30, 220, 220),
    "black": (10, 10, 10),
    "white": (250, 250, 250),
    "gray": (128, 128, 128),
}


def flat(*colors: tuple[int, int, int], size: int = 32) -> Tensor:
    return torch.tensor(colors)[:, :, None, None].expand(-1, -1, size, size) / 255


def circles(color: str, centers: list[tuple[int, int]], size: int = 64, radius: int = 6) -> Tensor:
    """Discs on a light ground."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    picture = flat((245, 245, 245), size=size)[0].clone()
    for row, column in centers:
        inside = (y - row) ** 2 + (x - column) ** 2 <= radius**2
        picture[:, inside] = torch.tensor(PAINTS[color])[:, None] / 255
    return picture[None]


def one(name: str, media: Tensor, prompt: str = "") -> float:
    return float(find(name)(media, [prompt])[0])


def test_jpeg_sizes_are_those_of_the_files_in_kilobytes() -> None:
    media = torch.rand(2, 3, 24, 40)
    media[1] = 0.25
    sizes = []
    for picture in media:
        file = io.BytesIO()
        array = (picture.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        Image.fromarray(array).save(file, "JPEG", quality=95)
        sizes.append(len(file.getvalue()) / 1000)
    value = find("jpeg_incompressibility")(media, ["", ""])
    torch.testing.assert_close(value, torch.tensor(sizes))
    assert value[0] > 2 * value[1]
    torch.testing.assert_close(find("jpeg_compressibility")(media, ["", ""]), -value)
    torch.testing.assert_close(rules.Compressible(scale=500)(media, ["", ""]), -value / 500)


def test_colorfulness_is_the_published_formula() -> None:
    media = torch.rand(1, 3, 16, 16)
    red, green, blue = (media[0].double() * 255).numpy()
    rg, yb = red - green, (red + green) / 2 - blue
    expected = np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean())
    assert one("colorfulness", media) == pytest.approx(expected, rel=1e-5)
    assert one("colorfulness", flat((90, 90, 90))) == pytest.approx(0, abs=1e-4)


def test_contrast_and_symmetry_by_hand() -> None:
    halves = torch.zeros(1, 3, 8, 8)
    halves[..., 4:] = 1
    assert one("contrast", halves) == pytest.approx(0.5)
    assert one("contrast", flat((80, 90, 100))) == pytest.approx(0, abs=1e-5)
    assert one("symmetry", halves) == 0
    assert one("symmetry", halves.mT) == 1  # top and bottom differ, left and right do not
    green = flat((0, 255, 0)).clone()
    green[:, :, 16:] = 0
    assert one("contrast", green) == pytest.approx(0.587 / 2, rel=1e-4)


def test_saturation_is_that_of_hsv_and_a_target_has_its_peak_there() -> None:
    media = flat((200, 100, 100), (255, 0, 0), (40, 40, 40))
    assert Saturation()(media, [""] * 3).tolist() == pytest.approx([0.5, 1, 0])
    assert Saturation(target=0.5)(media, [""] * 3).tolist() == pytest.approx([1, 0.5, 0.5])


def test_every_pixel_has_exactly_one_name_and_paints_have_theirs() -> None:
    media = torch.rand(1, 3, 64, 64)
    found = torch.stack([pixels_of(media, color) for color in NAMED]).sum(0)
    assert (found == 1).all()
    for color, paint in PAINTS.items():
        assert pixels_of(flat(paint), color).all(), color


def test_hue_is_that_of_the_standard_library() -> None:
    import colorsys

    media = torch.rand(1, 3, 6, 6)
    expected = [360 * colorsys.rgb_to_hsv(*pixel)[0] for pixel in media[0].flatten(1).T.tolist()]
    torch.testing.assert_close(rules._hue(media).flatten(), torch.tensor(expected))


def test_the_share_of_the_named_colour() -> None:
    media = flat(PAINTS["red"])
    media = torch.cat([media, media.clone()])
    media[1, :, :, 8:] = torch.tensor(PAINTS["blue"])[:, None, None] / 255
    value = find("color_share")(media, ["a red circle", "a Blue, not red, square"])
    assert value.tolist() == [1, 0.75]
    assert rules.named_color("some grey dust") == "gray"
    with pytest.raises(ValueError, match="names no colour; expected one of black"):
        find("color_share")(media, ["a circle", "a predator"])  # "red" inside a word is none


def test_counting_blobs() -> None:
    media = circles("red", [(12, 12), (12, 50), (50, 30)])
    assert one("counting", media, "three red circles") == 1
    assert one("counting", media, "4 red circles") == 0.75
    assert one("counting", media, "a red circle") == 0  # never below 0
    assert one("counting", media, "two blue circles") == 0
    assert float(Counting(graded=False)(media, ["4 red circles"])) == 0
    assert float(Counting(graded=False)(media, ["3 red circles"])) == 1
    media[0, :, 0, 0] = torch.tensor(PAINTS["red"]) / 255  # a speck is no blob
    assert one("counting", media, "three red circles") == 1
    with pytest.raises(ValueError, match="has no number"):
        find("counting")(media, ["red circles"])


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [
        (["#.#", "#.#", "###"], [7]),  # two runs that a later row joins
        (["#..", ".#.", "..#"], [3]),  # corners touch
        (["##.##", ".....", "#####"], [5, 2, 2]),
        (["....", "...."], []),
        (["#.#.#", "#####", "#.#.#"], [11]),
    ],
)
def test_touching_pixels_are_one_blob(rows: list[str], sizes: list[int]) -> None:
    assert blobs(torch.tensor([[c == "#" for c in row] for row in rows])) == sizes


def test_blobs_agree_with_the_labels_of_scipy() -> None:
    scipy_label: Any = importlib.import_module("scipy.ndimage").label
    for share in (0.2, 0.4, 0.6):
        mask = torch.rand(40, 50) < share
        labels, count = scipy_label(mask.numpy(), structure=np.ones((3, 3)))
        expected = sorted(np.bincount(labels.ravel())[1:].tolist(), reverse=True)
        assert len(expected) == count
        assert blobs(mask) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_judged_as_its_pictures_are_one_by_one(name: str) -> None:
    media = torch.rand(3, 3, 20, 28)
    together = find(name)(media, [""] * 3)
    assert together.shape == (3,)
    torch.testing.assert_close(together, torch.cat([find(name)(m[None], [""]) for m in media]))


@pytest.mark.parametrize("name", ["colorfulness", "contrast", "saturation", "symmetry"])
def test_gradients_are_finite_even_on_pictures_of_one_colour(name: str) -> None:
    for media in (torch.rand(2, 3, 8, 8), torch.full((2, 3, 8, 8), 0.5), torch.zeros(2, 3, 8, 8)):
        media.requires_grad_()
        find(name)(media, ["", ""]).sum().backward()
        assert media.grad is not None
        assert media.grad.isfinite().all()
    media = torch.rand(2, 3, 8, 8, requires_grad=True)
    find(name)(media, ["", ""]).sum().backward()
    assert media.grad is not None
    assert media.grad.abs().sum() > 0


def test_video_earns_the_mean_of_its_frames() -> None:
    video = torch.rand(2, 3, 5, 8, 12)
    reward = find("contrast")
    each = torch.stack([reward(video[:, :, k], ["a", "b"]) for k in range(5)])
    torch.testing.assert_close(Frames(reward)(video, ["a", "b"]), each.mean(0))
    torch.testing.assert_close(Frames(reward, every=2)(video, ["a", "b"]), each[::2].mean(0))
    torch.testing.assert_close(Frames(reward)(video[:, :, 0], ["a", "b"]), each[0])


def test_every_frame_is_judged_by_the_prompt_of_its_video() -> None:
    video = flat(PAINTS["red"], PAINTS["blue"])[:, :, None].expand(-1, -1, 3, -1, -1)
    value = Frames(find("color_share"))(video, ["a red circle", "a blue circle"])
    assert value.tolist() == [1, 1]


def test_wrong_media_are_refused_in_a_sentence() -> None:
    reward = find("contrast")
    with pytest.raises(ValueError, match=r"got video of shape \(1, 3, 2, 4, 4\); wrap it"):
        reward(torch.rand(1, 3, 2, 4, 4), [""])
    with pytest.raises(ValueError, match=r"expected pictures of shape \(batch, 3, height, width\)"):
        reward(torch.rand(1, 4, 4, 4), [""])
    with pytest.raises(ValueError, match=r"got torch\.uint8"):
        reward(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), [""])
    with pytest.raises(ValueError, match=r"shape \(2, 3, 4, 4\) came with 1 prompts"):
        reward(torch.rand(2, 3, 4, 4), [""])
    with pytest.raises(ValueError, match="every = 0"):
        Frames(reward, every=0)
