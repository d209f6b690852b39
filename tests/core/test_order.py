"""Deterministic solvers converge at the order they declare, to the exact solution."""

from functools import cache
from math import expm1, log, log2

import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from scoreward.core.chain import Sampler, draw
from scoreward.core.kernel import DDIM, DPMSolverPP, Heun, Kernel, ancestral, ddim, euler
from scoreward.core.keys import Key
from scoreward.core.prediction import Prediction
from scoreward.core.process import CosineVP, DiscreteVP, LinearVP, Process, RectifiedFlow
from scoreward.models.analytic import ExactDenoiser, Mixture
from tests.core.laws import F64, PROCESSES, affine, exact, line, real

SOLVERS: dict[str, Kernel] = {
    "euler": euler(),
    "ddim": ddim(),
    "ancestral(0)": DDIM(ancestral(0.0)),
    "heun": Heun(),
    "dpm-solver++": DPMSolverPP(),
}
STARTS = real(-1.5, -0.2, 0.4, 2.0)
KEYS = [Key(("order", i)) for i in range(4)]
MIXTURE = Mixture(
    means=torch.tensor([[-2.0], [1.0]], dtype=F64),
    variances=real(0.25, 0.09),
    weights=real(0.3, 0.7),
)


def end(kernel: Kernel, denoiser: ExactDenoiser, times: list[float]) -> Tensor:
    sampler = Sampler(tuple(times), (kernel,) * (len(times) - 1))
    start = scale(denoiser.process, times[0]) * STARTS[:, None]
    return draw(sampler, denoiser, start, KEYS, None)[:, 0]


def scale(process: Process, t: float) -> Tensor:
    """Where p_t lives, so that the same starts serve every process."""
    return (process.alpha(real(t)) ** 2 + process.sigma(real(t)) ** 2).sqrt()


def gaussian_flow(process: Process, top: float, bottom: float) -> Tensor:
    """The flow of N(0.7, 0.25) moves quantiles: x_s = m_s + (sd_s/sd_t)(x_t − m_t)."""
    alpha, sigma = process.alpha(real(top, bottom)), process.sigma(real(top, bottom))
    sd = (alpha**2 * 0.25 + sigma**2).sqrt()
    return alpha[1] * 0.7 + sd[1] / sd[0] * (scale(process, top) * STARTS - alpha[0] * 0.7)


def gaussian_end(kernel: Kernel, process: Process, times: list[float]) -> Tensor:
    """As `end`; one-step kernels are affine here, so all their steps are asked for at once."""
    if isinstance(kernel, DPMSolverPP):
        return end(kernel, exact(process), times)
    starts = (scale(process, times[0]) * STARTS).tolist()
    steps = affine(kernel, exact(process), times)
    return real(*[steps.push(x, 0.0)[0] for x in starts])


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("kernel", SOLVERS.values(), ids=SOLVERS.keys())
def test_order_on_gaussian_data(kernel: Kernel, process: Process) -> None:
    """Halving the step divides the error by 2^order, within a sixth of an order.

    Steps of DiscreteVP are whole multiples of its pieces, at whose ends the slope jumps.
    """
    top, bottom = (0.9, 0.1) if isinstance(process, DiscreteVP) else (0.95, 0.05)
    truth = gaussian_flow(process, top, bottom)
    errors = [
        (gaussian_end(kernel, process, line(top, bottom, n)) - truth).abs().max().item()
        for n in (50, 100)
    ]
    assert log2(errors[0] / errors[1]) > kernel.order - 1 / 6, errors
    assert errors[1] < 0.2 / kernel.order


@cache
def reference(process: Process, top: float, bottom: float) -> Tensor:
    """The probability flow of the mixture by an 8th-order Runge–Kutta method."""
    denoiser = ExactDenoiser(MIXTURE, process)

    def velocity(t: float, x: list[float]) -> list[float]:
        time = torch.full((len(STARTS),), t, dtype=F64)
        return denoiser(torch.as_tensor(x, dtype=F64)[:, None], time).as_("velocity")[:, 0].tolist()

    start = (scale(process, top) * STARTS).tolist()
    solution = solve_ivp(velocity, (top, bottom), start, method="DOP853", rtol=1e-10, atol=1e-12)
    return torch.as_tensor(solution.y[:, -1], dtype=F64)


@pytest.mark.parametrize("process", [RectifiedFlow(), LinearVP(), CosineVP()], ids=repr)
@pytest.mark.parametrize("kernel", SOLVERS.values(), ids=SOLVERS.keys())
def test_order_on_a_mixture(kernel: Kernel, process: Process) -> None:
    """Against a fine reference solution, where nothing is linear."""
    denoiser, truth = ExactDenoiser(MIXTURE, process), reference(process, 0.9, 0.1)
    errors = [
        (end(kernel, denoiser, line(0.9, 0.1, n)) - truth).abs().max().item() for n in (40, 80)
    ]
    assert log2(errors[0] / errors[1]) > kernel.order - 0.25, errors
    assert errors[1] < 0.1 / kernel.order


def test_coefficients_of_dpm_solver_keep_their_digits_in_float32() -> None:
    """x_t = 0, x0 = 1 and 0 before: the new state is α_s (1 − e^{−h}) (1 + h/2h₀), about 0.005.

    In float32 it would lose four digits to cancellation between close times.
    """
    times = torch.tensor([0.224, 0.22, 0.219])  # 1 − 0.22 is not a float32
    before, now, after = (
        Prediction(torch.zeros(1, 1), t[None], torch.full((1, 1), x0), torch.zeros(1, 1), flow)
        for flow, t, x0 in zip([RectifiedFlow()] * 3, times, (0.0, 1.0, 1.0), strict=True)
    )
    law, _ = DPMSolverPP().step(lambda x, t: now, now.x_t, now.t, after.t, before)
    clock = [log(1 - t) - log(t) for t in times.tolist()]
    h, h_0 = clock[2] - clock[1], clock[1] - clock[0]
    expected = (1 - times[2].item()) * -expm1(-h) * (1 + h / (2 * h_0))
    assert law.mean.item() == pytest.approx(expected, rel=5e-7)
