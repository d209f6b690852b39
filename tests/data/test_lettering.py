"""Words, their pictures and the vectors a prompt becomes."""

import numpy as np
import pytest
import torch

from scoreward.data import lettering as data
from scoreward.data.quotes import quoted
from scoreward.data.waves import place_waves


def test_no_word_is_in_two_splits() -> None:
    train, validation, test = (set(data.words(split)) for split in data.SPLITS)
    assert not train & (validation | test)
    assert not validation & test
    assert (len(validation), len(test)) == (data.HELD_OUT, data.HELD_OUT)
    assert len(train) > 5000
    with pytest.raises(ValueError, match='unknown split "all"; choose one of train, validation'):
        data.words("all")


def test_words_have_two_to_five_letters_and_every_letter_occurs() -> None:
    words = data.words("train")
    assert {len(word) for word in words} == {2, 3, 4, 5}
    assert set("".join(words).upper()) == set(data.ALPHABET)


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ('a sign that says "open"', "open"),
        ("“stop” in red", "stop"),
        ("the word 'cat'", "cat"),
        ('not "this" but "that"', "that"),
        ("it isn't quoted, that's all", None),
        ('an empty ""', None),
    ],
)
def test_the_text_is_what_stands_in_quotes(prompt: str, text: str | None) -> None:
    assert quoted(prompt) == text


def test_a_prompt_asks_for_one_word() -> None:
    assert data.word_of('a sign that says "Open"') == "OPEN"
    assert data.word_of("cat") == "CAT"
    assert data.word_of("") == ""
    assert data.word_of(data.caption("tiger")) == "TIGER"
    for wrong in ('"elephant"', '"a"', '"two words"', '"c4t"', "a picture of a cat"):
        with pytest.raises(ValueError, match="draws one word of 2 to 5 letters A to Z, got the"):
            data.word_of(wrong)


def test_a_letters_vector_says_which_and_where() -> None:
    cond = data.encode(["cat", "at", ""])
    assert cond.shape == (3, data.LONGEST, data.DIM)
    letters = cond[..., : len(data.ALPHABET)]
    assert [data.ALPHABET[int(i)] for i in letters[0, :3].argmax(-1)] == ["C", "A", "T"]
    assert not cond[0, 3:].any()
    assert not cond[2].any()
    where = cond[..., len(data.ALPHABET) :]
    torch.testing.assert_close(where[0, 1], place_waves(torch.tensor([32.0]), data.WAVES)[0])
    torch.testing.assert_close(where[1, 0], place_waves(torch.tensor([26.0]), data.WAVES)[0])
    with pytest.raises(ValueError, match="expected a list of prompts"):
        data.encode("cat")


def test_places_twelve_pixels_apart_look_different_and_neighbours_alike() -> None:
    waves = place_waves(torch.tensor([20.0, 20.5, 32.0]), data.WAVES)
    near, far = ((waves[0] - waves[k]).square().mean() for k in (1, 2))
    assert near < 0.1 * far


def test_ink_stands_where_the_letter_is_said_to_be() -> None:
    """The middle of the ink of one letter, against its vector's place."""
    for word in ("ox", "oxo", "oxox", "oxoxo"):
        picture = data.draw(word, data.Look(1, 0, 0, 0.0, 1.0))
        ink = (1 - picture).sum(0)
        for place in range(len(word)):
            middle = data.WIDTH / 2 + (2 * place + 1 - len(word)) * data.ADVANCE / 2
            here = slice(round(middle) - 6, round(middle) + 6)
            columns = np.arange(data.WIDTH)[here] + 0.5
            assert abs((ink[here] * columns).sum() / ink[here].sum() - middle) < 1.5


def test_a_look_moves_and_inks_the_word() -> None:
    plain = data.draw("hello", data.Look(0, 0, 0, 0.0, 1.0))
    moved = data.draw("hello", data.Look(0, 1, -3, 0.0, 1.0))
    np.testing.assert_allclose(moved[:-3, 1:], plain[3:, :-1], atol=1e-6)
    assert (plain[0, 0], plain.min()) == (1, 0)  # paper and ink
    light = data.draw("hello", data.Look(0, 0, 0, 0.9, 0.2))
    np.testing.assert_allclose(light, 0.2 + 0.7 * (1 - plain), atol=1e-6)


def test_pictures_are_in_range_in_many_looks_and_the_same_every_time() -> None:
    few = data.load("validation", 1)
    assert few.images.shape == (400, 1, data.HEIGHT, data.WIDTH)
    assert -1 <= few.images.min() < -0.9
    assert 0.9 < few.images.max() <= 1
    assert few.captions[3] == data.caption(few.words[3])
    assert len({look.font for look in data.looks(100, 0)}) == len(data.FONTS)
    light = [look.ink > look.paper for look in data.looks(400, 0)]
    assert 0.15 < sum(light) / 400 < 0.35
    assert data.looks(5, 1) == data.looks(5, 1) != data.looks(5, 2)
