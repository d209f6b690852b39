import numpy as np
import pytest
import torch

from scoreward.data.portraits import (
    FIELDS,
    ORDERS,
    SPLITS,
    UNSAID,
    caption,
    load,
    named,
    parse,
)
from scoreward.data.words import phrases


def combinations(split: str) -> set[tuple[int, ...]]:
    return {tuple(row) for row in load(split).labels.tolist()}


def test_no_combination_is_in_two_splits() -> None:
    train, validation, test = map(combinations, SPLITS)
    assert not train & (validation | test)
    assert not validation & test


def test_about_a_tenth_of_the_combinations_is_held_out_twice() -> None:
    sizes = [len(combinations(split)) for split in SPLITS]
    for size in sizes[1:]:
        assert 0.07 < size / sum(sizes) < 0.13


def test_there_are_enough_pictures_of_every_value() -> None:
    assert sum(len(load(split)) for split in SPLITS) >= 24_000
    labels = load("train").labels
    for k, values in enumerate(FIELDS.values()):
        share = torch.bincount(labels[:, k], minlength=len(values)) / len(labels)
        assert share.min() > 0.04, (values, share)


def test_pictures_are_in_range_and_captions_match_them_one_to_one() -> None:
    data = load("validation")
    assert data.images.shape == (len(data), 3, 16, 16)
    assert data.labels.shape == (len(data), len(FIELDS))
    assert (data.images.min(), data.images.max()) == (-1, 1)
    assert len(data.captions) == len(data)


def test_corners_of_the_page_are_white() -> None:
    """A wrong order of axes or palettes would put other colours there."""
    corners = load("test").images[:, :, 12, [0, 15]]
    assert (corners == 1).float().mean() > 0.9


def test_a_shirt_called_yellow_is_yellow() -> None:
    data = load("test")
    yellow = data.labels[:, 2] == FIELDS["clothes"].index("yellow")
    red, green, blue = data.images[yellow][:, :, 15, 6:10].median(-1).values.median(0).values
    assert red > green > blue
    assert blue < -0.5


def test_every_caption_is_read_back() -> None:
    data = load("test")
    for row, text in zip(data.labels.tolist(), data.captions, strict=True):
        assert parse(text) == tuple(row)


def test_every_phrase_order_is_read_back_and_differs() -> None:
    row = (1, 1, 3, 1, 7, 0, 1)
    texts = {caption(row, order) for order in range(ORDERS)}
    assert len(texts) == ORDERS
    assert {parse(text) for text in texts} == {row}


def test_a_caption_has_at_most_six_phrases() -> None:
    assert max(len(phrases(text)) for text in load("train").captions[:2000]) == 6


def test_the_first_order_reads_like_this() -> None:
    text = caption((1, 1, 3, 1, 7, 0, 1), 0)
    assert text == (
        "a happy person with long blond hair, a green shirt, sunglasses, a red hat, earrings"
    )


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a smiling woman with blonde hair and a red cap", {"hair_color": "blond", "hat": "red"}),
        ("earrings, a navy shirt, sad person", {"earrings": "yes", "clothes": "navy"}),
        ("a man wearing dark glasses in a red shirt", {"glasses": "dark", "clothes": "red"}),
        ("a person with short hair, no hat and without glasses", {"hair": "short", "hat": "none"}),
        ("A Happy Person With Clear Glasses", {"mouth": "happy", "glasses": "light"}),
    ],
)
def test_free_prompts_are_understood(prompt: str, expected: dict[str, str]) -> None:
    labels = dict(zip(FIELDS, parse(prompt), strict=True))
    assert {k: FIELDS[k][labels[k]] for k in expected} == expected


def test_what_is_not_said_is_unsaid_or_absent() -> None:
    assert parse("a person") == (UNSAID, UNSAID, UNSAID, 0, 0, UNSAID, 0)
    assert parse("a person with a hat")[4] == UNSAID


def test_a_colour_that_a_thing_never_has_is_refused() -> None:
    with pytest.raises(ValueError, match='no "gray shirt" in the portraits; choose one of blue'):
        parse("a happy person with a gray shirt")


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ValueError, match='unknown split "dev"; choose one of train'):
        load("dev")


def test_neighbours_in_a_split_are_not_alike() -> None:
    """The file is sorted by looks; the first rows of a split must still be a fair sample."""
    labels = load("train").labels[:500]
    assert abs(np.corrcoef(labels[:-1, 0].numpy(), labels[1:, 0].numpy())[0, 1]) < 0.2
    assert named(labels[0]).keys() == FIELDS.keys()
