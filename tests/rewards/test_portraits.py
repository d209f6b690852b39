from dataclasses import replace

import pytest
import torch

from scoreward.data.portraits import FIELDS, load
from scoreward.rewards.palette import (
    CHECKED,
    PaletteCheck,
    nearest_distance,
    nearest_picture,
)
from scoreward.rewards.portraits import (
    SIZES,
    AllRight,
    AttributeReward,
    Verifier,
    attribute_table,
)
from scoreward.training.evaluations.pictures import spread_of
from tools.portraits.verifiers import (
    SETTINGS,
    figures,
    half_of_train,
    spoil,
    train_verifier,
    verifier_loss,
)

SAMPLE = 1000  # pictures of the test split; the standard error of 98 % is 0.4 %


def real() -> tuple[torch.Tensor, list[str]]:
    data = load("test")
    return data.images[:SAMPLE] / 2 + 0.5, data.captions[:SAMPLE]


@pytest.fixture(scope="module", params=["a", "b"])
def verifier(request: pytest.FixtureRequest) -> Verifier:
    return Verifier.load(request.param)


def test_every_attribute_of_held_out_pictures_is_read(verifier: Verifier) -> None:
    table = attribute_table(verifier, *real())
    assert list(table) == list(FIELDS)
    assert min(table.values()) >= 0.98, table


def test_slight_noise_changes_little(verifier: Verifier) -> None:
    media, prompts = real()
    noise = torch.randn(media.shape, generator=torch.Generator().manual_seed(0))
    noisy = (media + 0.04 * noise).clamp(0, 1)
    assert min(attribute_table(verifier, noisy, prompts).values()) >= 0.97


def test_noise_and_wrong_pictures_are_not_rewarded(verifier: Verifier) -> None:
    media, prompts = real()
    reward = AttributeReward(verifier)
    noise = torch.rand(media.shape, generator=torch.Generator().manual_seed(0))
    right = reward(media, prompts).mean()
    assert reward(noise, prompts).mean() < 0.45 < 0.95 < right
    assert reward(media.roll(1, 0), prompts).mean() < 0.6
    assert AllRight(verifier)(media.roll(1, 0), prompts).mean() < 0.05


