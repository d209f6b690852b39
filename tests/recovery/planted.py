"""A sparse vector and what a Gaussian matrix sees of it, from numpy's frozen streams."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Planted:
    matrix: Tensor
    x: Tensor  # [1, d]
    y: Tensor  # [1, m]
    support: list[int]


def planted() -> Planted:
    """40 measurements of 100 coefficients, five of them not 0."""
    rs = np.random.RandomState(0)
    matrix = rs.randn(40, 100) / 40**0.5
    support, x = rs.permutation(100)[:5], np.zeros(100)
    x[support] = rs.randn(5)
    a, x = torch.from_numpy(matrix), torch.from_numpy(x)[None]
    return Planted(a, x, x @ a.T, sorted(support.tolist()))
