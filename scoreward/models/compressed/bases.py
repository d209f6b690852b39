"""Orthonormal bases x = Ψ z in which data may have few nonzero coefficients.

The basis decides whether recovery works at all: the same pictures can be dense in pixels and sparse
in wavelets, and the other way round.
"""

from dataclasses import dataclass
from functools import reduce
from math import prod

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.models.compressed.operators import cosines


@dataclass(frozen=True)
class Basis:
    """Ψ with its name; `shape` is (length,), (height, width) or (channels, height, width)."""

    name: str
    shape: tuple[int, ...]
    matrix: Float[Tensor, "d d"]  # columns are the atoms

    def coefficients(self, x: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """z = Ψᵀ x."""
        return x @ self.matrix.to(x)

    def values(self, z: Float[Tensor, "batch d"]) -> Float[Tensor, "batch d"]:
        """x = Ψ z."""
        return z @ self.matrix.to(z).T


def basis(name: str, shape: tuple[int, ...]) -> Basis:
    """A basis by name: "pixel", "dct", or an orthogonal wavelet as PyWavelets calls it ("haar").

    Channels, if there are any, take a cosine transform too (grey, and two differences of colours),
    except in the pixel basis. Raises ValueError for a shape the basis does not fit.
    """
    if not 1 <= len(shape) <= 3 or min(shape) < 1:
        raise ValueError(
            f"a basis is for shapes (length,), (height, width) or (channels, height, width), "
            f"got {shape}"
        )
    if name == "pixel":
        return Basis(name, shape, torch.eye(prod(shape), dtype=torch.float64))
    channels, space = shape[:-2] if len(shape) == 3 else (), shape[-2:]
    if name == "dct":
        matrix = reduce(torch.kron, map(cosines, space))
    else:
        matrix = _wavelets(name, space)
    if channels:
        matrix = torch.kron(cosines(channels[0]), matrix)
    return Basis(name, shape, matrix)


def levels(shape: tuple[int, ...]) -> int:
    """How often every side can be halved: the depth of the wavelets."""
    count = 0
    while all(side % 2 ** (count + 1) == 0 for side in shape):
        count += 1
    return count


def _wavelets(name: str, shape: tuple[int, ...]) -> Float[Tensor, "d d"]:
    """Transforms the unit vectors, periodic at the borders, as deep as the sides can be halved."""
    try:
        import pywt
    except ImportError as missing:
        raise ValueError(
            'wavelet bases need PyWavelets; install it with pip install "scoreward[compressed]"'
        ) from missing
    every = pywt.wavelist(kind="discrete")  # pyright: ignore[reportAttributeAccessIssue]
    known = (pywt.Wavelet(w) for w in every)  # pyright: ignore[reportAttributeAccessIssue]
    orthogonal = [wavelet.name for wavelet in known if wavelet.orthogonal]
    if name not in orthogonal:
        raise ValueError(
            f'unknown basis "{name}"; choose "pixel", "dct" or an orthogonal wavelet: '
            f"{', '.join(orthogonal)}"
        )
    depth, axes = levels(shape), tuple(range(1, 1 + len(shape)))
    if depth == 0:
        raise ValueError(
            f"wavelets halve every side, which {shape} does not allow; make the sides even or "
            'use "dct"'
        )
    units = torch.eye(prod(shape), dtype=torch.float64).reshape(-1, *shape).numpy()
    # a filter longer than the coarsest level wraps around, which keeps it orthogonal
    coefficients = units
    for level in range(depth):
        part = (slice(None), *(slice(side >> level) for side in shape))
        step = pywt.dwtn(coefficients[part], name, mode="periodization", axes=axes)
        coefficients[part] = _joined(step, len(shape))
    return torch.from_numpy(coefficients.reshape(len(units), -1).copy())


def _joined(parts: dict[str, np.ndarray], axes: int, letters: str = "") -> np.ndarray:
    """The parts of one level side by side: approximation first, along every axis."""
    if len(letters) == axes:
        return parts[letters]
    halves = [_joined(parts, axes, letters + letter) for letter in "ad"]
    return np.concatenate(halves, 1 + len(letters))
