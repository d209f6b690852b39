"""The reward for differing from the other samples of one's prompt."""

import pytest
import torch

from scoreward.rewards.rules import Variety


def test_it_is_the_mean_distance_to_the_others_of_the_prompt() -> None:
    """Pixels 0, 0, 1 of prompt a: 0.5, 0.5, 1; prompt b stands alone among others."""
    media = torch.tensor([0.0, 0.5, 0.0, 1.0])[:, None, None, None].expand(4, 3, 2, 2)
    got = Variety()(media, ["a", "b", "a", "a"])
    torch.testing.assert_close(got, torch.tensor([0.5, 0.0, 0.5, 1.0]))


def test_it_is_a_root_mean_square_over_pixels() -> None:
    """One of four pixels differs by 1: the distance is ½, whatever the number of pixels."""
    media = torch.zeros(2, 1, 2, 2)
    media[1, 0, 0, 0] = 1.0
    assert Variety()(media, ["a", "a"]).tolist() == pytest.approx([0.5, 0.5])


def test_equal_pictures_earn_nothing() -> None:
    assert Variety()(torch.rand(1, 3, 4, 4).expand(5, 3, 4, 4), ["a"] * 5).abs().max() < 1e-3
