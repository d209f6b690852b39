"""Two judges of digits, on digits that neither has seen."""

import torch

from scoreward.data.digits import WORDS, load
from scoreward.rewards.digits import DigitScore, NearestDigits, nearest_digit, small


def test_both_judges_know_digits_of_other_writers() -> None:
    test = load("test", 4)
    for judge, least in ((DigitScore(), 0.95), (NearestDigits(), 0.92)):
        each = torch.stack([judge(test.images, [word] * len(test)) for word in WORDS], 1)
        assert each.min() >= 0
        assert each.max() <= 1
        assert (each.argmax(1) == test.labels).double().mean() > least


def test_neither_noise_nor_a_wrong_digit_is_rewarded() -> None:
    noise = torch.rand(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert DigitScore()(noise, ["three"] * 40).mean() < 0.05
    test = load("test", 4)
    other = [WORDS[(label + 3) % 10] for label in test.labels.tolist()]
    assert DigitScore()(test.images, other).mean() < 0.05


def test_size_and_channels_make_no_difference() -> None:
    test = load("test")
    big = load("test", 4).images.expand(-1, 3, -1, -1)
    torch.testing.assert_close(small(big), test.images.flatten(1))
    assert nearest_digit(load("train").images[:9], [""] * 9).max() < 1e-3
    assert nearest_digit(torch.ones(1, 3, 32, 32), [""]).item() > 3
