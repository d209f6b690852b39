"""The image-text reward of emoji and its judge: right more often than chance, and fallible."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoreward.data import emoji as data
from scoreward.models.builtin.emoji import whole
from scoreward.rewards import emoji as rewards
from scoreward.rewards import imagenet
from scoreward.rewards.base import RewardError, differentiated, scored
from scoreward.rewards.emoji import EmojiMatch, Heads, Likeness, Retrieval, features
from scoreward.tasks.emoji import cautious, match

REWARD, JUDGE = match("reward"), match("judge")


def drawn(split: str, style: str, count: int = 64) -> tuple[Tensor, list[str]]:
    emoji = data.load(split, [style])
    return (emoji.images[:count] + 1) / 2, emoji.captions[:count]


def ranks(reward: EmojiMatch, media: Tensor, captions: list[str]) -> Tensor:
    found = Retrieval(reward.heads, whole, data.every_caption())
    return found.ranks(features(media, reward.heads.side), captions)


def test_training_captions_are_found_in_a_style_that_was_never_seen() -> None:
    """Chance is 1 in 1,164 for the first place."""
    rank = ranks(REWARD, *drawn("train", data.JUDGE_STYLE))
    assert (rank < 1).float().mean() > 0.1
    assert (rank < 10).float().mean() > 0.35


def test_held_out_captions_in_an_unseen_style_beat_other_captions() -> None:
    media, captions = drawn("test", data.JUDGE_STYLE)
    right, wrong = REWARD(media, captions), REWARD(media, captions[1:] + captions[:1])
    assert (right > wrong).float().mean() > 0.7
    assert right.mean() > wrong.mean() + 0.05
    assert ranks(REWARD, media, captions).median() < len(data.every_caption()) / 3


def test_the_judge_knows_held_out_captions_in_styles_it_never_saw() -> None:
    for style in data.STYLES:
        rank = ranks(JUDGE, *drawn("test", style))
        assert (rank < 10).float().mean() > 0.2


def test_the_judge_is_another_model() -> None:
    a, b = REWARD.heads, JUDGE.heads
    assert a.side != b.side
    assert rewards.HEADS["judge"].parent.name == data.JUDGE_STYLE
    maps = torch.stack([a.image[0].flatten(), b.image[0].flatten()])
    assert torch.corrcoef(maps)[0, 1].abs() < 0.1


def test_the_numbers_are_cosines_by_hand() -> None:
    media, captions = drawn("validation", "noto", 3)
    heads = REWARD.heads
    x = (features(media, heads.side) - heads.mean) / heads.std @ heads.image[0].T
    y = whole(captions) @ heads.text[0].T
    expected = (x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1))
    torch.testing.assert_close(REWARD(media, captions), expected)
    one = torch.cat([REWARD(media[i : i + 1], captions[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(one, expected, rtol=0, atol=1e-5)


def test_the_gradient_flows_and_points_uphill() -> None:
    media, captions = drawn("test", "twemoji", 4)
    media = media.clone().requires_grad_()
    value = differentiated("match", REWARD, media, captions)
    (slope,) = torch.autograd.grad(value.sum(), media)
    assert slope.flatten(1).norm(dim=1).min() > 0
    step = 0.05 * slope / slope.flatten(1).norm(dim=1)[:, None, None, None]
    assert (REWARD(media.detach() + step, captions) > value.detach()).all()


def test_caution_takes_the_heads_disagreement_off() -> None:
    media, captions = drawn("train", data.JUDGE_STYLE, 8)
    heads = REWARD.heads
    each = torch.stack(
        [
            EmojiMatch(replace(heads, image=heads.image[[k]], text=heads.text[[k]]), whole)(
                media, captions
            )
            for k in range(len(heads.image))
        ]
    )
    expected = each.mean(0) - 2 * each.std(0, correction=0)
    assert len(each) == 4
    assert each.std(0).min() > 0
    torch.testing.assert_close(cautious(2.0)(media, captions), expected, rtol=0, atol=1e-3)
    mean = EmojiMatch(heads, whole, count=4)(media, captions)
    torch.testing.assert_close(mean, each.mean(0))
    for count, caution in ((5, 0.0), (0, 0.0), (1, 1.0), (2, -1.0)):
        with pytest.raises(ValueError, match="must"):
            EmojiMatch(heads, whole, count, caution)


def test_found_counts_captions_that_fit_better() -> None:
    media, captions = drawn("test", "noto", 16)
    rank = ranks(JUDGE, media, captions)
    texts = JUDGE.heads.of_texts(whole(data.every_caption()), 1)[0]
    x = JUDGE.heads.of_pictures(features(media, JUDGE.heads.side), 1)[0]
    order = (x @ texts.T).argsort(1, descending=True).tolist()
    by_hand = [row.index(data.every_caption().index(c)) for row, c in zip(order, captions)]
    assert rank.tolist() == by_hand
    found = Retrieval(JUDGE.heads, whole, data.every_caption(), best=30)
    assert scored("strict", found, media, captions).tolist() == [float(r < 30) for r in by_hand]


def test_likeness_is_1_for_a_drawing_and_chance_for_another_caption() -> None:
    media, captions = drawn("test", "fluent")
    assert Likeness()(media, captions).min() > 0.999
    other = Likeness()(media, captions[1:] + captions[:1])
    assert 0.3 < other.mean() < 0.7
    unseen = Likeness(("noto", "twemoji"))(media, captions)  # drawn by other hands
    assert 0.75 < unseen.mean() < 1
    with pytest.raises(ValueError, match="there is no drawing of 'a purple cow' to compare with"):
        Likeness()(media[:2], [captions[0], "a purple cow"])


def test_likeness_counts_captions_that_are_farther_away() -> None:
    media, captions = drawn("validation", "noto", 3)
    faded = 0.5 * media + 0.25
    small = torch.nn.functional.avg_pool2d(faded * 2 - 1, 2)
    every = data.every_caption()
    for x, caption, value in zip(small, captions, Likeness(("twemoji",))(faded, captions)):
        gaps = torch.nn.functional.avg_pool2d(data.drawings("twemoji"), 2) - x
        square = gaps.square().sum((1, 2, 3))
        farther = int((square > square[every.index(caption)]).sum())
        assert float(value) == pytest.approx(farther / (len(every) - 1), abs=2e-3)


def test_pictures_of_any_size_are_taken() -> None:
    media, captions = drawn("train", "noto", 8)
    larger = media.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert REWARD(larger, captions).mean() > 0.5 * REWARD(media, captions).mean()


def test_missing_packages_and_unknown_heads_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match='unknown heads "gold"; choose "reward" or "judge"'):
        Heads.load("gold")
    monkeypatch.setattr(imagenet, "find_spec", lambda name: None)
    imagenet.lite0.cache_clear()
    media, captions = drawn("train", "noto", 1)
    with pytest.raises(RewardError, match=r"pip install 'scoreward\[features\]'"):
        scored("match", REWARD, media, captions)
    imagenet.lite0.cache_clear()
