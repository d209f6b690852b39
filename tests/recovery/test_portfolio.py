"""Portfolios against a quadratic programme of scipy, their own conditions, and known cases."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from scoreward.models.compressed.portfolio import minimum_variance, risk_parity, summed

double = torch.float64


def covariance(n: int, seed: int) -> torch.Tensor:
    """One common factor, so that some weights are 0 at the optimum."""
    rs = np.random.RandomState(seed)
    load = 0.3 + rs.rand(n, 1)
    return torch.from_numpy(load @ load.T + np.diag(0.1 + rs.rand(n)))


@pytest.mark.parametrize("seed", range(4))
def test_minimum_variance_is_the_quadratic_programme(seed: int) -> None:
    sigma = covariance(10, seed)
    w = minimum_variance(sigma)
    s = sigma.numpy()
    found = minimize(
        lambda v: v @ s @ v,
        np.full(10, 0.1),
        jac=lambda v: 2 * s @ v,
        bounds=[(0, 1)] * 10,
        constraints={"type": "eq", "fun": lambda v: v.sum() - 1},
        options={"ftol": 1e-15, "maxiter": 1000},
    )
    np.testing.assert_allclose(w, found.x, atol=2e-6)
    assert w.min() >= 0
    assert w.sum().item() == pytest.approx(1)
    assert (w == 0).any()
    slope = sigma @ w  # the same for all that are held, larger for the others
    torch.testing.assert_close(slope[w > 0], slope[w > 0].mean().expand(int((w > 0).sum())))
    assert slope[w == 0].min() >= slope[w > 0].mean()


@pytest.mark.parametrize("seed", range(3))
def test_risk_parity_gives_equal_risks(seed: int) -> None:
    sigma = covariance(8, seed)
    w = risk_parity(sigma)
    share = w * (sigma @ w) / (w @ sigma @ w)
    torch.testing.assert_close(share, torch.full((8,), 1 / 8, dtype=double))
    assert w.sum().item() == pytest.approx(1)


def test_independent_assets_have_closed_forms() -> None:
    variance = torch.tensor([1.0, 4.0, 0.25], dtype=double)
    least, equal = minimum_variance(variance.diag()), risk_parity(variance.diag())
    torch.testing.assert_close(least, (1 / variance) / (1 / variance).sum())
    torch.testing.assert_close(equal, variance**-0.5 / (variance**-0.5).sum())


def test_windows_are_summed_from_the_first_row_on() -> None:
    returns = torch.arange(8, dtype=double).reshape(4, 2)
    expected = torch.tensor([[2.0, 4.0], [6.0, 8.0], [10.0, 12.0]], dtype=double)
    torch.testing.assert_close(summed(returns, 2), expected)


def test_wrong_input_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="between 1 and the 4 rows, got 5"):
        summed(torch.zeros(4, 2), 5)
    with pytest.raises(ValueError, match="not positive definite"):
        minimum_variance(torch.ones(2, 2))
    with pytest.raises(ValueError, match="not positive definite"):
        risk_parity(torch.ones(2, 2))
