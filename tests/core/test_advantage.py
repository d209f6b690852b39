"""Rewards become advantages: centred by prompt, scaled, combined, and cut."""

from dataclasses import replace
from math import sqrt, tanh
from typing import Literal

import pytest
import torch
from torch import Tensor

from scoreward.core.advantage import (
    Advantages,
    group_mean,
    group_std,
    normalised,
    prompt_normalised,
    soft_clip,
    zero_variance,
)
from scoreward.core.keys import Key
from tests.core.laws import F64, real
from tests.golden.load import golden

# Group 5: 1, 2, 6 with mean 3 and variance 14/3; group 2: 4, 8 with mean 6 and variance 4.
GROUP = torch.tensor([5, 2, 5, 2, 5])
REWARD = real(1.0, 4.0, 2.0, 8.0, 6.0)
CENTRED = real(-2.0, -2.0, -1.0, 2.0, 3.0)
ONE = torch.ones(1, dtype=F64)


def test_groups_are_found_by_their_number_wherever_they_stand() -> None:
    assert group_mean(REWARD, GROUP).tolist() == [3.0, 6.0, 3.0, 6.0, 3.0]
    expected = real(*[sqrt(14 / 3) if g == 5 else 2.0 for g in GROUP.tolist()])
    torch.testing.assert_close(group_std(REWARD, GROUP), expected)


def test_the_three_scales() -> None:
    """[grpo] (Sec. 4.1): by the group's deviation, by the batch's, or not at all; δ is added."""
    spread = real(*[sqrt(14 / 3), 2.0, sqrt(14 / 3), 2.0, sqrt(14 / 3)])
    torch.testing.assert_close(normalised(REWARD, GROUP, "group", 0.5), CENTRED / (spread + 0.5))
    batch = sqrt(sum((r - 4.2) ** 2 for r in REWARD.tolist()) / 5)
    torch.testing.assert_close(normalised(REWARD, GROUP, "batch", 0.5), CENTRED / (batch + 0.5))
    torch.testing.assert_close(normalised(REWARD, GROUP, "none", 0.5), CENTRED)


def test_published_advantages_per_prompt() -> None:
    """[grpo] (Sec. 4.1) as in Flow-GRPO's code."""
    row = golden("advantages")
    reward, group = real(*row["reward"])[None], torch.tensor(row["group"])
    by_batch = Advantages(scale="batch")(reward, ONE, group)
    torch.testing.assert_close(by_batch, real(*row["batch"]), rtol=0, atol=1e-6)
    by_group = Advantages(scale="group")(reward, ONE, group)
    tolerance = row["group_tolerance"]  # 1/(1 + 1e-4) and 2/(2 + 1e-4)
    torch.testing.assert_close(
        by_group, row["group_magnitude"] * real(-1.0, -1.0, 1.0, 1.0), rtol=0, atol=tolerance
    )


def test_published_deviations() -> None:
    """Population with 1e-4 (Flow-GRPO), n − 1 with 1e-8 (DanceGRPO, MixGRPO).  [grpo] (Sec. 4.1)"""
    row, group = golden("published")["deviation"], torch.zeros(4, dtype=torch.long)
    reward = real(*row["reward"])[None]
    theirs = Advantages(unbiased=True, floor=1e-8)(reward, ONE, group)
    torch.testing.assert_close(theirs, real(*row["unbiased"]), rtol=0, atol=1e-9)
    population = Advantages()(reward, ONE, group)
    torch.testing.assert_close(population, real(*row["population"]), rtol=0, atol=1e-9)


