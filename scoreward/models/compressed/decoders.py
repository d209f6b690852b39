"""From measurements ŷ ≈ M z back to sparse coefficients z, for batches.

M = A Ψ is the operator seen in a basis. FISTA is the default: it is a few matrix products for the
whole batch at once and it can be differentiated. Basis pursuit and matching pursuit are references.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, inf

import torch
from jaxtyping import Float, Int
from torch import Tensor

Decoder = Callable[[Float[Tensor, "m d"], Float[Tensor, "batch m"]], Float[Tensor, "batch d"]]
"""(M, measurements) → coefficients."""

Box = tuple[float, float]
LIMIT = 200_000  # supports that an enumeration may try


@dataclass(frozen=True)
class Fista:
    """LASSO by FISTA, then a refit on the largest coefficients.  [csdm] (decode)

    λ is in units of the measurements times those of the matrix, as in ½‖Mz − y‖² + λ‖z‖₁.
    """

    penalty: float = 0.01  # λ; the published notebooks use 0.003 to 0.05 on pixels
    iterations: int = 500  # at most
    box: Box | None = None  # bounds of every coefficient, only where these are pixels
    keep: int | None = None  # coefficients that the refit keeps; None leaves the LASSO as it is
    tolerance: float = 1e-6  # stop when no coefficient moves by more than this in a step

    def __post_init__(self) -> None:
        if not self.penalty >= 0:
            raise ValueError(f"`penalty` must be 0 or more, got {self.penalty}")
        if self.iterations < 1:
            raise ValueError(f"`iterations` must be at least 1, got {self.iterations}")
        if self.keep is not None and self.keep < 1:
            raise ValueError(f"`keep` must be at least 1 or None, got {self.keep}")
        if self.box is not None and not self.box[0] <= 0 <= self.box[1]:
            raise ValueError(f"`box` must be (low, high) with low <= 0 <= high, got {self.box}")

    def __call__(
        self, matrix: Float[Tensor, "m d"], y: Float[Tensor, "batch m"]
    ) -> Float[Tensor, "batch d"]:
        z = fista(matrix, y, self.penalty, self.iterations, self.box, self.tolerance)
        if self.keep is None:
            return z
        z = refit(matrix, y, z, self.keep)
        return z if self.box is None else z.clamp(*self.box)


@dataclass(frozen=True)
class BasisPursuit:
    """min ‖z‖₁ subject to Mz = y and bounds, one linear program a sample.  [csdm] (decode)"""

    low: float | None = None
    high: float | None = None

    def __call__(
        self, matrix: Float[Tensor, "m d"], y: Float[Tensor, "batch m"]
    ) -> Float[Tensor, "batch d"]:
        _no_gradient("basis pursuit", y)
        return torch.stack([_pursued(matrix, row, self.low, self.high) for row in y])


@dataclass(frozen=True)
class MatchingPursuit:
    """OMP: take the atom closest to the residual, refit, and again, `keep` times."""

    keep: int

    def __call__(
        self, matrix: Float[Tensor, "m d"], y: Float[Tensor, "batch m"]
    ) -> Float[Tensor, "batch d"]:
        check_kept(self.keep, matrix)
        lengths = matrix.norm(dim=0).clamp(min=torch.finfo(matrix.dtype).tiny)
        chosen = torch.zeros(len(y), 0, dtype=torch.long, device=y.device)
        z = y.new_zeros(len(y), matrix.shape[1])
        for _ in range(self.keep):
            residual = y - z @ matrix.T
            match = (residual @ matrix).abs() / lengths
            match = match.scatter(1, chosen, -1)
            chosen = torch.cat([chosen, match.argmax(1, keepdim=True)], 1)
            z = on_support(matrix, y, chosen)
        return z


@dataclass(frozen=True)
class ExactSparse:
    """argmin ‖Mz − y‖ over all supports of `keep` coefficients, or over those given.

    By enumeration, so for small cases: at most 200,000 supports.  [csdm] (exact decoder)
    """

    keep: int
    supports: Sequence[Sequence[int]] | None = None

    def __call__(
        self, matrix: Float[Tensor, "m d"], y: Float[Tensor, "batch m"]
    ) -> Float[Tensor, "batch d"]:
        check_kept(self.keep, matrix)
        supports = self.supports
        if supports is None:
            count = comb(matrix.shape[1], self.keep)
            if count > LIMIT:
                raise ValueError(
                    f"{self.keep} of {matrix.shape[1]} coefficients are {count} supports; at most "
                    f"{LIMIT} are tried, so lower `keep` or use MatchingPursuit"
                )
            supports = list(combinations(range(matrix.shape[1]), self.keep))
        best = y.new_zeros(len(y), matrix.shape[1])
        lowest = y.new_full((len(y), 1), inf)
        for support in supports:
            index = torch.tensor(support, device=y.device).expand(len(y), -1)
            z = on_support(matrix, y, index)
            distance = (z @ matrix.T - y).norm(dim=1, keepdim=True)
            best = torch.where(distance < lowest, z, best)
            lowest = torch.minimum(lowest, distance)
        return best


@dataclass(frozen=True)
class LeastSquares:
    """The shortest z with Mz closest to y; what PCA needs, and nothing sparse about it."""

    def __call__(
        self, matrix: Float[Tensor, "m d"], y: Float[Tensor, "batch m"]
    ) -> Float[Tensor, "batch d"]:
        return y @ torch.linalg.pinv(matrix).T


def fista(
    matrix: Float[Tensor, "m d"],
    y: Float[Tensor, "batch m"],
    penalty: float,
    iterations: int,
    box: Box | None = None,
    tolerance: float = 0.0,
) -> Float[Tensor, "batch d"]:
    """min ½‖Mz − y‖² + λ‖z‖₁, z in the box, from z = 0.  [csdm] (FISTA)

    Clipping after the soft threshold is the exact proximal step of both terms together, because the
    box holds 0.
    """
    step = 1 / lipschitz(matrix)
    z = ahead = y.new_zeros(len(y), matrix.shape[1])
    t = 1.0
    for _ in range(iterations):
        slope = (ahead @ matrix.T - y) @ matrix
        new = soft(ahead - step * slope, step * penalty)
        if box is not None:
            new = new.clamp(*box)
        later = (1 + (1 + 4 * t * t) ** 0.5) / 2
        ahead = new + (t - 1) / later * (new - z)
        moved, z, t = (new - z).detach().abs().max() if tolerance else None, new, later
        if moved is not None and moved <= tolerance:
            break
    return z


def soft(u: Tensor, threshold: float | Tensor) -> Tensor:
    """sign(u) max(|u| − τ, 0), the proximal step of τ‖·‖₁.  [csdm] (FISTA)"""
    return u.sign() * (u.abs() - threshold).clamp(min=0)


def objective(
    matrix: Float[Tensor, "m d"], y: Float[Tensor, "batch m"], z: Tensor, penalty: float
) -> Float[Tensor, " batch"]:
    """½‖Mz − y‖² + λ‖z‖₁.  [csdm] (FISTA)"""
    return 0.5 * (z @ matrix.T - y).square().sum(1) + penalty * z.abs().sum(1)


@torch.no_grad()
def lipschitz(matrix: Float[Tensor, "m d"], safety: float = 1.1, iterations: int = 50) -> float:
    """‖M‖₂² from below by power iteration, times a safety factor.  [csdm] (FISTA)"""
    v = torch.ones(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    v = v + torch.linspace(0, 0.1, len(v), dtype=v.dtype, device=v.device)  # not orthogonal to all
    value = 0.0
    for _ in range(iterations):
        image = matrix.T @ (matrix @ (v / v.norm()))
        value, v = float(image.norm()), image
        if value == 0:
            raise ValueError(
                "the matrix is 0 (or sees nothing), so nothing can be recovered from it"
            )
    return safety * value


def refit(
    matrix: Float[Tensor, "m d"], y: Float[Tensor, "batch m"], z: Tensor, keep: int
) -> Float[Tensor, "batch d"]:
    """Least squares on the `keep` largest coefficients, which undoes shrinkage.  [csdm] (debias)"""
    check_kept(keep, matrix)
    return on_support(matrix, y, z.abs().topk(keep, 1).indices)


def on_support(
    matrix: Float[Tensor, "m d"], y: Float[Tensor, "batch m"], support: Int[Tensor, "batch s"]
) -> Float[Tensor, "batch d"]:
    """Least squares with all coefficients outside each row's support 0."""
    atoms = matrix.T[support]  # [batch, s, m]
    gram = atoms @ atoms.mT
    shift = 10 * torch.finfo(matrix.dtype).eps  # so that atoms seen alike are no error
    size = gram.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    gram = gram + shift * size * torch.eye(gram.shape[1], dtype=y.dtype, device=y.device)
    inside = torch.linalg.solve(gram, atoms @ y[..., None])[..., 0]
    return y.new_zeros(len(y), matrix.shape[1]).scatter(1, support, inside)


