"""The basis decides: the same digits are dense in pixels and sparse in wavelets."""

import numpy as np
import pytest
import torch
from torch import Tensor

from scoreward.data.digits import load
from scoreward.models.compressed.bases import basis
from scoreward.models.compressed.decoders import fista


def operator(m: int, d: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(0).randn(m, d) / m**0.5)


def psnr(found: Tensor, x: Tensor) -> float:
    """Mean over pictures, in dB."""
    return float((-10 * (found - x).square().mean(1).log10()).mean())


@pytest.mark.parametrize(
    ("m", "boxed", "free"), [(32, 0.516, 0.761), (48, 0.142, 0.442), (56, 0.046, 0.095)]
)
def test_in_pixels_recovery_is_poor_and_the_box_helps(m: int, boxed: float, free: float) -> None:
    x = load().images[:200].double().flatten(1)
    assert (load().images > 0).double().mean().item() == pytest.approx(0.51, abs=5e-3)
    a = operator(m, 64)
    for box, expected in (((0.0, 1.0), boxed), (None, free)):
        z = fista(a, x @ a.T, 0.005, 1500, box)
        error = ((z - x).norm(dim=1) / x.norm(dim=1)).mean().item()
        assert error == pytest.approx(expected, abs=1e-3)


LONG = (pytest.mark.slow, pytest.mark.long)


@pytest.mark.parametrize(
    ("m", "expected"),
    [
        pytest.param(64, 12.5, marks=LONG),
        pytest.param(96, 19.4, marks=LONG),
        (128, 41.7),
        pytest.param(160, 59.1, marks=LONG),
    ],
)
def test_in_wavelets_enlarged_digits_are_recovered(m: int, expected: float) -> None:
    x = load(enlarged=2).images[:100].double().flatten(1)
    haar = basis("haar", (16, 16))
    nonzero = (haar.coefficients(x).abs() > 1e-9).sum(1).double().mean().item()
    assert nonzero == pytest.approx(49, abs=0.5)
    a = operator(m, 256)
    z = fista(a @ haar.matrix, x @ a.T, 0.001, 2000)
    assert psnr(haar.values(z), x) == pytest.approx(expected, abs=0.06)


@pytest.mark.slow
def test_the_same_pictures_in_pixels_are_not() -> None:
    x = load(enlarged=2).images[:100].double().flatten(1)
    a = operator(128, 256)
    assert psnr(fista(a, x @ a.T, 0.001, 2000, (0.0, 1.0)), x) == pytest.approx(13.0, abs=0.1)
