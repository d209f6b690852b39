"""Decoders against small problems with known answers, printed numbers and each other."""

import numpy as np
import pytest
import torch

from scoreward.models.compressed.decoders import (
    BasisPursuit,
    ExactSparse,
    Fista,
    LeastSquares,
    MatchingPursuit,
    fista,
    lipschitz,
    objective,
    refit,
    soft,
)
from tests.recovery.planted import planted

double = torch.float64


def test_three_coefficients_by_hand() -> None:
    """The third atom alone explains both measurements.  [csdm] (FISTA)"""
    matrix = torch.tensor([[1.0, 0.0, 0.6], [0.0, 1.0, 0.6]], dtype=double)
    y = torch.ones(1, 2, dtype=double)
    z = fista(matrix, y, 0.12, 1000)
    torch.testing.assert_close(z, torch.tensor([[0.0, 0.0, 1.5]], dtype=double))
    assert objective(matrix, y, z, 0.12).item() == pytest.approx(0.19, abs=1e-12)
    assert lipschitz(matrix, safety=1) == pytest.approx(1.72, abs=1e-12)


def test_the_planted_problem_is_the_printed_one() -> None:
    case = planted()
    assert case.support == [14, 30, 46, 73, 77]
    values = [0.532054, -0.614738, 1.580096, -0.220070, -1.418593]
    np.testing.assert_allclose(case.x[0, case.support], values, atol=5e-7)
    assert case.y.norm().item() == pytest.approx(2.481266842990, abs=1e-12)
    assert lipschitz(case.matrix, safety=1, iterations=500) == pytest.approx(6.055230361774)
    first = [0.27892117, 0.06327041, 0.15475206]
    np.testing.assert_allclose(case.matrix[0, :3], first, atol=5e-9)


@pytest.mark.parametrize(
    ("penalty", "value", "error", "ratio"),
    [
        (0.1, 0.4168396862, 0.17960884, 0.28),
        (0.01, 0.0434583551, 0.01796088, 0.40),
        (0.001, 0.0043635794, 0.00179609, 0.47),
    ],
)
def test_the_lasso_and_its_rate(penalty: float, value: float, error: float, ratio: float) -> None:
    """Optimum and error as printed, and 2L‖z*‖²/(k + 1)² holds at every k.  [csdm] (FISTA)"""
    case = planted()
    z = fista(case.matrix, case.y, penalty, 4000)
    assert objective(case.matrix, case.y, z, penalty).item() == pytest.approx(value, abs=6e-11)
    assert (z - case.x).norm().item() == pytest.approx(error, abs=6e-9)
    assert z[0].nonzero()[:, 0].tolist() == case.support
    bound = 2 * lipschitz(case.matrix) * z.square().sum().item()
    shares = []
    for k in range(1, 240, 3):
        early = fista(case.matrix, case.y, penalty, k)
        gap = objective(case.matrix, case.y, early, penalty).item() - value
        shares.append(gap * (k + 1) ** 2 / bound)
    assert ratio - 0.05 < max(shares) < 1, shares


def test_the_refit_removes_the_shrinkage() -> None:
    """[csdm] (debias)"""
    case = planted()
    z = fista(case.matrix, case.y, 0.1, 1000)
    assert (z - case.x).norm() > 0.1
    assert (refit(case.matrix, case.y, z, 5) - case.x).norm() < 1e-12
    kept = Fista(0.1, 1000, keep=5)(case.matrix, case.y)
    assert (kept - case.x).norm() < 1e-12


def test_basis_pursuit_and_matching_pursuit_find_it_exactly() -> None:
    """[csdm] (decode)"""
    case = planted()
    assert (BasisPursuit()(case.matrix, case.y) - case.x).norm() < 1e-12
    assert (MatchingPursuit(5)(case.matrix, case.y) - case.x).norm() < 1e-12


def test_matching_pursuit_takes_directions_not_lengths_and_no_atom_twice() -> None:
    matrix = torch.tensor([[1.0, 1.7, 0.0], [0.0, 9.8, 1.0]], dtype=double)
    y = torch.tensor([[1.0, 0.0]], dtype=double)
    expected = torch.tensor([[1.0, 0.0, 0.0]], dtype=double)
    for keep in (1, 2):  # with two, nothing is left for the second
        torch.testing.assert_close(MatchingPursuit(keep)(matrix, y), expected)


@pytest.mark.parametrize("size", [0.01, 0.05, 0.1])
def test_basis_pursuit_amplifies_noise_as_measured(size: float) -> None:
    """[csdm] (basis pursuit bound)"""
    case = planted()
    noise = torch.from_numpy(np.random.RandomState(1).randn(60, 40))
    noise = size * noise / noise.norm(dim=1, keepdim=True)
    error = (BasisPursuit()(case.matrix, case.y + noise) - case.x).norm(dim=1) / size
    assert error.mean().item() == pytest.approx(1.285, abs=0.06)
    assert error.max().item() <= 1.75


