"""Emoji: pictures, captions, splits and the stored vectors."""

import numpy as np
import pytest
import torch

from scoreward.data import emoji as data
from scoreward.data.packs import SPLITS


def test_no_caption_is_in_two_splits_and_all_are_in_one() -> None:
    train, validation, test = (set(data.captions(split)) for split in SPLITS)
    assert not train & (validation | test)
    assert not validation & test
    assert (len(validation), len(test)) == (data.HELD_OUT, data.HELD_OUT)
    assert train | validation | test == set(data.every_caption())
    assert len(train) > 800
    with pytest.raises(ValueError, match='unknown split "all"; choose one of train, validation'):
        data.captions("all")


def test_captions_are_words_without_skin_tones_and_flags() -> None:
    every = data.every_caption()
    assert list(every) == sorted(set(every), key=lambda caption: caption.replace(" ", "-"))
    assert {"red apple", "panda", "locomotive", "grinning face"} <= set(every)
    assert not [caption for caption in every if "skin tone" in caption or "flag of" in caption]
    assert all(caption == data.cleaned(caption) for caption in every)


def test_pictures_stand_on_white_and_show_what_the_caption_says() -> None:
    """By the mean colour of the middle, in every style: an apple is red, broccoli is green."""
    for style in (*data.STYLES, data.JUDGE_STYLE):
        emoji = data.load("train", [style])
        assert emoji.images.shape == (len(data.captions("train")), 3, data.SIDE, data.SIDE)
        assert -1 <= emoji.images.min() < -0.9
        assert emoji.images.max() == 1
        corners = emoji.images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
        assert (corners == 1).float().mean() > 0.7
        middle = dict(zip(emoji.captions, emoji.images[:, :, 8:24, 8:24].mean((2, 3))))
        red, green, _ = middle["tangerine"]
        assert red > green
        red, green, blue = middle["evergreen tree"]
        assert green > max(red, blue)


def test_styles_follow_each_other_and_differ() -> None:
    emoji = data.load("validation")
    assert len(emoji) == len(emoji.images) == 3 * data.HELD_OUT
    assert emoji.captions == list(data.captions("validation")) * 3
    noto, twemoji, fluent = emoji.images.split(data.HELD_OUT)
    assert torch.equal(twemoji, data.load("validation", ["twemoji"]).images)
    for a, b in ((noto, twemoji), (noto, fluent), (twemoji, fluent)):
        same = (a - b).square().mean((1, 2, 3))
        mixed = (a - b.roll(1, 0)).square().mean((1, 2, 3))
        assert same.min() > 0
        assert same.mean() < 0.8 * mixed.mean()  # the same thing, drawn by another hand
    with pytest.raises(ValueError, match='unknown style "oil"; choose one of noto, twemoji'):
        data.load("test", ["oil"])


def test_differences_give_the_pixels_back() -> None:
    steps = np.array([250, 10, 0, 252], np.uint8)
    assert np.cumsum(steps, dtype=np.uint8).tolist() == [250, 4, 4, 0]
    with np.load(data.FOLDER / "pack.npz") as pack:
        first = pack["noto"][0, 0, 0]
    expected = first.astype(int).cumsum() % 256
    drawn = data.load("train", ["noto"]) if data.every_caption()[0] in data.captions("train") else 0
    assert drawn, "the first caption is one of the training split"
    row = drawn.images[drawn.captions.index(data.every_caption()[0]), 0, 0]
    torch.testing.assert_close((row + 1) * 127.5, torch.tensor(expected).float())


def test_a_known_caption_has_one_vector_for_all_and_one_for_every_word() -> None:
    apple = data.known("  Red  APPLE ")
    assert apple is not None
    assert apple.shape == (data.VECTORS, data.DIM)
    torch.testing.assert_close(apple[:3].square().mean(1), torch.ones(3), rtol=0, atol=2e-3)
    assert not apple[3:].any()
    assert data.known("a red apple") is None
    green = data.known("green apple")
    assert green is not None
    alike = torch.nn.functional.cosine_similarity(apple[:3], green[:3], dim=1)
    assert alike[2] > alike[1]  # the apples are more alike than red and green


def test_more_words_than_fit_share_the_last_place() -> None:
    vectors = torch.arange(8.0)[:, None].expand(-1, data.DIM)
    assert data.fitted(vectors)[:, 0].tolist() == [0, 1, 2, 3, 5.5]
    assert data.fitted(vectors[:5])[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert data.fitted(vectors[:2])[:, 0].tolist() == [0, 1, 0, 0, 0]


def test_the_packs_are_small_and_say_where_they_come_from() -> None:
    assert (data.FOLDER / "pack.npz").stat().st_size < 6_500_000
    licence = (data.FOLDER / "LICENSE.md").read_text()
    assert all(name in licence for name in ("Noto", "Twemoji", "Fluent", "MiniLM", "CC BY 4.0"))
    apart = (data.FOLDER / "openmoji" / "LICENSE.md").read_text()
    assert "OpenMoji" in apart
    assert "CC BY-SA 4.0" in apart
    with np.load(data.FOLDER / "pack.npz") as pack:
        assert data.JUDGE_STYLE not in pack.files
