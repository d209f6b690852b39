"""Tables of ᾱ other than Stable Diffusion's, against diffusers' own."""

from typing import Any

import diffusers
import pytest
import torch

from scoreward.core.process import DiscreteVP, zero_terminal
from tests.core.laws import F64

GRID = torch.arange(1, 1001, dtype=F64) / 1000
COGVIDEOX = [(1.0, False), (3.0, False), (1.0, True), (3.0, True)]


@pytest.mark.parametrize(("shift", "zero"), COGVIDEOX)
def test_a_shifted_and_rescaled_table_is_that_of_diffusers(shift: float, zero: bool) -> None:
    """[zero-snr] (Alg. 1), and CogVideoX's shift of the signal-to-noise ratio."""
    scheduler = diffusers.CogVideoXDDIMScheduler(
        snr_shift_scale=shift, rescale_betas_zero_snr=zero, beta_schedule="scaled_linear"
    )
    process = DiscreteVP(snr_shift=shift, zero_snr=zero)
    assert torch.allclose(process.alpha(GRID) ** 2, scheduler.alphas_cumprod, atol=1e-12)


def test_a_linear_table_is_that_of_diffusers() -> None:
    """[ddpm] (4)"""
    scheduler: Any = diffusers.DDIMScheduler(
        beta_start=0.0001, beta_end=0.02, beta_schedule="linear"
    )
    process = DiscreteVP(0.0001, 0.02, root=False)
    assert torch.allclose(process.alpha(GRID) ** 2, scheduler.alphas_cumprod.double(), atol=1e-6)


def test_the_rescaling_keeps_the_start_and_ends_in_noise() -> None:
    """[zero-snr] (Alg. 1): by hand."""
    bar = torch.tensor([0.81, 0.25, 0.01], dtype=F64)  # roots 0.9, 0.5, 0.1
    expected = torch.tensor([0.9, 0.45, 0.0], dtype=F64) ** 2
    assert torch.allclose(zero_terminal(bar), expected)


@pytest.mark.parametrize(("shift", "zero"), COGVIDEOX)
@pytest.mark.parametrize("t", [0.0004, 0.3335, 0.9992, 0.99951, 0.9999])
def test_the_slope_between_grid_points_is_the_slope(shift: float, zero: bool, t: float) -> None:
    process, h = DiscreteVP(snr_shift=shift, zero_snr=zero), 1e-6
    near = process.alpha(torch.tensor([t - h, t + h], dtype=F64))
    expected = ((near[1] - near[0]) / (2 * h)).item()
    found = process.d_alpha(torch.tensor([t], dtype=F64)).item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_pure_noise_is_finite_where_a_network_predicts_v() -> None:
    process, one = DiscreteVP(snr_shift=3.0, zero_snr=True), torch.ones(1)
    assert process.alpha(one).item() == 0
    assert process.sigma(one).item() == 1
    assert process.d_alpha(one).isfinite().all()
    assert process.alpha(torch.tensor([0.99999])).item() > 0
