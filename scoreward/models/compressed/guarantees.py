"""How far recovered samples can be from data, given how far latent samples are from latents.

Distances are Wasserstein distances W_p in the units of the data. The bounds are ours, from standard
facts of compressed sensing and a coupling; the paper's own theorem is not what is written here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from math import comb, exp, log, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

LIMIT = 5_000_000  # Gram blocks that an exact constant may look at
AT_ONCE = 20_000


@dataclass(frozen=True)
class Isometry:
    """(1 − lower)‖z‖² ≤ ‖Mz‖² ≤ (1 + upper)‖z‖² for all z of some supports.  [csdm] (RIP)"""

    lower: float
    upper: float

    @property
    def delta(self) -> float:
        """The usual constant: the larger of the two sides."""
        return max(self.lower, self.upper)


def isometry(matrix: Float[Tensor, "m d"], k: int) -> Isometry:
    """The constants δ_k over all z with k nonzeros.  [csdm] (RIP)

    Exact, from the extreme eigenvalues of every k × k Gram block; refused above 5 million blocks.
    """
    d = matrix.shape[1]
    if not 1 <= k <= d:
        raise ValueError(f"k must be between 1 and the {d} columns, got {k}")
    if comb(d, k) > LIMIT:
        raise ValueError(
            f"{k} of {d} columns are {comb(d, k)} blocks and at most {LIMIT} are looked at; "
            "lower k, or give the supports that occur to `isometry_on`"
        )
    return isometry_on(matrix, combinations(range(d), k))


def isometry_on(matrix: Float[Tensor, "m d"], supports: Iterable[Sequence[int]]) -> Isometry:
    """The same over some supports only, for data whose supports are known.  [csdm] (RIP)"""
    gram, left, least, most = matrix.T @ matrix, iter(supports), float("inf"), 0.0
    while rows := list(islice(left, AT_ONCE)):
        for size in {len(row) for row in rows}:
            index = torch.tensor([row for row in rows if len(row) == size])
            values = torch.linalg.eigvalsh(gram[index[:, :, None], index[:, None, :]])
            least, most = min(least, float(values.min())), max(most, float(values.max()))
    return Isometry(1 - least, most - 1)


def exact_decoder_bound(delta: float, latent: float) -> float:
    """W_p ≤ 2 W_p(latent) / √(1 − δ_2s) for s-sparse data, any p ≥ 1.  [csdm] (exact decoder)

    Only the lower side of δ matters. Infinite if it is 1, where two sparse vectors look the same.
    """
    _check_distance(latent)
    return 2 * latent / sqrt(1 - delta) if delta < 1 else float("inf")


def lasso_constants(delta: float) -> tuple[float, float]:
    """C₀ and C₁ of ℓ₁ recovery with a known noise level; needs δ_2s < √2 − 1.  [csdm] (l1 bound)"""
    if not 0 <= delta < sqrt(2) - 1:
        raise ValueError(f"the constants need 0 <= delta_2s < 0.41421 (root 2 - 1), got {delta}")
    below = 1 - (1 + sqrt(2)) * delta
    return 2 * (1 + (sqrt(2) - 1) * delta) / below, 4 * sqrt(1 + delta) / below


def lasso_bound(delta: float, tail: float, s: int, noise: float) -> float:
    """W_p ≤ C₀ (E σ_s^p)^(1/p)/√s + C₁ η, if some coupling has ‖ŷ − Ax‖ ≤ η.  [csdm] (l1 bound)

    `tail` is the p-th mean of σ_s, see `tail_of`.
    """
    _check_distance(noise)
    first, second = lasso_constants(delta)
    return first * tail / sqrt(s) + second * noise


def basis_pursuit_bound(
    tail: float, s: int, latent: float, tail_factor: float, factor: float
) -> float:
    """W_p ≤ C (E σ_s^p)^(1/p)/√s + D W_p(latent).  [csdm] (basis pursuit bound)

    Holds for Gaussian matrices with constants that theory leaves open, so both are arguments; with
    Gaussian A of 40 × 100 and s = 5 we measured D of 1.3, at most 1.75.
    """
    _check_distance(latent)
    return tail_factor * tail / sqrt(s) + factor * latent


def tail_of(z: Float[Tensor, "batch d"], s: int) -> Float[Tensor, " batch"]:
    """σ_s(z)₁, the sum of all but the s largest magnitudes.  [csdm] (l1 bound)"""
    if not 0 <= s <= z.shape[1]:
        raise ValueError(f"s must be between 0 and the {z.shape[1]} coefficients, got {s}")
    return z.abs().sort(1, descending=True).values[:, s:].sum(1)


def stopping_bound(alpha: float, energy: float, m: int) -> float:
    """W₂ between latents and latents noised to α² + σ² = 1.  [csdm] (early stop)

    √((1 − α)² E‖y‖² + m (1 − α²)); `energy` is E‖y‖². Latents of sparse data lie on few subspaces
    and have no density, so a sampler must stop at noise, or end with one step onto E[y | y_t].
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha of a variance-preserving process is in [0, 1], got {alpha}")
    return sqrt((1 - alpha) ** 2 * energy + m * (1 - alpha**2))


def enough_rows(d: int, s: int, delta: float, failure: float, constant: float) -> float:
    """m ≥ C δ⁻² (s ln(ed/s) + ln(2/ε)) makes δ_2s ≤ δ with probability 1 − ε.  [csdm] (RIP)

    For Gaussian A; theory says that a constant C exists and not which, so it is an argument.
    """
    return constant / delta**2 * (s * log(exp(1) * d / s) + log(2 / failure))


def _check_distance(value: float) -> None:
    if not value >= 0:
        raise ValueError(f"a distance is not negative, got {value}")
