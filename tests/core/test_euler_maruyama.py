"""Euler–Maruyama steps against the reverse SDE written out, and against the published forms."""

from math import sqrt

import pytest
import torch
from torch import Tensor

from scoreward.core.kernel import EulerMaruyama, Level, dance_sde, euler, flow_sde, reverse_sde
from scoreward.core.keys import Key
from scoreward.core.prediction import Prediction
from scoreward.core.process import Process, RectifiedFlow
from scoreward.models.analytic import ExactDenoiser, Mixture
from tests.core.laws import F64, PROCESSES, one_pair, real

DATA = Mixture(
    means=torch.tensor([[-2.0, 0.5], [1.0, -0.3]], dtype=F64),
    variances=real(0.25, 0.09),
    weights=real(0.3, 0.7),
)
KEY = Key(("em",))


def drift_and_score(process: Process, x: Tensor, t: float) -> tuple[Tensor, Tensor]:
    """f x = (d log α/dt) x, and ∇ log p_t, both by autograd."""
    time = real(t).requires_grad_()
    (f,) = torch.autograd.grad((process.alpha(time).log() + 0 * time).sum(), time)
    x = x.clone().requires_grad_()
    alpha, sigma = process.alpha(real(t))[None], process.sigma(real(t))[None]
    (score,) = torch.autograd.grad(DATA.log_density(x, alpha, sigma).sum(), x)
    return f * x.detach(), score


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0, 2.0])
def test_a_step_is_euler_maruyama_of_the_reverse_sde(process: Process, eta: float) -> None:
    """[song-sde] (6) for η = 1 and [song-sde] (13) for η = 0: drift f x − ½(1 + η²) g² ∇log p."""
    t, s = 0.5508, 0.4
    x = (KEY / "x").normal(5, 2, dtype=F64)
    f_x, score = drift_and_score(process, x, t)
    g = process.g(real(t))
    pred = ExactDenoiser(DATA, process)(x, real(t).expand(5))
    law = EulerMaruyama(reverse_sde(eta))(pred, real(s).expand(5))
    torch.testing.assert_close(law.mean, x + (f_x - 0.5 * (1 + eta**2) * g**2 * score) * (s - t))
    torch.testing.assert_close(law.std, (eta * g * sqrt(t - s)).expand(5, 1))


def test_euler_is_the_probability_flow() -> None:
    """[song-sde] (13): x + u (s − t), with a std of exactly 0."""
    pred, _, _ = one_pair(RectifiedFlow(), x0=0.8, eps=-1.3, t=0.6)
    law = euler()(pred, real(0.5))
    torch.testing.assert_close(law.mean, pred.x_t + 0.1 * real(0.8 + 1.3))
    assert torch.equal(law.std, torch.zeros_like(law.std))


@pytest.mark.parametrize("noise", [0.0, 0.3, 0.7, 2.0])
def test_flow_sde_is_the_published_step(noise: float) -> None:
    """[flow-grpo] (9): x(1 − n²Δ/(2t)) − v(1 + n²(1 − t)/(2t))Δ with n = a √(t/(1 − t))."""
    t, s = 0.6, 0.5
    x, v = (KEY / "x").normal(3, 4, dtype=F64), (KEY / "v").normal(3, 4, dtype=F64)
    pred = Prediction.of("velocity", v, x, real(t).expand(3), RectifiedFlow())
    law = EulerMaruyama(flow_sde(noise))(pred, real(s).expand(3))
    n, step = noise * sqrt(t / (1 - t)), t - s
    mean = x * (1 - n**2 * step / (2 * t)) - v * (1 + n**2 * (1 - t) / (2 * t)) * step
    torch.testing.assert_close(law.mean, mean)
    torch.testing.assert_close(law.std, real(n * sqrt(step)).expand(3, 1))


def test_flow_sde_is_the_reverse_sde_at_eta_a_over_root_two() -> None:
    t = real(0.1, 0.5, 0.95)
    same = reverse_sde(0.7 / sqrt(2))(RectifiedFlow(), t)
    torch.testing.assert_close(flow_sde(0.7)(RectifiedFlow(), t), same)


def test_dance_sde_is_the_published_step() -> None:
    """[dance-grpo] (step): x − Δ v + ½ η² Δ score with score = −(x − (1 − t) x0)/t²; std η √Δ."""
    t, s, eta = 0.6, 0.5, 0.3
    x, v = (KEY / "x").normal(3, 4, dtype=F64), (KEY / "v").normal(3, 4, dtype=F64)
    pred = Prediction.of("velocity", v, x, real(t).expand(3), RectifiedFlow())
    law = EulerMaruyama(dance_sde(eta))(pred, real(s).expand(3))
    score = -(x - (1 - t) * (x - t * v)) / t**2
    torch.testing.assert_close(law.mean, x - 0.1 * v + 0.5 * eta**2 * 0.1 * score)
    torch.testing.assert_close(law.std, real(eta * sqrt(0.1)).expand(3, 1))


@pytest.mark.parametrize("level", [reverse_sde(0.0), flow_sde(0.0), dance_sde(0.0)])
def test_without_noise_every_kernel_is_euler(level: Level) -> None:
    x, v, t, s = (KEY / "x").normal(2, 3), (KEY / "v").normal(2, 3), [1.0, 0.6], [0.8, 0.0]
    pred = Prediction.of("velocity", v, x, torch.tensor(t), RectifiedFlow())
    law = EulerMaruyama(level)(pred, torch.tensor(s))
    torch.testing.assert_close(law.mean, x - torch.tensor([[0.2], [0.6]]) * v)
    assert not law.std.any()


@pytest.mark.parametrize(("t", "s"), [(0.9, 0.75), (0.5, 0.49)])
@pytest.mark.parametrize("level", [flow_sde(0.7), dance_sde(0.3)], ids=["flow", "dance"])
def test_the_noise_left_exceeds_sigma_by_the_square_of_the_step(
    level: Level, t: float, s: float
) -> None:
    """With the true pair the noise part has variance (s − n²Δ/(2t))² + n²Δ.

    That is s² + n²Δ²/t · (1 + n²/(4t)): more than σ_s², by O(Δ²) in one step.
    """
    pred, _, _ = one_pair(RectifiedFlow(), x0=0.0, eps=1.0, t=t)
    law = EulerMaruyama(level)(pred, real(s))
    n2, step = level(RectifiedFlow(), real(t)) ** 2, t - s
    excess = n2 * step**2 / t * (1 + n2 / (4 * t))
    torch.testing.assert_close((law.mean**2 + law.std**2)[0], s**2 + excess)
    assert excess > 0


def test_negative_noise_is_refused() -> None:
    for make in (reverse_sde, flow_sde, dance_sde):
        with pytest.raises(ValueError, match=r"must not be negative, got -1\.0; 0 is the ODE"):
            make(-1.0)