def check_kept(keep: int, matrix: Tensor) -> None:
    """Raise ValueError unless 1 ≤ s ≤ m: more coefficients than measurements are not determined."""
    if not 1 <= keep <= matrix.shape[0]:
        raise ValueError(
            f"`keep` must be between 1 and the {matrix.shape[0]} measurements, got {keep}"
        )


def _pursued(
    matrix: Float[Tensor, "m d"], y: Float[Tensor, " m"], low: float | None, high: float | None
) -> Float[Tensor, " d"]:
    """One linear program; z = z⁺ − z⁻ where signs are free."""
    import numpy as np
    from scipy.optimize import linprog

    equations, d = matrix.detach().double().cpu().numpy(), matrix.shape[1]
    below, above = (None if low is None else max(0.0, -low)), high
    bounds = [(0, above)] * d
    if below != 0:
        equations, bounds = np.hstack([equations, -equations]), bounds + [(0, below)] * d
    cost = np.ones(equations.shape[1])
    found = linprog(cost, A_eq=equations, b_eq=y.double().cpu().numpy(), bounds=bounds)
    if found.status != 0:
        raise ValueError(
            f"no coefficients within the bounds have these measurements ({found.message}); "
            "basis pursuit needs exact measurements, use Fista where there is noise"
        )
    z = found.x if below == 0 else found.x[:d] - found.x[d:]
    return torch.from_numpy(z).to(y)


def _no_gradient(name: str, y: Tensor) -> None:
    if y.requires_grad:
        raise ValueError(f"{name} has no gradient; use Fista for rewards that are differentiated")
