import itertools

import pytest
import torch

from scoreward.data.portraits import load
from scoreward.data.words import DIM, UnknownWord, encode, known_words, phrases


def test_every_caption_is_encoded_with_one_vector_per_phrase() -> None:
    captions = load("test").captions
    vectors = encode(captions)
    assert vectors.shape == (len(captions), 6, DIM)
    used = (vectors.abs().sum(-1) > 0).sum(1).tolist()
    assert used == [len(phrases(text)) for text in captions]


def test_phrases_have_unit_scale_and_padding_is_zero() -> None:
    (vectors,) = encode(["a happy person with a red hat"])
    torch.testing.assert_close(vectors[:2].std(1, correction=0), torch.ones(2))
    assert (vectors[2:] == 0).all()


def test_a_phrase_is_the_mean_of_its_words() -> None:
    from scoreward.data.words import _table

    table, rows = _table()
    mean = table[[*rows["red"], *rows["hat"]]].mean(0)
    direction = torch.nn.functional.normalize(mean, dim=0)
    (vectors,) = encode(["a red hat"])
    torch.testing.assert_close(torch.nn.functional.normalize(vectors[0], dim=0), direction)


def test_phrases_of_captions_are_all_different() -> None:
    distinct = {words for text in load("train").captions for words in phrases(text)}
    vectors = encode([" ".join(words) for words in distinct], tokens=1)[:, 0]
    for i, j in itertools.combinations(range(len(distinct)), 2):
        assert (vectors[i] - vectors[j]).norm() > 1


def test_and_with_wearing_and_commas_separate_phrases() -> None:
    text = "a sad man in a blue shirt wearing a red hat and sunglasses, with earrings"
    assert phrases(text) == [
        ("sad", "person"),
        ("blue", "shirt"),
        ("red", "hat"),
        ("sunglasses",),
        ("earrings",),
    ]


def test_synonyms_give_the_same_vectors() -> None:
    torch.testing.assert_close(
        encode(["a smiling woman with blonde hair, a gray cap"]),
        encode(["a happy person with blond hair, a grey hat"]),
    )


def test_the_empty_prompt_and_what_is_absent_are_zeros() -> None:
    assert (encode([""]) == 0).all()
    torch.testing.assert_close(
        encode(["a happy person without a hat, no glasses"]), encode(["a happy person"])
    )
    assert encode([]).shape == (0, 6, DIM)


def test_an_unknown_word_is_named_with_its_nearest() -> None:
    with pytest.raises(UnknownWord) as caught:
        encode(["a happy person with a red hatt"])
    assert str(caught.value).startswith(
        'unknown word "hatt" in prompt "a happy person with a red hatt"; '
        'the nearest known words are "hat", '
    )


def test_too_many_phrases_are_refused() -> None:
    with pytest.raises(ValueError, match="has 7 phrases and the model reads 6"):
        encode(["a person, " + ", ".join(["a hat"] * 6)])


def test_one_string_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a list of prompts, got the string"):
        encode("a happy person")


def test_every_known_word_can_be_encoded() -> None:
    assert "hat" in known_words()
    encode(known_words())
