"""What a stress test reads off returns: quantiles of sums, and portfolios that only buy."""

import torch
from jaxtyping import Float
from torch import Tensor


def summed(returns: Float[Tensor, "time assets"], periods: int) -> Float[Tensor, "windows assets"]:
    """Sums over every window of `periods` rows; overlapping, one a row from the first on."""
    if not 1 <= periods <= len(returns):
        raise ValueError(f"`periods` must be between 1 and the {len(returns)} rows, got {periods}")
    return returns.unfold(0, periods, 1).sum(-1)


def minimum_variance(covariance: Float[Tensor, "n n"]) -> Float[Tensor, " n"]:
    """argmin wᵀΣw, w ≥ 0, Σ w = 1, exactly.

    The conditions are those of min ½uᵀΣu − 1ᵀu over u ≥ 0, scaled, and that is nonnegative least
    squares ‖Lᵀu − L⁻¹1‖ with Σ = L Lᵀ.
    """
    from scipy.optimize import nnls

    root = _root(covariance)
    one = torch.ones(len(root), 1, dtype=root.dtype)
    target = torch.linalg.solve_triangular(root, one, upper=False)[:, 0]
    u = torch.from_numpy(nnls(root.T.numpy(), target.numpy())[0])
    return u / u.sum()


def risk_parity(
    covariance: Float[Tensor, "n n"], tolerance: float = 1e-13, sweeps: int = 10_000
) -> Float[Tensor, " n"]:
    """w > 0 of sum 1 whose n risk contributions w_i (Σw)_i are equal.

    Coordinate descent on ½wᵀΣw − Σ log w_i, whose minimum is unique.
    """
    _root(covariance)
    sigma = covariance.double()
    w = 1 / sigma.diagonal().sqrt()
    for _ in range(sweeps):
        before = w.clone()
        for i, variance in enumerate(sigma.diagonal()):
            others = sigma[i] @ w - variance * w[i]
            w[i] = ((others**2 + 4 * variance).sqrt() - others) / (2 * variance)
        if (w - before).abs().max() <= tolerance * w.abs().max():
            break
    return w / w.sum()


def _root(covariance: Float[Tensor, "n n"]) -> Float[Tensor, "n n"]:
    root, failed = torch.linalg.cholesky_ex(covariance.double())
    if int(failed):
        raise ValueError(
            "the covariance is not positive definite; give more rows of returns than assets, or "
            "add a little to its diagonal"
        )
    return root
