"""Combinations, by hand."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from scoreward.rewards.base import Reward, RewardError, differentiated, scored
from scoreward.rewards.combine import (
    Cautious,
    Combined,
    Scaled,
    Weighted,
    calibrated,
    mean,
    minimum,
    weighted_sum,
)
from scoreward.rewards.rules import Variety

PROMPTS = ["a", "b", "c"]


def channel(number: int) -> Reward:
    def reward(media: Tensor, prompts: Sequence[str]) -> Tensor:
        return media[:, number].flatten(1).mean(1)

    return reward


def media() -> Tensor:
    rows = torch.tensor([[0.2, 0.4, 0.9], [0.5, 0.5, 0.5], [1.0, 0.0, 0.5]])
    return rows[:, :, None, None].expand(-1, -1, 4, 4).clone()


MEMBERS = {"red": channel(0), "green": channel(1), "blue": channel(2)}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (mean, [0.5, 0.5, 0.5]),
        (minimum, [0.2, 0.5, 0.0]),
        (Weighted((1.0, -1.0, 2.0)), [1.6, 1.0, 2.0]),
        (Cautious(0.0), [0.5, 0.5, 0.5]),
        (Cautious(2.0), [0.5 - 2 * (0.26 / 3) ** 0.5, 0.5, 0.5 - 2 * (0.5 / 3) ** 0.5]),
    ],
)
def test_rules_by_hand(rule: object, expected: list[float]) -> None:
    reward = Combined(MEMBERS, rule)  # pyright: ignore[reportArgumentType]
    value = scored("all", reward, media(), PROMPTS)
    torch.testing.assert_close(value, torch.tensor(expected))


def test_two_members_and_one_deviation_are_the_minimum() -> None:
    two = {"red": MEMBERS["red"], "blue": MEMBERS["blue"]}
    cautious, least = Combined(two, Cautious(1.0)), Combined(two, minimum)
    torch.testing.assert_close(cautious(media(), PROMPTS), least(media(), PROMPTS))


def test_parts_stay_in_sight() -> None:
    parts = Combined(MEMBERS, minimum).parts(media(), PROMPTS)
    assert list(parts) == ["red", "green", "blue"]
    torch.testing.assert_close(parts["green"], torch.tensor([0.4, 0.5, 0.0]))


def test_a_weighted_sum_of_rewards_in_their_own_units() -> None:
    members = {"red": (Scaled(channel(0), mean=0.5, std=0.5), 2.0), "blue": (channel(2), 1.0)}
    value = weighted_sum(members)(media(), PROMPTS)
    torch.testing.assert_close(value, torch.tensor([-1.2 + 0.9, 0.5, 2 + 0.5]))


def test_calibrated_rewards_have_mean_0_and_deviation_1_where_they_were_calibrated() -> None:
    reward = calibrated("red", channel(0), media(), PROMPTS)
    value = reward(media(), PROMPTS)
    assert float(value.mean()) == pytest.approx(0, abs=1e-6)
    assert float(value.std(correction=0)) == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(reward(media()[:1], ["a"]), value[:1])  # and stays so
    with pytest.raises(ValueError, match=r"gives 0\.5 to all 3 samples; it has no spread"):
        calibrated("flat", channel(0), torch.full((3, 3, 4, 4), 0.5), PROMPTS)
    with pytest.raises(ValueError, match="std = 0"):
        Scaled(channel(0), std=0.0)


def test_gradients_pass_and_are_finite_where_members_agree() -> None:
    agreed = torch.full((3, 3, 4, 4), 0.5, requires_grad=True)
    for rule in (mean, minimum, Cautious(1.0)):
        value = differentiated("all", Combined(MEMBERS, rule), agreed, PROMPTS)
        (slope,) = torch.autograd.grad(value.sum(), agreed)
        assert slope.isfinite().all()
    moving = media().requires_grad_()
    value = differentiated("all", Combined(MEMBERS, minimum), moving, PROMPTS)
    (slope,) = torch.autograd.grad(value.sum(), moving)
    assert (slope[0].flatten(1).sum(1) > 0).tolist() == [True, False, False]  # red is the least


def test_a_member_that_fails_is_named() -> None:
    def broken(media: Tensor, prompts: Sequence[str]) -> Tensor:
        return torch.full((len(prompts),), torch.nan)

    with pytest.raises(RewardError, match="reward 'second' returned nan"):
        Combined({"first": channel(0), "second": broken}, mean)(media(), PROMPTS)
    fixed = {"fixed": lambda media, prompts: torch.ones(len(prompts))}
    with pytest.raises(RewardError, match="reward 'fixed' has no gradient"):
        Combined(fixed, mean)(media().requires_grad_(), PROMPTS)
    with pytest.raises(ValueError, match="2 weights for 3 members"):
        Combined(MEMBERS, Weighted((1.0, 2.0)))(media(), PROMPTS)
    with pytest.raises(ValueError, match="one member or more"):
        Combined({}, mean)


def test_a_combination_with_a_reward_of_groups_is_one_of_groups() -> None:
    assert Combined({"variety": Variety(), "red": channel(0)}, mean).of_groups
    assert not Combined(MEMBERS, mean).of_groups
