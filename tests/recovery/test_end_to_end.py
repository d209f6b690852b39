"""Exact score, real sampler, real decoders: every error of the table, and the bound on it."""

from functools import cache

import pytest
import torch
from torch import Tensor

from scoreward.models.compressed.decoders import ExactSparse, fista, refit
from scoreward.models.compressed.dimension import statistical_dimension
from scoreward.models.compressed.guarantees import exact_decoder_bound
from tests.recovery.subspaces import NONZERO, D, delta, operator, rms, sampled, subspaces, upward
from tests.support.matrix import long

slow = pytest.mark.slow


@cache
def points() -> Tensor:
    return subspaces().points(300, 11)


@cache
def noise_of(m: int) -> Tensor:
    return upward(points(), operator(m), 200)


def test_the_data_are_the_printed_ones() -> None:
    first = subspaces().supports[:2].tolist()
    assert first == [[6, 50, 55, 60], [5, 14, 41, 63]]
    assert rms(points()) == pytest.approx(4.14, abs=5e-3)


@pytest.mark.parametrize(
    ("m", "steps", "latent", "lasso", "exact", "bound"),
    [
        (12, 20, 0.025, 3.58, 0.035, 0.330),
        pytest.param(20, 20, 0.290, 1.44, 0.367, 1.95, marks=(slow, pytest.mark.long)),
        long(24, 40, 0.023, 0.094, 0.027, 0.150),
        (32, 4, 1.128, 1.250, 1.254, 4.85),
        (32, 8, 0.640, 0.731, 0.732, 2.75),
        (32, 20, 0.033, 0.074, 0.034, 0.141),
        (32, 40, 0.021, 0.063, 0.024, 0.091),
        pytest.param(48, 40, 0.022, 0.055, 0.023, 0.076, marks=(slow, pytest.mark.long)),
    ],
)
def test_errors_of_a_compressed_sampler(
    m: int, steps: int, latent: float, lasso: float, exact: float, bound: float
) -> None:
    """[csdm] (pipeline) and [csdm] (exact decoder)"""
    x, a = points(), operator(m)
    y = sampled(noise_of(m), a, steps)
    far = rms(y - x @ a.T)
    z = fista(a, y, 0.02, 1000)
    supports = subspaces().supports.tolist()
    best = rms(ExactSparse(NONZERO, supports)(a, y) - x)
    assert far == pytest.approx(latent, rel=0.01, abs=1e-3)
    assert rms(z - x) == pytest.approx(lasso, rel=0.01, abs=1e-3)
    assert best == pytest.approx(exact, rel=0.01, abs=1e-3)
    limit = exact_decoder_bound(delta(a), far)
    assert limit == pytest.approx(bound, rel=0.01, abs=1e-3)
    assert best <= limit
    if m < statistical_dimension(NONZERO, D).dimension:
        assert rms(z - x) > 1.3
    elif m >= 24:
        assert rms(refit(a, y, z, NONZERO) - x) == pytest.approx(best, rel=1e-3)  # [csdm] (debias)


@slow
def test_the_same_sampler_without_compression() -> None:
    """With 4 steps single points go astray, by how much depends on the last digit of the start."""
    x, eye = points(), torch.eye(D, dtype=torch.float64)
    start = upward(x, eye, 200)
    assert rms(sampled(start, eye, 40) - x) == pytest.approx(0.287, abs=2e-3)
    assert 0.6 < rms(sampled(start, eye, 4) - x) < 2
