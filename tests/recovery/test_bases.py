"""Operators and bases."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn

from scoreward.models.compressed.bases import basis, levels
from scoreward.models.compressed.operators import (
    Operator,
    cosines,
    explained,
    gaussian,
    principal,
    subsampled_dct,
)

double = torch.float64


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("pixel", (6,)),
        ("dct", (5, 7)),
        ("dct", (3, 4, 4)),
        ("haar", (16,)),
        ("haar", (8, 12)),
        ("haar", (3, 8, 8)),
        ("db4", (16, 16)),
        ("db4", (120,)),
        ("sym8", (24,)),
    ],
)
def test_every_basis_is_orthonormal(name: str, shape: tuple[int, ...]) -> None:
    made = basis(name, shape)
    eye = torch.eye(len(made.matrix), dtype=double)
    torch.testing.assert_close(made.matrix.T @ made.matrix, eye, atol=1e-11, rtol=0)
    x = torch.randn(3, len(eye), dtype=double, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(made.values(made.coefficients(x)), x, atol=1e-11, rtol=0)


def test_cosines_are_those_of_scipy() -> None:
    x = np.random.RandomState(0).randn(2, 5, 7)
    expected = np.asarray(dctn(x, axes=(1, 2), norm="ortho")).reshape(2, -1)
    got = basis("dct", (5, 7)).coefficients(torch.from_numpy(x.reshape(2, -1)))
    np.testing.assert_allclose(got, expected, atol=1e-13)


def test_wavelets_are_those_of_pywavelets() -> None:
    import pywt

    x = np.random.RandomState(1).randn(16, 24)
    parts = pywt.wavedec2(x, "haar", mode="periodization", level=3)
    expected = pywt.coeffs_to_array(parts)[0].reshape(-1)
    got = basis("haar", (16, 24)).coefficients(torch.from_numpy(x.reshape(1, -1)))[0]
    np.testing.assert_allclose(got, expected, atol=1e-13)
    signal = np.random.RandomState(2).randn(1, 48)
    series = np.concatenate(pywt.wavedec(signal[0], "db2", mode="periodization", level=4))
    got = basis("db2", (48,)).coefficients(torch.from_numpy(signal))[0]
    np.testing.assert_allclose(got, series, atol=1e-12)


def test_sides_are_halved_as_often_as_they_can_be() -> None:
    assert [levels(s) for s in ((16,), (48, 48), (28, 28), (12, 8), (5,))] == [4, 4, 2, 2, 0]


def test_repeated_pixels_are_sparse_in_haar() -> None:
    """Four of every sixteen coefficients at most, whatever the picture."""
    small = torch.rand(1, 8, 8, dtype=double, generator=torch.Generator().manual_seed(1))
    big = small.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1)
    assert (basis("haar", (16, 16)).coefficients(big).abs() > 1e-12).sum() == 64


def test_a_gaussian_operator_keeps_lengths_and_can_be_drawn_again() -> None:
    """[csdm] (compress)"""
    a = gaussian(200, 400, seed=3)
    assert torch.equal(a.matrix, gaussian(200, 400, seed=3).matrix)
    assert not torch.equal(a.matrix, gaussian(200, 400, seed=4).matrix)
    x = torch.randn(500, 400, dtype=double, generator=torch.Generator().manual_seed(2))
    ratio = a(x).square().sum(1) / x.square().sum(1)
    assert ratio.mean().item() == pytest.approx(1, abs=0.02)
    assert a.matrix.var().item() == pytest.approx(1 / 200, rel=0.02)


def test_cosine_rows_are_orthogonal_and_keep_lengths_on_average() -> None:
    a = subsampled_dct(10, 40, seed=1).matrix
    torch.testing.assert_close(a @ a.T, 4 * torch.eye(10, dtype=double))
    torch.testing.assert_close(cosines(40).T[:1], torch.full((1, 40), 40**-0.5, dtype=double))


def test_principal_components_are_the_best_projection() -> None:
    rs = np.random.RandomState(5)
    data = torch.from_numpy(rs.randn(300, 6) @ np.diag([9, 4, 2, 1, 0.5, 0.1]) @ rs.randn(6, 6) + 3)
    a = principal(data, 2)
    torch.testing.assert_close(a.matrix @ a.matrix.T, torch.eye(2, dtype=double))
    values = np.sort(np.linalg.eigvalsh(np.cov(data.numpy().T)))[::-1]
    shares = explained(data, 2)
    np.testing.assert_allclose(shares, values[:2] / values.sum(), rtol=1e-10)
    lost = (a(data) @ a.matrix + a.centre - data).square().sum(1).mean() * 300 / 299
    assert lost.item() == pytest.approx(values[2:].sum(), rel=1e-10)


def test_wrong_sizes_and_names_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="takes between 1 and 16 measurements, got m = 17"):
        gaussian(17, 16)
    with pytest.raises(ValueError, match="takes between 1 and 3 measurements, got m = 4"):
        Operator(torch.zeros(4, 3), torch.zeros(3))
    with pytest.raises(ValueError, match="at most 4 principal components"):
        principal(torch.randn(5, 8), 5)
    with pytest.raises(ValueError, match=r'unknown basis "bior1.3"; choose "pixel", "dct" or'):
        basis("bior1.3", (8, 8))
    with pytest.raises(ValueError, match="make the sides even"):
        basis("haar", (7, 8))
    with pytest.raises(ValueError, match=r"got .1, 2, 3, 4."):
        basis("dct", (1, 2, 3, 4))
