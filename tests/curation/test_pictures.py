"""Pictures that curation is given come in by the door of all pictures, whatever their mode."""

from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from scoreward.curation.pictures import PictureStore, media, same_pixels
from scoreward.data.pictures import PictureError


def clear() -> Image.Image:
    """Black that nobody sees, over half of red."""
    image = Image.new("RGBA", (4, 2), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 2, 2))
    return image


def lying() -> Image.Image:
    image = Image.new("RGB", (4, 2), "red")
    image.getexif()[ExifTags.Base.Orientation] = 6
    return image


def deep() -> Image.Image:
    return Image.fromarray(np.full((2, 4), 32896, np.uint16))


def test_pictures_of_every_mode_are_kept_as_they_look(tmp_path: Path) -> None:
    store = PictureStore(tmp_path)
    kept = [store.get(store.put(image)) for image in (clear(), lying(), deep())]
    assert kept[0].getpixel((0, 0)) == (255, 255, 255)
    assert kept[0].getpixel((3, 0)) == (255, 0, 0)
    assert kept[1].size == (2, 4)
    assert kept[2].getpixel((0, 0)) == (128, 128, 128)


def test_rewards_and_comparisons_see_the_same() -> None:
    assert media([clear()])[0, :, 0, 0].tolist() == [1, 1, 1]
    assert media([deep()]).unique().tolist() == pytest.approx([128 / 255])
    white = Image.new("RGB", (4, 2), "white")
    assert same_pixels([clear()], [white]) == [0.5]


def test_numbers_without_a_scale_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=r"values from 7 to 7; expected 0 to 1"):
        PictureStore(tmp_path).put(Image.fromarray(np.full((2, 2), 7, np.float32)))
    assert not list(tmp_path.iterdir())
