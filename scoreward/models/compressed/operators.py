"""What is measured of data: y = A (x − c), with A of fewer rows than columns, drawn once and kept.

The matrix is the whole operator. It must be stored with whatever was trained on its y: another
draw of A means nothing to that network.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.keys import Key


@dataclass(frozen=True)
class Operator:
    """A linear map from d values to m measurements.  [csdm] (compress)"""

    matrix: Float[Tensor, "m d"]
    centre: Float[Tensor, " d"]  # subtracted before measuring; 0 for a random A

    def __post_init__(self) -> None:
        check_rows(*self.matrix.shape)

    @property
    def rows(self) -> int:
        """m, how many numbers are measured."""
        return self.matrix.shape[0]

    @property
    def columns(self) -> int:
        """d, how many numbers there were."""
        return self.matrix.shape[1]

    def __call__(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch m"]:
        return (x - self.centre.to(x)) @ self.matrix.to(x).T


def gaussian(m: int, d: int, seed: int = 0) -> Operator:
    """A_ij ~ N(0, 1/m), which keeps lengths on average.  [csdm] (compress)"""
    check_rows(m, d)
    draw = Key(("recovery", "gaussian", seed)).normal(m, d, dtype=torch.float64)
    return Operator(draw / m**0.5, torch.zeros(d, dtype=torch.float64))


def subsampled_dct(m: int, d: int, seed: int = 0) -> Operator:
    """m random rows of the orthonormal cosine transform, times √(d/m)."""
    check_rows(m, d)
    rows = Key(("recovery", "dct", seed)).permutation(d)[:m].sort().values
    return Operator(cosines(d).T[rows] * (d / m) ** 0.5, torch.zeros(d, dtype=torch.float64))


def principal(data: Float[Tensor, "n d"], m: int) -> Operator:
    """The m leading principal components of data; its best linear compression on average.

    Raises ValueError if there are fewer than m + 1 samples, whose components are not determined.
    """
    check_rows(m, data.shape[1])
    if len(data) <= m:
        raise ValueError(
            f"{len(data)} samples have at most {max(0, len(data) - 1)} principal components; "
            f"expected m below that, got {m}"
        )
    centre = data.double().mean(0)
    axes = torch.linalg.svd(data.double() - centre, full_matrices=False).Vh[:m]
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))  # fixes the sign
    return Operator(axes * largest.sign(), centre)


def explained(data: Float[Tensor, "n d"], m: int) -> Float[Tensor, " m"]:
    """Share of the variance that each of the m leading components has."""
    spread = torch.linalg.svdvals(data.double() - data.double().mean(0)) ** 2
    return (spread / spread.sum())[:m]


def cosines(n: int) -> Float[Tensor, "n n"]:
    """The orthonormal cosine basis of n points; columns are the waves, slowest first."""
    place = torch.arange(n, dtype=torch.float64)
    waves = torch.cos(torch.pi * (place[:, None] + 0.5) * place / n) * (2 / n) ** 0.5
    waves[:, 0] /= 2**0.5
    return waves


def check_rows(m: int, d: int) -> None:
    """Raise ValueError unless 1 ≤ m ≤ d."""
    if not 1 <= m <= d:
        raise ValueError(
            f"a compression of {d} values takes between 1 and {d} measurements, got m = {m}"
        )
