"""Diffusion-KTO: tables, utilities, the reference point."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from scoreward.losses import diffusion_pointwise as kto
from tests.margins.diffusion_cases import real, three_pairs

PAIRS = three_pairs()
GAINS = torch.cat(
    [kto.gain(PAIRS.winner, PAIRS.ref_winner), kto.gain(PAIRS.loser, PAIRS.ref_loser)]
)
DESIRABLE = torch.tensor([True] * 3 + [False] * 3)
TABLE = {
    1000.0: (0.446044, 0.570363, 0.520821, 0.405323, 0.649460, 0.479179),
    5000.0: (0.252876, 0.804815, 0.602685, 0.128234, 0.956200, 0.397315),
}
MEANS = {1000.0: (0.511865, 1.731922), 5000.0: (0.523687, 2.103346)}
UTILITIES: tuple[Callable[[Tensor], Tensor], ...] = (
    kto.neutral,
    kto.loss_averse,
    kto.risk_seeking,
)


def test_gains_and_their_reference_point() -> None:
    """[diffusion-kto] (reference point)"""
    expected = real(0.0003, -0.0002, 0.0, -0.0003, 0.0007, 0.0)
    torch.testing.assert_close(GAINS, expected)
    assert kto.reference_point(GAINS).item() == pytest.approx(8.333333e-5, abs=1e-11)
    assert kto.reference_point(-GAINS).item() == 0


@pytest.mark.parametrize("beta", TABLE)
def test_the_six_images(beta: float) -> None:
    """[diffusion-kto] (loss), [diffusion-kto] (sigmoid), [diffusion-kto] (loss-averse)"""
    point = kto.reference_point(GAINS)
    loss = kto.diffusion_kto(GAINS, point, DESIRABLE, beta)
    torch.testing.assert_close(loss, real(*TABLE[beta]), rtol=0, atol=6e-7)
    averse = kto.diffusion_kto(GAINS, point, DESIRABLE, beta, kto.loss_averse)
    torch.testing.assert_close(
        torch.stack([loss.mean(), averse.mean()]), real(*MEANS[beta]), rtol=0, atol=6e-7
    )


def test_the_six_images_in_float32() -> None:
    """Differences of errors near 0.1 keep enough digits for β = 5000."""
    low = three_pairs(torch.float32)
    gains = torch.cat([kto.gain(low.winner, low.ref_winner), kto.gain(low.loser, low.ref_loser)])
    loss = kto.diffusion_kto(gains, kto.reference_point(gains), DESIRABLE)
    torch.testing.assert_close(loss.double(), real(*TABLE[5000.0]), rtol=1e-4, atol=1e-4)


def test_utilities_bend_as_they_are_named() -> None:
    """Their slopes at −2 and 2.  [diffusion-kto] (risk-seeking)"""
    slopes = {}
    for utility in UTILITIES:
        v = real(-2.0, 2.0).requires_grad_()
        (slope,) = torch.autograd.grad(utility(v).sum(), v)
        slopes[utility.__name__] = slope.tolist()
        assert min(slope.tolist()) > 0
    bad, good = 1 / (1 + torch.exp(real(-2.0)).item()), 1 / (1 + torch.exp(real(2.0)).item())
    assert slopes["loss_averse"] == pytest.approx([bad, good])
    assert slopes["risk_seeking"] == pytest.approx([good, bad])
    assert slopes["neutral"] == pytest.approx([bad * good] * 2)


def test_nothing_learns_through_the_reference_point() -> None:
    current = PAIRS.winner.clone().requires_grad_()
    gains = kto.gain(current, PAIRS.ref_winner.clone().requires_grad_())
    point = kto.reference_point(gains)
    assert not point.requires_grad
    loss = kto.diffusion_kto(gains, gains.mean(), torch.ones(3, dtype=torch.bool), 1000.0)
    (slope,) = torch.autograd.grad(loss.sum(), current)
    s = (1000 * (gains - gains.mean())).sigmoid().detach()
    torch.testing.assert_close(slope, 1000 * s * (1 - s))


def test_weights_multiply_the_loss_of_an_image() -> None:
    point = kto.reference_point(GAINS)
    plain = kto.diffusion_kto(GAINS, point, DESIRABLE)
    weight = torch.where(DESIRABLE, 0.8, 1.0).double()
    torch.testing.assert_close(
        kto.diffusion_kto(GAINS, point, DESIRABLE, weight=weight), weight * plain
    )


@given(st.floats(-1e4, 1e4), st.sampled_from(UTILITIES), st.booleans())
def test_no_value_is_lost_at_extreme_values(
    value: float, utility: Callable[[Tensor], Tensor], wanted: bool
) -> None:
    gains = torch.tensor([value / 1000], dtype=torch.float32, requires_grad=True)
    loss = kto.diffusion_kto(gains, torch.zeros(()), torch.tensor([wanted]), 1000.0, utility)
    (slope,) = torch.autograd.grad(loss.sum(), gains)
    assert loss.isfinite().all()
    assert slope.isfinite().all()
    assert slope.item() <= 0 if wanted else slope.item() >= 0


def test_a_beta_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="`beta` must be above 0"):
        kto.diffusion_kto(GAINS, kto.reference_point(GAINS), DESIRABLE, 0.0)
