"""Where recovery begins to work, and the rules for m."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from scoreward.models.compressed.decoders import BasisPursuit, fista
from scoreward.models.compressed.dimension import (
    amplification,
    average_case_rows,
    box_dimension,
    compressed_cost,
    nonnegative_dimension,
    recommended_rows,
    statistical_dimension,
    worst_case_rows,
)
from tests.support.matrix import long


@pytest.mark.parametrize(
    ("s", "d", "expected"), [(5, 100, 20.3900), (8, 200, 34.7569), (4, 64, 15.2692)]
)
def test_statistical_dimensions(s: int, d: int, expected: float) -> None:
    """[csdm] (threshold)"""
    assert statistical_dimension(s, d).dimension == pytest.approx(expected, abs=5e-5)


def test_its_place_and_its_kinds() -> None:
    """[csdm] (threshold)"""
    assert statistical_dimension(5, 100).tau == pytest.approx(1.3984, abs=5e-5)
    assert box_dimension(10, 10, 100).dimension == pytest.approx(39.31, abs=5e-3)
    assert nonnegative_dimension(20, 100).dimension == pytest.approx(40.99, abs=5e-3)
    assert statistical_dimension(20, 100).dimension == pytest.approx(51.11, abs=5e-3)


@pytest.mark.parametrize(
    ("d", "share", "plain", "positive", "box"),
    [
        (2304, 0.15, 986, 791, 768),
        (2304, 0.20, 1178, 944, 906),
        (2304, 0.25, 1343, 1080, 1022),
        (1600, 0.15, 685, 549, 533),
        (1600, 0.20, 818, 656, 629),
        (1600, 0.25, 933, 750, 710),
        (1600, 0.30, 1033, 834, 779),
    ],
)
def test_thresholds_of_the_published_settings(
    d: int, share: float, plain: int, positive: int, box: int
) -> None:
    """[csdm] (threshold)"""
    s = share * d
    assert round(statistical_dimension(s, d).dimension) == plain
    assert round(nonnegative_dimension(s, d).dimension) == positive
    assert round(box_dimension(s / 2, s / 2, d).dimension) == box


def test_the_dimension_is_the_mean_squared_distance_to_a_cone() -> None:
    """D = E min_τ dist²(g, τ ∂‖z‖₁), here by sampling g; the formula swaps E and min."""
    rs, s, d = np.random.RandomState(7), 5, 100
    taus = np.linspace(0, 4, 81)
    g = rs.randn(4000, d)
    on = [((g[:, :s] - tau) ** 2).sum(1) for tau in taus]
    off = [(np.maximum(np.abs(g[:, s:]) - tau, 0) ** 2).sum(1) for tau in taus]
    distance = (np.stack(on) + np.stack(off)).min(0).mean()
    assert distance == pytest.approx(statistical_dimension(s, d).dimension, rel=0.03)


@pytest.mark.parametrize(("m", "rate"), [(15, 0.13), (20, 0.50), (24, 0.85), (30, 1.00)])
def test_basis_pursuit_succeeds_from_the_threshold_on(m: int, rate: float) -> None:
    """60 trials have a standard error of at most 0.065.  [csdm] (threshold)"""
    rs, won = np.random.RandomState(100 + m), 0
    for _ in range(60):
        matrix, x = torch.from_numpy(rs.randn(m, 100) / m**0.5), np.zeros(100)
        x[rs.permutation(100)[:5]] = rs.randn(5)
        x = torch.from_numpy(x)[None]
        won += bool((BasisPursuit()(matrix, x @ matrix.T) - x).norm() < 1e-5)
    assert won / 60 == pytest.approx(rate, abs=0.18)


def test_bounds_lower_the_threshold() -> None:
    """At 38 of 100 measurements, half of all problems with a box and few without."""
    rs, won = np.random.RandomState(9), np.zeros(3)
    for _ in range(40):
        matrix, x = torch.from_numpy(rs.randn(38, 100) / 38**0.5), np.zeros(100)
        place = rs.permutation(100)
        x[place[:10]], x[place[10:20]] = rs.rand(10), 1.0
        x = torch.from_numpy(x)[None]
        decoders = (BasisPursuit(0.0, 1.0), BasisPursuit(0.0), BasisPursuit())
        won += [float((d(matrix, x @ matrix.T) - x).norm() < 1e-5) for d in decoders]
    box, positive, plain = won / 40
    assert box == pytest.approx(0.57, abs=0.25)
    assert positive == pytest.approx(0.50, abs=0.25)
    assert plain < 0.1


@pytest.mark.parametrize(
    ("a", "place", "least"), [(0.5, 4, 4), (1, 2.25, 6.75), (2, 1.5625, 12.2070)]
)
def test_the_worst_case_rule_is_the_minimum(a: float, place: float, least: float) -> None:
    """[csdm] (worst case)"""
    best, value = worst_case_rows(1.0, a)
    assert best == pytest.approx(place)
    assert value == pytest.approx(least, abs=5e-5)
    found = minimize_scalar(
        lambda m: m**a / (1 - math.sqrt(1 / m)), bounds=(1.01, 20), method="bounded"
    )
    assert found.x == pytest.approx(best, rel=1e-3)
    assert found.fun == pytest.approx(value, rel=1e-9)
    assert worst_case_rows(3.0, a)[1] == pytest.approx(value * 3**a)


@pytest.mark.parametrize(("a", "place"), [(0.5, 3.0), (1, 2.0), (2, 1.5)])
def test_the_average_case_rule_is_the_minimum(a: float, place: float) -> None:
    """[csdm] (average case)"""
    assert average_case_rows(1.0, a) == pytest.approx(place)
    found = minimize_scalar(
        lambda m: m**a * amplification(m, 10.0), bounds=(10.01, 200), method="bounded"
    )
    assert found.x == pytest.approx(average_case_rows(10.0, a), rel=1e-3)
    assert recommended_rows(5, 100, a) == round(20.39 * place)
    assert recommended_rows(40, 100, a) == 100


LONG = [long(100, 78.4, 77.7), long(140, 59.1, 63.6), long(200, 66.3, 56.0)]


@pytest.mark.parametrize(
    ("m", "measured", "predicted"),
    [(60, 225, 161), (80, 93.9, 96.5), *LONG],
)
def test_the_lasso_amplifies_noise_about_as_predicted(
    m: int, measured: float, predicted: float
) -> None:
    """Best λ of a grid, noise of std 0.01, 12 trials.  [csdm] (amplification)"""
    size = statistical_dimension(10, 256).dimension
    assert size == pytest.approx(43.73, abs=5e-3)
    assert amplification(m, size) == pytest.approx(predicted, rel=4e-3)
    rs, sums = np.random.RandomState(m), np.zeros(3)
    level = 1e-2
    for _ in range(12):
        matrix = torch.from_numpy(rs.randn(m, 256) / m**0.5)
        x = np.zeros(256)
        x[rs.permutation(256)[:10]] = np.sign(rs.randn(10)) * (1 + rs.rand(10))
        x = torch.from_numpy(x)[None]
        y = x @ matrix.T + level * torch.from_numpy(rs.randn(1, m))
        for i, factor in enumerate((0.9, 1.4, 2.2)):
            z = fista(matrix, y, factor * level, 400, tolerance=1e-7)
            sums[i] += (z - x).square().sum().item()
    best = sums.min() / 12 / level**2
    assert 0.55 * measured < best < 1.8 * measured, best


def test_no_amplification_is_finite_below_the_threshold() -> None:
    """[csdm] (amplification)"""
    assert amplification(43.0, 43.73) == math.inf


def test_the_cost_counts_network_calls_and_matrix_products() -> None:
    """[csdm] (cost)"""
    cost = compressed_cost(steps=20, call=1e6, iterations=100, m=64, d=256)
    assert cost.network == 2e7
    assert cost.recovery == 4 * 64 * 256 * 100
    assert cost.total == cost.network + cost.recovery


def test_wrong_numbers_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="between 0 and 100 nonzero coefficients, got 101"):
        statistical_dimension(101, 100)
    with pytest.raises(ValueError, match="expected a > 0, got 0"):
        average_case_rows(10, 0)
    with pytest.raises(ValueError, match="between 1 and 256 measurements, got m = 300"):
        compressed_cost(20, 1.0, 100, 300, 256)
