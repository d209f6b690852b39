"""Links: closed forms, derivatives, and finite numbers far out."""

from collections.abc import Callable
from math import exp, log, pi

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from scoreward.losses.links import (
    Cauchy,
    Exponential,
    Hinge,
    Link,
    Logistic,
    Robust,
    SmoothedLogistic,
    Square,
    SquaredHinge,
    log1m_exp,
    tangent_exp,
    tangent_expm1,
)

LINKS = [
    Logistic(),
    SmoothedLogistic(0.1),
    Robust(0.1),
    Square(),
    Square(5.0),
    Hinge(),
    Hinge(2.0),
    SquaredHinge(),
    Cauchy(),
    Exponential(),
]
AWAY_FROM_KINKS = torch.tensor([-9.3, -3.1, -0.7, 0.0, 0.2, 0.9, 1.7, 4.6, 12.0]).double()


def softplus(z: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, z)


# The links once more, in NumPy: [dpo] (link), [cdpo] (loss), [robust-dpo] (loss), [ipo] (loss),
# [slic] (loss), [rainbow-po] (links tried), [gpo] (exponential)
WRITTEN = [
    (Logistic(), lambda z: softplus(-z)),
    (SmoothedLogistic(0.2), lambda z: 0.8 * softplus(-z) + 0.2 * softplus(z)),
    (Robust(0.2), lambda z: (0.8 * softplus(-z) - 0.2 * softplus(z)) / 0.6),
    (Square(), lambda z: (z - 0.5) ** 2),
    (Hinge(), lambda z: np.maximum(0, 1 - z)),
    (SquaredHinge(), lambda z: np.maximum(0, 0.5 - z) ** 2),
    (Cauchy(), lambda z: -np.log(0.5 + np.arctan(z) / pi)),
    (Exponential(), lambda z: np.exp(-z)),
]


@pytest.mark.parametrize(("link", "written"), WRITTEN)
def test_a_link_is_its_formula(link: Link, written: Callable) -> None:
    z = np.linspace(-20, 25, 91)
    np.testing.assert_allclose(link(torch.tensor(z)).numpy(), written(z), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("link", LINKS)
def test_the_slope_is_the_derivative(link: Link) -> None:
    z, h = AWAY_FROM_KINKS, 1e-5
    difference = (link(z + h) - link(z - h)) / (2 * h)
    torch.testing.assert_close(link.slope(z), difference, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(slope_by_autograd(link, z), link.slope(z), rtol=1e-12, atol=1e-14)


def slope_by_autograd(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    z = z.clone().requires_grad_()
    return torch.autograd.grad(function(z).sum(), z)[0]


@pytest.mark.parametrize("link", LINKS)
@given(st.floats(-1e4, 1e4, width=32))
def test_far_logits_give_finite_losses_and_slopes_in_single_precision(
    link: Link, value: float
) -> None:
    z = torch.tensor([value], dtype=torch.float32)
    slope = slope_by_autograd(link, z)
    assert link(z).isfinite().all()
    assert slope.isfinite().all()
    assert link.slope(z).isfinite().all()
    double = slope_by_autograd(link, z.double())
    torch.testing.assert_close(slope.double(), double, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("link", [Logistic(), Cauchy(), Exponential()])
def test_a_pair_that_is_lost_still_has_a_slope(link: Link) -> None:
    assert slope_by_autograd(link, torch.tensor([-1e4]))[0] < -1e-5


def test_far_to_the_left_the_cauchy_link_is_a_logarithm() -> None:
    """½ + arctan(z)/π → 1/(π|z|), which single precision would round to 0 or 6e-8."""
    expected = log(pi * 1e4)
    assert Cauchy()(torch.tensor([-1e4])).item() == pytest.approx(expected, rel=1e-6)


def test_the_exponential_goes_on_as_its_tangent() -> None:
    z = torch.tensor([29.0, 30.0, 31.0, 33.0], dtype=torch.float64)
    expected = torch.tensor([exp(29), exp(30), 2 * exp(30), 4 * exp(30)], dtype=torch.float64)
    torch.testing.assert_close(tangent_exp(z), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(tangent_expm1(z) + 1, expected, rtol=1e-12, atol=0)


def test_small_exponentials_keep_their_digits() -> None:
    z = torch.tensor([1e-12, -1e-9], dtype=torch.float64)
    torch.testing.assert_close(tangent_expm1(z), z, rtol=1e-8, atol=0)


def test_the_logarithm_of_what_is_left_keeps_its_digits() -> None:
    u = torch.tensor([-1e4, -50.0, -5.0, -log(2), -0.5, -1e-3, -1e-6]).double()
    expected = torch.tensor(np.log(-np.expm1(u.numpy())))
    torch.testing.assert_close(log1m_exp(u)[2:], expected[2:], rtol=1e-12, atol=0)
    assert log1m_exp(u)[1].item() == pytest.approx(-exp(-50), rel=1e-9)
    certain = torch.zeros(1)
    assert log1m_exp(certain).item() == pytest.approx(log(1e-7), rel=1e-5)
    for value in (-1e4, -1.0, -0.6931472, -1e-7, 0.0):
        assert slope_by_autograd(log1m_exp, torch.tensor([value])).isfinite().all()


def test_flipped_labels_leave_the_robust_link_unbiased() -> None:
    z = AWAY_FROM_KINKS
    mean = 0.9 * Robust(0.1)(z) + 0.1 * Robust(0.1)(-z)
    torch.testing.assert_close(mean, Logistic()(z), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [SmoothedLogistic, Robust])
@pytest.mark.parametrize("flip", [-0.1, 0.5, 1.0])
def test_more_than_half_of_the_labels_wrong_is_refused(kind: type, flip: float) -> None:
    with pytest.raises(ValueError, match=r"lies in \[0, 0.5\)"):
        kind(flip)
