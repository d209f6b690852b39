"""The Stable Diffusion sampling grid: where DDIM's own η stops existing, and KL weights there."""

from itertools import pairwise
from math import log

import pytest
import torch

from scoreward.core.chain import Sampler
from scoreward.core.gaussian import Gaussian
from scoreward.core.kernel import DDIM, ancestral, eta_limit, generalised
from scoreward.core.prediction import Prediction
from scoreward.core.process import DiscreteVP
from tests.core.laws import F64, real
from tests.golden.load import golden

TABLE = golden("stable_diffusion")
PROCESS = DiscreteVP()


def timesteps(steps: int) -> list[int]:
    """Leading spacing, offset 1, from noise to data."""
    return [k * (1000 // steps) + 1 for k in reversed(range(steps))]


def grid(steps: int) -> tuple[float, ...]:
    """Our times; the last step ends at ᾱ[0], pipeline timestep 0."""
    return tuple(PROCESS.time_of(k) for k in (*timesteps(steps), 0))


@pytest.mark.parametrize("steps", [10, 25, 50, 100])
def test_the_largest_eta_of_ddim_is_that_of_the_table(steps: int) -> None:
    """[ddim] (16)"""
    row, times = TABLE["grids"][str(steps)], real(*grid(steps))
    limit = eta_limit(PROCESS, times[:-1], times[1:])
    assert limit.min().item() == pytest.approx(row["largest"], abs=1e-5)
    assert timesteps(steps)[int(limit.argmin())] == row["at"]
    assert limit[0].item() == pytest.approx(row["first"], abs=6e-5)
    assert [(limit < eta).sum().item() for eta in TABLE["etas"]] == row["failing"]


@pytest.mark.parametrize("steps", [10, 25, 50, 100])
def test_ddim_is_refused_at_exactly_the_failing_steps(steps: int) -> None:
    times = grid(steps)
    for eta, expected in zip(TABLE["etas"], TABLE["grids"][str(steps)]["failing"], strict=True):
        refused = 0
        for t, s in pairwise(times):
            try:
                DDIM(ancestral(eta)).check(PROCESS, t, s)
            except ValueError:
                refused += 1
        assert refused == expected


def test_a_sampler_names_the_failing_step_and_the_remedy() -> None:
    """η = 1.2 on 50 steps fails at timestep 21 only, which is t = 0.022 here."""
    sampler = Sampler(grid(50), (DDIM(ancestral(1.2)),) * 50)
    with pytest.raises(ValueError, match=r"step 0\.0220 -> 0\.0020 asks for noise.*generalised"):
        sampler.check(PROCESS)
    Sampler(grid(50), (DDIM(ancestral(1.0)),) * 50).check(PROCESS)


@pytest.mark.parametrize("eta", [1.0, 1.2, 1.5, 2.0, 4.0])
def test_generalised_steps_are_finite_where_ddim_is_not(eta: float) -> None:
    """[gddim] (Thm. 1)"""
    times = real(*grid(50))
    Sampler(grid(50), (DDIM(generalised(eta)),) * 50).check(PROCESS)
    law = DDIM(generalised(eta))(pair(times, real(0.0)), times[1:])
    assert law.mean.isfinite().all()
    assert law.std.isfinite().all()


def pair(times: torch.Tensor, shift: torch.Tensor) -> Prediction:
    """x_t = 0 at every step but the last time; two networks that differ by `shift` in ε."""
    x, t = torch.zeros(len(times) - 1, 1, dtype=F64), times[:-1]
    return Prediction.of("eps", 0.2 + shift + x, x, t, PROCESS)


def step_kl(eta: float, times: torch.Tensor) -> torch.Tensor:
    """KL of each step between two networks whose ε differ by 1."""
    kernel, s = DDIM(generalised(eta)), times[1:]
    law: Gaussian = kernel(pair(times, real(0.0)), s)
    return law.kl(kernel(pair(times, real(1.0)), s))


@pytest.mark.parametrize("eta", [0.5, 1.0, 1.2, 1.5, 2.0])
def test_kl_of_a_step_has_its_closed_form(eta: float) -> None:
    """(1 − r^(1+η²))² / (2 r² (1 − r^(2η²))) for |dε| = 1, with r the ratio of noise to signal."""
    times = real(*grid(50))
    ratio = PROCESS.noise_to_signal(times)
    r = ratio[1:] / ratio[:-1]
    expected = (1 - r ** (1 + eta**2)) ** 2 / (2 * r**2 * (1 - r ** (2 * eta**2)))
    torch.testing.assert_close(step_kl(eta, times), expected, rtol=1e-8, atol=0)


@pytest.mark.parametrize("eta", TABLE["weights"])
def test_kl_weights_sum_to_the_table(eta: str) -> None:
    """Beside the exact sum, two quadrature rules of the same integral: off by half on 50 steps."""
    row, times = TABLE["weights"][eta], real(*grid(50))
    assert step_kl(float(eta), times).sum().item() == pytest.approx(row["exact"], abs=1e-6)
    factor = ((1 + float(eta) ** 2) / (2 * float(eta))) ** 2
    snr, bar = PROCESS.log_snr(times), PROCESS.alpha(times) ** 2
    by_snr = 0.5 * factor * (snr[-1] - snr[0]).item()
    assert by_snr == pytest.approx(row["log_snr"], abs=1e-6)
    by_score = 0.5 * factor * ((bar[1:] / bar[:-1]).log() / (1 - bar[:-1])).sum().item()
    assert by_score == pytest.approx(row["score"], abs=1e-6)


@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0])
def test_kl_weights_tend_to_the_continuous_ones(eta: float) -> None:
    """For r → 1 the weight is ½ ((1 + η²)/2η)² d log SNR; here r = 0.9990 ± 2e-4."""
    times = real(0.5, 0.4999)
    (got,) = step_kl(eta, times).tolist()
    (snr_t, snr_s) = PROCESS.log_snr(times).tolist()
    assert got == pytest.approx(0.5 * ((1 + eta**2) / (2 * eta)) ** 2 * (snr_s - snr_t), rel=2e-3)
    assert abs(snr_s - snr_t) < abs(log(0.99))
