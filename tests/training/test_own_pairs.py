"""Pairs that a model makes itself: which samples, from what noise, and once only."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from scoreward.core.chain import uniform
from scoreward.core.kernel import ddim
from scoreward.data.store import TensorStore
from scoreward.tasks.toy import CORNERS, closeness, toy_model
from scoreward.training.sources.own_pairs import OwnPairs

MAKING = OwnPairs(uniform(ddim(), 20), closeness, group=4, batch=8)
PROMPTS = list(CORNERS) * 3


def test_winners_are_the_best_of_their_prompt_and_the_gap_is_that_of_rewards() -> None:
    data = MAKING.make(toy_model(), PROMPTS)
    assert list(data.prompts) == PROMPTS
    rows = range(len(data))
    high, low = (closeness(x[rows], data.prompts) for x in (data.winner, data.loser))
    assert data.gap is not None
    torch.testing.assert_close(high - low, data.gap)
    assert (data.gap > 0).all()
    others = MAKING.make(toy_model(), PROMPTS[4:])
    assert torch.equal(others.winner[:2], data.winner[:2])  # a prompt's samples are its own


def test_the_noise_is_what_the_pictures_were_generated_from() -> None:
    """On the toy the flow of the first model takes ε to ε/2."""
    data = replace(MAKING, sampler=uniform(ddim(), 200)).make(toy_model(), PROMPTS)
    assert data.winner_noise is not None
    assert data.loser_noise is not None
    torch.testing.assert_close(data.winner, data.winner_noise / 2, rtol=0, atol=0.02)
    torch.testing.assert_close(data.loser, data.loser_noise / 2, rtol=0, atol=0.02)


def test_pairs_depend_on_the_seed_and_not_on_the_batch() -> None:
    one = MAKING.make(toy_model(), PROMPTS)
    other = replace(MAKING, batch=64).make(toy_model(), PROMPTS)
    torch.testing.assert_close(one.winner, other.winner, rtol=0, atol=1e-6)
    third = replace(MAKING, seed=1).make(toy_model(), PROMPTS)
    rows = range(len(one))
    assert not torch.equal(one.winner[rows], third.winner[rows])


def north(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """All samples of a southern prompt earn the same."""
    return torch.tensor([m[1] if "north" in p else 0.0 for m, p in zip(media, prompts)])


def test_ties_and_gaps_below_the_least_are_dropped() -> None:
    data = replace(MAKING, reward=north).make(toy_model(), PROMPTS)
    assert set(data.prompts) == {"north east", "north west"}
    assert data.gap is not None
    middle = float(data.gap.median())
    fewer = replace(MAKING, reward=north, least=middle).make(toy_model(), PROMPTS)
    assert len(fewer) == int((data.gap > middle).sum())
    with pytest.raises(ValueError, match="all 2 prompts gave ties"):
        replace(MAKING, reward=north).make(toy_model(), ["south east", "south west"])


def test_pairs_are_made_once_for_the_same_weights_and_again_for_others(tmp_path: Path) -> None:
    asked: list[int] = []

    def counting(media: Tensor, prompts: Sequence[str]) -> Tensor:
        asked.append(len(media))
        return closeness(media, prompts)

    making = replace(
        MAKING, reward=counting, judged="counting", store=TensorStore(tmp_path, "test")
    )
    first = making.make(toy_model(), PROMPTS)
    assert sum(asked) == 48
    again = making.make(toy_model(), PROMPTS)
    assert sum(asked) == 48
    rows = range(len(first))
    assert torch.equal(first.winner[rows], again.winner[rows])
    assert list(first.prompts) == list(again.prompts)
    moved = toy_model()
    with torch.no_grad():
        moved.network.mean += 0.1  # pyright: ignore
    changed = [
        (making, moved, PROMPTS),
        (replace(making, seed=1), toy_model(), PROMPTS),
        (replace(making, group=3), toy_model(), PROMPTS),
        (replace(making, judged="other"), toy_model(), PROMPTS),
        (replace(making, sampler=uniform(ddim(), 10)), toy_model(), PROMPTS),
        (making, toy_model(), PROMPTS[1:]),
    ]
    for other, model, prompts in changed:
        before = len(asked)
        other.make(model, prompts)
        assert len(asked) > before


def test_settings_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="needs at least 2 samples per prompt, got 1"):
        replace(MAKING, group=1)
    with pytest.raises(ValueError, match="`least` is a gap of rewards, not negative"):
        replace(MAKING, least=-1.0)


def test_a_store_needs_to_know_which_reward_decided(tmp_path: Path) -> None:
    """Or pairs of one reward would be taken for those of another."""
    with pytest.raises(ValueError, match="need `judged`, what identifies the reward"):
        replace(MAKING, store=TensorStore(tmp_path, "test"))