def test_published_advantages_by_batch_and_by_group() -> None:
    row = golden("published")["by"]
    reward, group = real(*row["reward"])[None], torch.tensor(row["group"])
    for scale, name in (("batch", "batch"), ("group", "of_group")):
        got = Advantages(scale=scale)(reward, ONE, group)  # pyright: ignore[reportArgumentType]
        torch.testing.assert_close(got, real(*row[name]), rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", ["group", "batch"])
def test_an_unbiased_deviation_is_larger_by_the_root_of_n_over_n_less_one(scale: str) -> None:
    """Groups of 3 and 2 in one batch of 5; every sum of rewards is divided in the same form."""
    settings = Advantages(scale=scale, floor=0.0)  # pyright: ignore[reportArgumentType]
    ratio = settings(REWARD[None], ONE, GROUP) / replace(settings, unbiased=True)(
        REWARD[None], ONE, GROUP
    )
    n = {"group": [3.0 if g == 5 else 2.0 for g in GROUP.tolist()], "batch": [5.0] * 5}[scale]
    torch.testing.assert_close(ratio, real(*[sqrt(k / (k - 1)) for k in n]))


def test_every_combination_takes_the_unbiased_form() -> None:
    rewards, weights = two_rewards()
    for combine in ("reward_sum", "advantage_sum", "gdpo"):
        settings = Advantages(combine=combine, floor=0.0, bound=1e9)  # pyright: ignore
        other = replace(settings, unbiased=True)(rewards, weights, GROUP)
        assert not torch.allclose(other, settings(rewards, weights, GROUP))
    history = torch.full((1, 4), torch.nan, dtype=F64)
    got = prompt_normalised(real(1.0, 3.0), torch.tensor([0, 0]), history, 2, 0.0, unbiased=True)
    torch.testing.assert_close(got, real(-1.0, 1.0) / sqrt(2))


def test_a_group_of_one_has_no_unbiased_deviation() -> None:
    """It would be 0/0; the sentence comes before the number."""
    with pytest.raises(ValueError, match="a group of one sample has no unbiased deviation"):
        Advantages(unbiased=True)(real(1.0, 2.0, 3.0)[None], ONE, torch.tensor([0, 0, 1]))
    with pytest.raises(ValueError, match="needs at least 2 rewards, got least=1"):
        Advantages(scale="prompt", least=1, unbiased=True)


def two_rewards() -> tuple[Tensor, Tensor]:
    """Rewards of very different scale, and their weights."""
    return torch.stack([REWARD, 100 * REWARD.flip(0)]), real(2.0, 0.5)


def by_hand(values: Tensor) -> Tensor:
    """(R − group mean)/(group deviation), without δ, one group at a time."""
    result = torch.zeros_like(values)
    for g in (2, 5):
        mine = values[g == GROUP]
        result[g == GROUP] = (mine - mine.mean()) / (mine - mine.mean()).square().mean().sqrt()
    return result


def test_reward_sum_adds_first_and_normalises_once() -> None:
    rewards, weights = two_rewards()
    got = Advantages(combine="reward_sum", floor=0.0)(rewards, weights, GROUP)
    torch.testing.assert_close(got, by_hand(2 * rewards[0] + 0.5 * rewards[1]))


def test_advantage_sum_normalises_each_reward_first() -> None:
    rewards, weights = two_rewards()
    got = Advantages(combine="advantage_sum", floor=0.0)(rewards, weights, GROUP)
    torch.testing.assert_close(got, 2 * by_hand(rewards[0]) + 0.5 * by_hand(rewards[1]))


def test_gdpo_normalises_the_sum_over_the_batch() -> None:
    """[gdpo] (combination)"""
    rewards, weights = two_rewards()
    rewards[0, 0] += 3.0  # so that the two groups differ in the spread of the sum
    total = 2 * by_hand(rewards[0]) + 0.5 * by_hand(rewards[1])
    expected = (total - total.mean()) / (total - total.mean()).square().mean().sqrt()
    got = Advantages(combine="gdpo", floor=0.0)(rewards, weights, GROUP)
    torch.testing.assert_close(got, expected)
    torch.testing.assert_close(got.square().mean(), real(1.0)[0])


@pytest.mark.parametrize("combine", ["reward_sum", "advantage_sum", "gdpo"])
@pytest.mark.parametrize("scale", ["group", "none"])
def test_a_constant_added_to_a_group_changes_nothing(
    scale: Literal["group", "none"], combine: Literal["reward_sum", "advantage_sum", "gdpo"]
) -> None:
    advantages, (rewards, weights) = Advantages(scale, combine), two_rewards()
    moved = rewards + 10.0 * (GROUP == 5)
    expected = advantages(rewards, weights, GROUP)
    torch.testing.assert_close(advantages(moved, weights, GROUP), expected)


def test_by_the_batch_such_a_constant_changes_the_scale_only() -> None:
    """The batch's deviation is that of the raw rewards, so it sees how far groups are apart."""
    rewards, advantages = REWARD[None], Advantages("batch", floor=0.0)
    moved = advantages(rewards + 10.0 * (GROUP == 5), ONE, GROUP)
    ratio = moved / advantages(rewards, ONE, GROUP)
    torch.testing.assert_close(ratio, ratio[:1].expand(5))
    assert ratio[0] < 0.7


def test_advantages_are_cut_at_the_bound_on_both_sides() -> None:
    reward, group = real(0.0, 0.0, 0.0, 7.0, -7.0)[None], torch.zeros(5, dtype=torch.long)
    got = Advantages(scale="none", bound=5.0)(reward, ONE, group)
    assert got.tolist() == [0.0, 0.0, 0.0, 5.0, -5.0]


def test_equal_rewards_teach_nothing_and_are_counted() -> None:
    reward, group = real(0.3, 0.3, 0.3, 1.0, 2.0), torch.tensor([1, 1, 1, 0, 0])
    assert Advantages()(reward[None], ONE, group).tolist()[:3] == [0.0] * 3
    assert zero_variance(reward, group).item() == pytest.approx(0.6)
    assert zero_variance(reward, torch.arange(5)).item() == 1.0
    assert zero_variance(REWARD, GROUP).item() == 0.0


@pytest.mark.parametrize("bound", [0.5, 3.0, 5.0])
def test_the_soft_clip_is_a_scaled_hyperbolic_tangent(bound: float) -> None:
    """[vgrpo] (17): slope 1 at 0, never beyond ±η."""
    values = [-20.0, -1.0, 0.0, 0.3, 20.0]
    expected = real(*[bound * tanh(v / bound) for v in values])
    torch.testing.assert_close(soft_clip(real(*values), bound), expected)
    assert torch.equal(soft_clip(real(*values), None), real(*values))


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected floor >= 0 and bound > 0, got floor=-1\.0"):
        Advantages(floor=-1.0)
    with pytest.raises(ValueError, match="expected floor >= 0 and bound > 0"):
        Advantages(bound=0.0)


def test_advantages_do_not_depend_on_the_order_of_samples() -> None:
    order = Key(("order",)).permutation(5)
    rewards, weights = two_rewards()
    for advantages in (Advantages(combine="reward_sum"), Advantages(combine="gdpo")):
        shuffled = advantages(rewards[:, order], weights, GROUP[order])
        torch.testing.assert_close(shuffled, advantages(rewards, weights, GROUP)[order])


# The history of each prompt


def test_a_prompts_own_history_gives_mean_and_std() -> None:
    """[ddpo] (stat tracking): once 3 rewards of a prompt are known, they are its baseline."""
    history = torch.full((2, 4), torch.nan, dtype=F64)
    prompt, reward = torch.tensor([0, 0, 1]), real(1.0, 3.0, 10.0)
    first = prompt_normalised(reward, prompt, history, least=3, floor=0.0)
    batch = (reward - reward.mean()) / reward.std(correction=0)
    torch.testing.assert_close(first, batch)
    second = prompt_normalised(real(5.0), torch.tensor([0]), history, least=3, floor=0.0)
    known = real(1.0, 3.0, 5.0)
    torch.testing.assert_close(second, (5 - known.mean())[None] / known.std(correction=0))
    torch.testing.assert_close(history[0, -3:], known)
    assert history[1].isnan().sum() == 3


def test_old_rewards_fall_out_of_the_history() -> None:
    history = torch.full((1, 2), torch.nan, dtype=F64)
    for value in (1.0, 2.0, 6.0):
        last = prompt_normalised(real(value), torch.tensor([0]), history, least=2, floor=0.0)
    torch.testing.assert_close(history, real(2.0, 6.0)[None])
    torch.testing.assert_close(last, real(1.0))  # (6 − 4)/2


def test_the_history_is_asked_for_by_name() -> None:
    settings = Advantages(scale="prompt", least=1, history=2, floor=0.0)
    rewards, one = real(1.0, 3.0)[None], torch.ones(1, dtype=F64)
    with pytest.raises(ValueError, match="needs the prompts and their history"):
        settings(rewards, one, torch.tensor([0, 0]))
    history = torch.full((1, 2), torch.nan, dtype=F64)
    got = settings(rewards, one, torch.tensor([0, 0]), torch.tensor([0, 0]), history)
    torch.testing.assert_close(got, real(-1.0, 1.0))
    with pytest.raises(ValueError, match='needs combine="reward_sum"'):
        Advantages(scale="prompt", combine="gdpo")


EQUAL = torch.full((6,), 0.1, dtype=F64)  # whose mean is 0.09999999999999999
TWO = torch.tensor([0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize("scale", ["group", "batch", "none", "prompt"])
@pytest.mark.parametrize("combine", ["reward_sum", "advantage_sum", "gdpo"])
@pytest.mark.parametrize("floor", [0.0, 1e-4])
def test_equal_rewards_have_an_advantage_of_exactly_nothing(
    scale: str, combine: str, floor: float
) -> None:
    """Not the rounding of their mean, which a floor of 0 would blow up to 1, and not 0/0."""
    if scale == "prompt" and combine != "reward_sum":
        pytest.skip("one history only")
    made = Advantages(scale=scale, combine=combine, floor=floor)  # pyright: ignore
    history = torch.full((2, 8), torch.nan, dtype=F64)
    found = made(EQUAL.expand(2, 6), torch.ones(2, dtype=F64), TWO, TWO, history)
    assert EQUAL.mean() != EQUAL[0] or EQUAL[:3].mean() != EQUAL[0]
    assert found.tolist() == [0.0] * 6


def test_one_flat_group_beside_another() -> None:
    reward = torch.cat([EQUAL[:3], real(1.0, 2.0, 6.0)])
    found = normalised(reward, TWO, "group", 0.0)
    assert found[:3].tolist() == [0.0] * 3
    torch.testing.assert_close(found[3:], real(-2.0, -1.0, 3.0) / sqrt(14 / 3))
    back = normalised(reward.flip(0), TWO, "group", 0.0)  # the first of the round is another
    torch.testing.assert_close(back, found.flip(0))