def test_every_support_is_tried() -> None:
    """[csdm] (exact decoder)"""
    rs = np.random.RandomState(4)
    matrix = torch.from_numpy(rs.randn(6, 12))
    x = torch.zeros(3, 12, dtype=double)
    for row, support in enumerate([(0, 11), (3, 4), (7, 9)]):
        x[row, list(support)] = torch.from_numpy(rs.randn(2))
    y = x @ matrix.T
    assert (ExactSparse(2)(matrix, y) - x).norm() < 1e-10
    assert (ExactSparse(2, [(3, 4), (0, 1)])(matrix, y) - x)[1].norm() < 1e-10


def test_the_batch_is_solved_row_by_row() -> None:
    case = planted()
    rows = torch.cat([case.y, -2 * case.y, case.y.flip(1)])
    for decoder in (Fista(0.01, 300, tolerance=0), MatchingPursuit(5), BasisPursuit()):
        together = decoder(case.matrix, rows)
        apart = torch.cat([decoder(case.matrix, row[None]) for row in rows])
        torch.testing.assert_close(together, apart, atol=1e-9, rtol=0)


def test_the_box_is_the_exact_proximal_step() -> None:
    """argmin ½(z − u)² + τ|z| over [−0.2, 0.5], by trying a fine grid.  [csdm] (FISTA)"""
    u = torch.linspace(-2, 2, 41, dtype=double)
    grid = torch.linspace(-0.2, 0.5, 70_001, dtype=double)
    cost = 0.5 * (grid - u[:, None]) ** 2 + 0.3 * grid.abs()
    best = grid[cost.argmin(1)]
    torch.testing.assert_close(soft(u, 0.3).clamp(-0.2, 0.5), best, atol=2e-5, rtol=0)


def test_a_box_is_kept_and_helps() -> None:
    rs = np.random.RandomState(2)
    x = torch.zeros(1, 60, dtype=double)
    x[0, rs.permutation(60)[:20]] = 1.0
    matrix = torch.from_numpy(rs.randn(30, 60) / 30**0.5)
    y = x @ matrix.T
    boxed = fista(matrix, y, 1e-3, 4000, (0.0, 1.0))
    assert boxed.min() >= 0
    assert boxed.max() <= 1
    assert (boxed - x).norm() < 0.05
    assert (fista(matrix, y, 1e-3, 1000) - x).norm() > 2


def test_gradients_pass_through_fista() -> None:
    case = planted()
    y = case.y.clone().requires_grad_()
    weight = torch.from_numpy(np.random.RandomState(3).randn(100))
    (slope,) = torch.autograd.grad(
        (Fista(0.05, 400, tolerance=0)(case.matrix, y) @ weight).sum(), y
    )
    step = torch.zeros_like(case.y)
    step[0, 7] = 1e-5
    up, down = (
        Fista(0.05, 400, tolerance=0)(case.matrix, case.y + s * step) @ weight for s in (1, -1)
    )
    assert slope[0, 7].item() == pytest.approx((up - down).item() / 2e-5, rel=1e-5)


def test_least_squares_is_the_shortest_solution() -> None:
    case = planted()
    z = LeastSquares()(case.matrix, case.y)
    expected = np.linalg.lstsq(case.matrix.numpy(), case.y[0].numpy(), rcond=None)[0]
    np.testing.assert_allclose(z[0], expected, atol=1e-12)


def test_it_stops_once_nothing_moves() -> None:
    case = planted()
    full = Fista(0.05, 5000, tolerance=0)(case.matrix, case.y)
    early = Fista(0.05, 5000, tolerance=1e-7)(case.matrix, case.y)
    assert not torch.equal(full, early)
    torch.testing.assert_close(full, early, atol=1e-5, rtol=0)


def test_wrong_settings_are_refused_in_a_sentence() -> None:
    case = planted()
    with pytest.raises(ValueError, match="`penalty` must be 0 or more, got -1"):
        Fista(-1)
    with pytest.raises(ValueError, match=r"`box` must be .low, high. with low <= 0 <= high"):
        Fista(box=(0.5, 1))
    with pytest.raises(ValueError, match="`iterations` must be at least 1"):
        Fista(iterations=0)
    with pytest.raises(ValueError, match="`keep` must be at least 1 or None"):
        Fista(keep=0)
    with pytest.raises(ValueError, match="between 1 and the 40 measurements, got 41"):
        MatchingPursuit(41)(case.matrix, case.y)
    with pytest.raises(ValueError, match="at most 200000 are tried"):
        ExactSparse(5)(case.matrix, case.y)
    with pytest.raises(ValueError, match="basis pursuit needs exact measurements"):
        BasisPursuit(low=0.0, high=0.1)(case.matrix, case.y)
    with pytest.raises(ValueError, match="basis pursuit has no gradient"):
        BasisPursuit()(case.matrix, case.y.clone().requires_grad_())
    with pytest.raises(ValueError, match="nothing can be recovered"):
        lipschitz(torch.zeros(2, 3, dtype=double))
