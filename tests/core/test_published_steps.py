"""Numbers of the papers' kernels, solvers and schedules; where from is said in the files."""

from math import log, sqrt

import pytest
import torch
from torch import Tensor

from scoreward.core.chain import rollout, uniform
from scoreward.core.denoiser import Cond
from scoreward.core.gaussian import Gaussian
from scoreward.core.kernel import (
    DDIM,
    DPMSolverPP,
    EulerMaruyama,
    Kernel,
    ancestral,
    coefficients_preserving,
    dance_sde,
    ddim,
    euler,
    flow_sde,
)
from scoreward.core.keys import Key
from scoreward.core.prediction import Prediction
from scoreward.core.process import LinearVP, RectifiedFlow, time_grid
from tests.core.laws import real
from tests.golden.load import golden

NUMBERS = golden("kernels")
NEXT = real(*NUMBERS["next"])[None]
STEPS = range(3)


def close(actual: Tensor, expected: list[float] | float, tolerance: float = 1e-6) -> None:
    wanted = torch.as_tensor(expected, dtype=actual.dtype).reshape(actual.shape)
    torch.testing.assert_close(actual, wanted, rtol=0, atol=tolerance)


def law_of(kernel: Kernel, step: int) -> Gaussian:
    x, v = real(*NUMBERS["x"])[None], real(*NUMBERS["velocity"])[None]
    t, s = NUMBERS["times"][step : step + 2]
    return kernel(Prediction.of("velocity", v, x, real(t), RectifiedFlow()), real(s))


def test_the_times_of_the_vectors_are_shift_3_on_four_steps() -> None:
    assert time_grid(4, 3.0) == pytest.approx(NUMBERS["times"])


@pytest.mark.parametrize("step", STEPS)
def test_flow_sde(step: int) -> None:
    """[flow-grpo] (9), and (5) of the same paper up to the mean over entries."""
    row, level = NUMBERS["flow_sde"]["steps"][step], flow_sde(0.7, at_one=0.9)
    law = law_of(EulerMaruyama(level), step)
    close(level(RectifiedFlow(), real(NUMBERS["times"][step])), row["level"])
    close(law.mean[0], row["mean"])
    close(law.std[0], row["std"])
    close(law.log_prob(NEXT) / 4, row["log_prob"])


@pytest.mark.parametrize("step", STEPS)
def test_coefficients_preserving_sampling(step: int) -> None:
    """[flow-cps] (step); its code's log-probability leaves out the variance."""
    row, law = NUMBERS["cps"]["steps"][step], law_of(DDIM(coefficients_preserving(0.8)), step)
    close(law.mean[0], row["mean"])
    close(law.std[0], row["std"])
    close(-(NEXT - law.mean).square().mean(1), row["log_prob"])
    constants = -log(row["std"]) - 0.5 * log(2 * torch.pi)
    whole = row["log_prob"] / (2 * row["std"] ** 2) + constants
    close(law.log_prob(NEXT) / 4, whole, tolerance=5e-6)  # the std has six digits


@pytest.mark.parametrize("step", STEPS)
def test_dance_sde(step: int) -> None:
    """[dance-grpo] (step)"""
    row, law = NUMBERS["dance_sde"]["steps"][step], law_of(EulerMaruyama(dance_sde(0.3)), step)
    close(law.mean[0], row["mean"])
    close(law.log_prob(NEXT) / 4, row["log_prob"])


def test_ddim_at_full_noise_on_a_vp_schedule() -> None:
    """[ddim] (12) and [ddim] (16).

    LinearVP reaches ᾱ where ½ B t² + 0.1 t + log ᾱ = 0 with B = 19.9.
    """
    row, process = NUMBERS["ddim"], LinearVP()
    t, s = ((-0.1 + sqrt(0.01 - 2 * 19.9 * log(bar))) / 19.9 for bar in row["alpha_bar"])
    x, eps = real(*row["x"])[None], real(*row["eps"])[None]
    pred = Prediction.of("eps", eps, x, real(t), process)
    law = DDIM(ancestral(1.0))(pred, real(s))
    close(law.mean[0], row["mean"])
    close(law.std[0], row["std"])
    close(law.log_prob(real(*row["next"])[None]) / 2, row["log_prob"])


def path(kernel: Kernel) -> Tensor:
    """All states of the linear field of the vectors."""
    row = golden("solvers")

    def field(x: Tensor, t: Tensor, cond: Cond) -> Prediction:
        velocity = row["slope"] * x + row["drift"] * t[:, None]
        return Prediction.of("velocity", velocity, x, t, RectifiedFlow())

    sampler = uniform(kernel, row["steps"], row["shift"])
    return rollout(sampler, field, real(*row["start"])[None], [Key(("solver",))], None).x[:, 0]


def test_dpm_solver_follows_the_public_solver() -> None:
    """[dpm-solver++] (Alg. 2)"""
    states = path(DPMSolverPP())
    close(states[2], golden("solvers")["dpm_after_step_2"])
    close(states[5], golden("solvers")["dpm_final"])


@pytest.mark.parametrize("kernel", [euler(), ddim()], ids=["euler", "ddim"])
def test_euler_follows_the_published_rollout(kernel: Kernel) -> None:
    """[song-sde] (13) and [ddim] (13), the same on rectified flow."""
    close(path(kernel)[5], golden("solvers")["euler_final"])


def test_the_shifted_schedule() -> None:
    """[sd3] (23)"""
    row = golden("schedules")
    close(real(*time_grid(10, row["shift"])), row["times"])