def test_nothing_can_be_told_of_pure_noise(verifier: Verifier) -> None:
    noise = torch.randn(500, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for logits in verifier((noise / 2 + 0.5).clamp(0, 1)):
        assert logits.softmax(1).amax(1).mean() < 1.6 / logits.shape[1] + 0.1


def test_the_reward_is_the_mean_over_what_is_named(verifier: Verifier) -> None:
    media, _ = real()
    prompt = "a happy person with short hair"  # says hair, mouth, and no glasses, hat or earrings
    logits = dict(zip(FIELDS, verifier(media[:4]), strict=True))
    named = ("hair", "glasses", "hat", "mouth", "earrings")
    expected = sum(logits[k].softmax(1)[:, 0] for k in named) / len(named)
    reward = AttributeReward(verifier)(media[:4], [prompt] * 4)
    torch.testing.assert_close(reward, expected)


def test_strict_success_needs_every_attribute(verifier: Verifier) -> None:
    media, prompts = real()
    opposite = [
        p.replace("happy", "?").replace("sad", "happy").replace("?", "sad") for p in prompts
    ]
    assert AllRight(verifier)(media, prompts).mean() > 0.95
    assert AllRight(verifier)(media, opposite).mean() < 0.02


def test_a_batch_of_one_gives_the_same_reward(verifier: Verifier) -> None:
    media, prompts = real()
    reward = AttributeReward(verifier)
    torch.testing.assert_close(reward(media[:1], prompts[:1]), reward(media[:5], prompts[:5])[:1])


def test_the_verifiers_are_different_networks() -> None:
    a, b = Verifier.load("a"), Verifier.load("b")
    assert {k: v.shape for k, v in a.state_dict().items()} != {
        k: v.shape for k, v in b.state_dict().items()
    }
    media, _ = real()
    noisy = media + 0.3 * torch.randn(media.shape, generator=torch.Generator().manual_seed(2))
    disagree = torch.stack(
        [x.argmax(1) != y.argmax(1) for x, y in zip(a(noisy), b(noisy), strict=True)]
    )
    assert disagree.any(0).float().mean() > 0.1


def test_the_verifiers_share_no_training_picture() -> None:
    first, second = half_of_train(0), half_of_train(1)
    assert len(first) + len(second) == len(load("train"))
    assert SETTINGS["a"].half != SETTINGS["b"].half
    rows = {image.numpy().tobytes() for image in first.images}
    shared = sum(image.numpy().tobytes() in rows for image in second.images)
    assert shared / len(second) < 0.01  # two looks may happen to give the same picture


def test_an_unknown_verifier_is_refused() -> None:
    with pytest.raises(ValueError, match='unknown verifier "c"; choose "a"'):
        Verifier.load("c")


def test_the_target_fades_to_uniform_as_a_picture_goes_blind() -> None:
    """Uniform logits are the best answer for a blind picture, and cost log(size) per attribute."""
    labels = torch.zeros(2, 7, dtype=torch.long)
    flat = tuple(torch.zeros(2, size) for size in SIZES)
    expected = torch.tensor(SIZES).log().sum()
    torch.testing.assert_close(verifier_loss(flat, labels, torch.ones(2)), expected)
    sure = tuple(20 * torch.nn.functional.one_hot(labels[:, 0], size).float() for size in SIZES)
    assert verifier_loss(sure, labels, torch.zeros(2)) < 1e-3
    assert verifier_loss(sure, labels, torch.ones(2)) > expected


def test_spoiled_pictures_stay_in_range_and_say_how_blind_they_are() -> None:
    images = torch.zeros(4000, 3, 16, 16)
    settings = SETTINGS["a"]
    moved, blind = spoil(images, settings, torch.Generator().manual_seed(0))
    assert moved.abs().max() <= 1
    assert abs((blind > 0).float().mean() - settings.spoiled) < 0.04  # 6 standard errors
    std = moved.flatten(1).std(1)
    assert std[blind == 0].max() < settings.clear_noise * 1.2
    assert std[blind == 1].min() > std[blind == 0].max()


@pytest.mark.slow
@pytest.mark.long
def test_one_epoch_teaches_what_is_large() -> None:
    """Mouths and earrings are a few pixels, hair changes place: they take longer."""
    accuracy = figures(train_verifier("a", replace(SETTINGS["a"], epochs=1)), "validation")
    assert list(accuracy) == [*FIELDS, "all"]
    assert min(accuracy[field] for field in ("hair", "clothes", "glasses", "hat")) > 0.85


def test_the_palette_reads_real_pictures() -> None:
    check = PaletteCheck.load()
    table = check.table(*real())
    assert list(table) == list(CHECKED)
    assert min(table.values()) >= 0.97, table
    assert check.right(*real()).all(1).float().mean() >= 0.97


def test_the_palette_refuses_noise_and_wrong_pictures() -> None:
    check, (media, prompts) = PaletteCheck.load(), real()
    noise = torch.rand(media.shape, generator=torch.Generator().manual_seed(0))
    assert check.right(noise, prompts).all(1).float().mean() < 0.05
    assert check.right(media.roll(1, 0), prompts).all(1).float().mean() < 0.05
    assert check(media.roll(1, 0), prompts).mean() < 0.4 < check(media, prompts).mean()


def test_the_palette_knows_the_colours_of_a_painted_hat() -> None:
    media, prompts = torch.ones(1, 3, 16, 16), ["a person with a pink hat"]
    check = PaletteCheck.load()
    assert not check.right(media, prompts)[0, 2]
    media[:, :, 0:4] = torch.tensor([0xCC, 0x61, 0x92]).reshape(3, 1, 1) / 255
    assert check.right(media, prompts)[0, 2]
    assert not check.right(media, ["a person with a purple hat"])[0, 2]
    assert not check.right(media, ["a person"])[0, 2]


def test_training_pictures_are_their_own_nearest() -> None:
    train = load("train").images[:50] / 2 + 0.5
    assert nearest_distance(train).max() < 0.05  # rounding of a difference of squares near 768


def test_nearest_distance_is_the_smallest_of_all_distances() -> None:
    media, prompts = real()
    flat, train = media[:3].double().flatten(1) * 2 - 1, load("train").images.double().flatten(1)
    expected = torch.cdist(flat, train).min(1).values.float()
    torch.testing.assert_close(nearest_distance(media[:3]), expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(nearest_picture(media[:3], prompts[:3]), expected, atol=1e-3, rtol=0)


def test_diversity_is_zero_for_copies_and_the_std_otherwise() -> None:
    media, _ = real()
    copies = media[:2, None].expand(2, 8, 3, 16, 16)
    assert [spread_of(media) for media in copies] == [0.0, 0.0]
    two = torch.stack([torch.zeros(3, 16, 16), torch.ones(3, 16, 16)])[None]
    assert [spread_of(media) for media in two] == [0.5]
