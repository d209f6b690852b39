"""Bounds and constants of recovery."""

import math

import numpy as np
import pytest
import torch

from scoreward.models.compressed.decoders import BasisPursuit, ExactSparse
from scoreward.models.compressed.guarantees import (
    basis_pursuit_bound,
    enough_rows,
    exact_decoder_bound,
    isometry,
    isometry_on,
    lasso_bound,
    lasso_constants,
    stopping_bound,
    tail_of,
)


@pytest.mark.parametrize(("m", "delta"), [(64, 1.0314), (128, 0.6414), (256, 0.4507)])
def test_exact_constants_of_pairs(m: int, delta: float) -> None:
    """[csdm] (RIP)"""
    matrix = torch.from_numpy(np.random.RandomState(1).randn(m, 512) / m**0.5)
    assert isometry(matrix, 2).delta == pytest.approx(delta, abs=5e-5)


def test_both_sides_hold_for_random_sparse_vectors_and_are_reached() -> None:
    """[csdm] (RIP)"""
    rs = np.random.RandomState(2)
    matrix = torch.from_numpy(rs.randn(12, 16) / 12**0.5)
    constants, ratios = isometry(matrix, 3), []
    for _ in range(2000):
        z = torch.zeros(16, dtype=torch.float64)
        z[torch.from_numpy(rs.permutation(16)[:3])] = torch.from_numpy(rs.randn(3))
        ratios.append(((matrix @ z).square().sum() / z.square().sum()).item())
    assert 1 - constants.lower - 1e-12 <= min(ratios)
    assert max(ratios) <= 1 + constants.upper + 1e-12
    assert max(ratios) > 1 + 0.7 * constants.upper
    few = isometry_on(matrix, [(0, 1, 2), (4, 5)])
    assert few.lower <= constants.lower
    assert few.upper <= constants.upper


@pytest.mark.parametrize(
    ("delta", "first", "second"),
    [
        (0, 2, 4),
        (0.1, 2.7457, 5.5304),
        (0.2, 4.1877, 8.4728),
        (0.3, 8.1546, 16.5401),
        (0.4, 67.94, 137.93),
    ],
)
def test_constants_of_the_l1_bound(delta: float, first: float, second: float) -> None:
    """[csdm] (l1 bound)"""
    got = lasso_constants(delta)
    digits = 5e-3 if delta == 0.4 else 5e-5
    assert got == (pytest.approx(first, abs=digits), pytest.approx(second, abs=digits))


def test_the_exact_decoder_keeps_its_bound() -> None:
    """Every coupling gives a bound, so the pairs (x, x̂) must keep it.  [csdm] (exact decoder)"""
    rs = np.random.RandomState(3)
    matrix = torch.from_numpy(rs.randn(9, 14) / 3)
    delta = isometry(matrix, 4).lower
    x = torch.zeros(200, 14, dtype=torch.float64)
    for row in x:
        row[torch.from_numpy(rs.permutation(14)[:2])] = torch.from_numpy(rs.randn(2))
    off = 0.3 * torch.from_numpy(rs.randn(200, 9))
    found = ExactSparse(2)(matrix, x @ matrix.T + off)
    moved, latent = (v.square().sum(1).mean().sqrt().item() for v in (found - x, off))
    assert latent < moved <= exact_decoder_bound(delta, latent)
    assert exact_decoder_bound(1.0, 0.1) == math.inf
    assert exact_decoder_bound(0.75, 0.5) == pytest.approx(2.0)


def test_bounds_add_the_tail_and_the_noise() -> None:
    """[csdm] (l1 bound) and [csdm] (basis pursuit bound)"""
    z = torch.tensor([[3.0, -1.0, 0.5, 0.0], [1.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(tail_of(z, 2), torch.tensor([0.5, 2.0], dtype=torch.float64))
    assert lasso_bound(0.0, tail=3.0, s=4, noise=0.5) == pytest.approx(2 * 1.5 + 4 * 0.5)
    assert basis_pursuit_bound(3.0, 4, 0.5, tail_factor=5, factor=1.3) == pytest.approx(8.15)


def test_basis_pursuit_keeps_the_l1_bound_on_compressible_vectors() -> None:
    """Noiseless, so only the tail counts.  [csdm] (l1 bound)"""
    rs = np.random.RandomState(6)
    matrix = torch.from_numpy(rs.randn(60, 64) / 60**0.5)
    # orthonormal rows of nearly square matrices have a small constant
    matrix = torch.linalg.qr(matrix.T).Q.T * (64 / 60) ** 0.5
    delta = isometry(matrix, 2).delta
    z = torch.from_numpy(rs.randn(20, 64) * 0.01)
    z[:, 5] = 2.0
    error = (BasisPursuit()(matrix, z @ matrix.T) - z).norm(dim=1)
    assert delta < 0.3
    for row, tail in zip(error, tail_of(z, 1)):
        assert row.item() <= lasso_bound(delta, tail.item(), 1, 0.0)


def test_stopping_early_costs_at_most_its_bound() -> None:
    """Of one point, the distance to its noised law is known exactly.  [csdm] (early stop)"""
    m, alpha, energy = 5, 0.9, 7.0
    exact = math.sqrt((1 - alpha) ** 2 * energy + m * (1 - alpha**2))
    assert stopping_bound(alpha, energy, m) == pytest.approx(exact)
    assert stopping_bound(1.0, energy, m) == 0


def test_more_rows_for_a_smaller_constant() -> None:
    """[csdm] (RIP)"""
    few = enough_rows(1000, 10, 0.5, 0.01, constant=1.0)
    assert few == pytest.approx(4 * (10 * math.log(math.e * 100) + math.log(200)))
    assert enough_rows(1000, 10, 0.25, 0.01, constant=1.0) == pytest.approx(4 * few)


def test_wrong_numbers_are_refused_in_a_sentence() -> None:
    matrix = torch.eye(50, dtype=torch.float64)
    with pytest.raises(ValueError, match="at most 5000000 are looked at"):
        isometry(matrix, 8)
    with pytest.raises(ValueError, match="k must be between 1 and the 50 columns, got 0"):
        isometry(matrix, 0)
    with pytest.raises(ValueError, match=r"delta_2s < 0\.41421"):
        lasso_constants(0.42)
    with pytest.raises(ValueError, match="a distance is not negative, got -1"):
        exact_decoder_bound(0.1, -1)
    with pytest.raises(ValueError, match=r"is in \[0, 1\], got 1.2"):
        stopping_bound(1.2, 1.0, 3)
    with pytest.raises(ValueError, match="s must be between 0 and the 50 coefficients"):
        tail_of(matrix, 51)
