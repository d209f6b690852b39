"""A compressed model: its latents, its decoder, its file, and what it refuses."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from scoreward.core.chain import draw, uniform
from scoreward.core.kernel import Heun
from scoreward.core.keys import Key, normal_each
from scoreward.core.process import LinearVP
from scoreward.data.digits import load, numbers, read_pictures
from scoreward.models.builtin import digits
from scoreward.models.builtin.transformer import NetworkSize, PatchTransformer
from scoreward.models.builtin.vectors import VectorNetwork, VectorSize, Wordless
from scoreward.models.compressed.decoders import BasisPursuit, Fista, LeastSquares
from scoreward.models.compressed.model import compressed, compression, save, stored
from scoreward.models.compressed.operators import gaussian, principal

SMALL = VectorSize(hidden=16, depth=1, classes=10)


def pictures(count: int = 24) -> torch.Tensor:
    return load("train", 2).images[:count]


def test_latents_have_mean_0_and_variance_1_with_one_mean_and_one_std() -> None:
    """[csdm] (pipeline)"""
    media = pictures()
    how = compression(media, gaussian(144, 256))
    y = how.encode(media.double())
    assert y.shape == (24, 1, 12, 12)
    assert y.mean().item() == pytest.approx(0, abs=1e-12)
    assert y.std().item() == pytest.approx(1)
    a = how.operator.matrix
    raw = y.flatten(1) * how.std + how.mean
    torch.testing.assert_close(raw, media.double().flatten(1) @ a.T)


def test_what_was_measured_is_recovered() -> None:
    media = pictures(8)
    how = compression(media, gaussian(169, 256), decoder=Fista(0.001, 1500, keep=70))
    assert (how.decode(how.encode(media)) - media).abs().max() < 1e-3
    with_components = compression(media, principal(media.flatten(1), 7), "pixel", LeastSquares())
    assert with_components.latent == (7,)
    found = with_components.recovered(with_components.encode(media.double()))
    torch.testing.assert_close(found, media.double())


def test_media_are_in_the_unit_interval_and_three_channels() -> None:
    how = compression(pictures(), gaussian(144, 256), decoder=Fista(0.02, 50))
    model = compressed(how, VectorNetwork(how.latent, SMALL))
    noise = normal_each((Key(("x", i)) for i in range(4)), model.shape)
    media = model.decode(5 * noise)
    assert media.shape == (4, 3, 16, 16)
    assert media.min() >= 0
    assert media.max() <= 1
    assert how.recovered(5 * noise).min() < 0


def test_any_sampler_and_process_run_on_it() -> None:
    how = compression(pictures(), gaussian(144, 256), decoder=Fista(0.02, 20))
    network = Wordless(PatchTransformer((1, 12, 12), NetworkSize(hidden=16, depth=1, text=8)), 8)
    model = compressed(how, network, LinearVP(), "eps")
    keys = [Key(("y", i)) for i in range(3)]
    start = normal_each(keys, model.shape)
    last = draw(
        uniform(Heun(), 4, end=0.01), model.denoiser, start, keys, model.encode(["", "", ""])
    )
    assert last.shape == (3, 1, 12, 12)
    assert model.decode(last).isfinite().all()


def test_gradients_reach_the_latents_through_the_decoder() -> None:
    how = compression(pictures(), gaussian(144, 256), decoder=Fista(0.02, 40, keep=20))
    latents = how.encode(pictures(2)).requires_grad_()
    how.decode(latents).sum().backward()
    assert latents.grad is not None
    assert latents.grad.abs().sum() > 0


def test_a_file_brings_operator_decoder_and_weights_back(tmp_path: Path) -> None:
    media, path = pictures(), tmp_path / "model.safetensors"
    operator = gaussian(144, 256, seed=7)
    how = compression(media, operator, "pixel", Fista(0.01, 30, box=(0.0, 1.0)))
    network = VectorNetwork(how.latent, SMALL)
    save(path, how, network)
    again, weights = stored(path)
    assert torch.equal(again.operator.matrix, operator.matrix)
    assert again.decoder == how.decoder
    assert (again.mean, again.std, again.latent) == (how.mean, how.std, how.latent)
    y = how.encode(media)
    assert torch.equal(again.decode(y), how.decode(y))
    VectorNetwork(again.latent, SMALL).load_state_dict(weights)


def test_trained_weights_replace_those_of_the_network(tmp_path: Path) -> None:
    model = digits.untrained(digits.Measuring(enlarged=1, rows=16, decoder=Fista()), SMALL)
    trained = {n: torch.full_like(p, 0.5) for n, p in model.network.named_parameters()}
    assert model.save is not None
    model.save(trained, tmp_path, False)
    loaded = digits.load(tmp_path / "model.safetensors", SMALL)
    assert all((p == 0.5).all() for p in loaded.network.parameters())
    with pytest.raises(ValueError, match="leave out --merged"):
        model.save(trained, tmp_path, True)


def test_the_network_is_told_which_digit() -> None:
    cond = digits.words(["zero", "nine"])
    assert cond.tolist() == [1, 10]
    unsaid = digits.nothing(cond)
    assert isinstance(unsaid, torch.Tensor)
    assert unsaid.tolist() == [0, 0]
    network = VectorNetwork((4,), SMALL)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.3, generator=torch.Generator().manual_seed(parameter.numel()))
    x, t = torch.zeros(2, 4), torch.full((2,), 0.5)
    told = network(x, t, cond)
    assert not torch.equal(told[0], told[1])
    assert not torch.equal(network(x, t, unsaid), told)


def test_what_does_not_fit_is_refused_in_a_sentence(tmp_path: Path) -> None:
    media = pictures(3)
    with pytest.raises(ValueError, match="have 256 numbers, but the operator expects 64"):
        compression(media, gaussian(16, 64))
    with pytest.raises(ValueError, match="have 15 numbers, but the operator measures 16"):
        compression(media, gaussian(16, 256), latent=(3, 5))
    for decoder in (Fista(box=(0, 1)), BasisPursuit(low=0.0)):
        with pytest.raises(ValueError, match='leave them out in the basis "haar"'):
            compression(media, gaussian(16, 256), "haar", decoder)
    with pytest.raises(ValueError, match="subtracts nothing"):
        compression(media, principal(media.flatten(1), 2), "pixel", Fista(box=(0, 1)))
    with pytest.raises(ValueError, match="between 1 and the 16 measurements, got 17"):
        compression(media, gaussian(16, 256), decoder=Fista(keep=17))
    with pytest.raises(ValueError, match="deviation must be positive, got 0"):
        compression(torch.zeros(3, 1, 4, 4), gaussian(4, 16))
    how = compression(media, gaussian(16, 256), decoder=lambda matrix, y: y @ matrix)
    with pytest.raises(ValueError, match="a file can hold one of the decoders Fista"):
        save(tmp_path / "a.safetensors", how, VectorNetwork(how.latent, SMALL))
    save_file({"x": torch.zeros(1)}, tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="holds no compressed model"):
        stored(tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="cannot read a compressed model"):
        stored(tmp_path / "none.safetensors")


def test_digits_are_read_split_and_named() -> None:
    every, train, test = load(), load("train"), load("test")
    assert (len(every), len(train), len(test)) == (1797, 1400, 397)
    assert (every.images[0, 0, 0] * 16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]  # as published
    assert every.captions[:4] == ["zero", "one", "two", "three"]
    assert numbers(every.captions).tolist() == every.labels.tolist()
    big = load("test", 3).images
    assert big.shape == (397, 1, 24, 24)
    assert torch.equal(big[:, :, 1::3, 2::3], test.images)
    with pytest.raises(ValueError, match="unknown prompt 'ten'"):
        numbers(["ten"])
    with pytest.raises(ValueError, match='unknown split "validation"'):
        load("validation")
    with pytest.raises(ValueError, match="`enlarged` must be at least 1, got 0"):
        load(None, 0)


def test_files_of_the_medmnist_layout(tmp_path: Path) -> None:
    rs, path = np.random.RandomState(0), tmp_path / "octmnist.npz"
    grey = rs.randint(0, 256, (5, 28, 28)).astype(np.uint8)
    colour = rs.randint(0, 256, (2, 28, 28, 3)).astype(np.uint8)
    np.savez(path, train_images=grey, test_images=colour, train_labels=np.zeros((5, 1)))
    read = read_pictures(path)
    assert read.shape == (5, 1, 28, 28)
    np.testing.assert_allclose(read[:, 0] * 255, grey, atol=1e-4)
    assert read_pictures(path, "test").shape == (2, 3, 28, 28)
    assert read_pictures(path, "test")[1, 2, 3, 4].item() == pytest.approx(colour[1, 3, 4, 2] / 255)
    with pytest.raises(ValueError, match=r"no array 'val_images'; .*: train_images, test_images"):
        read_pictures(path, "val")
    np.savez(path, train_images=grey.astype(float))
    with pytest.raises(ValueError, match=r"got float64 of shape \(5, 28, 28\)"):
        read_pictures(path)
    path.write_text("nonsense")
    with pytest.raises(ValueError, match="cannot read pictures from"):
        read_pictures(path)
