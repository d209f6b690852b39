"""The exact denoisers against integrals and derivatives of the densities they come from."""

from math import pi

import pytest
import torch
from torch import Tensor

from scoreward.core.denoiser import NetworkDenoiser
from scoreward.core.keys import Key
from scoreward.core.process import Process, RectifiedFlow
from scoreward.models.analytic import ExactDenoiser, GaussianPolicy, Mixture, gaussian
from tests.core.laws import F64, PROCESSES, real

KEY = Key(("analytic",))
MIXTURE = Mixture(real(-2.0, 1.0, 1.2)[:, None], real(0.25, 0.09, 1.5), real(0.3, 0.5, 0.2))
PLANE = Mixture(
    torch.tensor([[-1.0, 0.5], [1.0, -0.3]], dtype=F64), real(0.25, 0.6), real(0.3, 0.7)
)


def density(x0: Tensor) -> Tensor:
    """p(x0) of MIXTURE, spelled out."""
    rows = ((0.3, -2.0, 0.25), (0.5, 1.0, 0.09), (0.2, 1.2, 1.5))
    return sum(
        (w * torch.exp(-0.5 * (x0 - m) ** 2 / c) / (2 * pi * c) ** 0.5 for w, m, c in rows),
        torch.zeros_like(x0),
    )


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_posterior_mean_and_density_are_the_integrals_over_data(process: Process) -> None:
    """∫ x0 p(x0) q(x_t | x0) dx0 / ∫ p q dx0 by the trapezium rule.

    The rule converges exponentially for a smooth integrand that vanishes at both ends; σ_t ≥ 0.25
    here, and VE's wide q is cut off where p is below 1e-30.
    """
    grid = torch.linspace(-16, 16, 8001, dtype=F64)
    t = real(0.55, 0.75)
    x_t = process.alpha(t) * 0.4 + process.sigma(t) * real(0.9, -0.7)
    alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
    q = torch.exp(-0.5 * ((x_t[:, None] - alpha * grid) / sigma) ** 2) / (sigma * (2 * pi) ** 0.5)
    joint = density(grid) * q
    evidence = torch.trapezoid(joint, grid)
    mean = torch.trapezoid(joint * grid, grid) / evidence
    torch.testing.assert_close(ExactDenoiser(MIXTURE, process)(x_t[:, None], t).x0[:, 0], mean)
    torch.testing.assert_close(MIXTURE.log_density(x_t[:, None], alpha, sigma), evidence.log())


@pytest.mark.parametrize("process", PROCESSES, ids=repr)
def test_the_score_is_the_gradient_of_the_log_density(process: Process) -> None:
    """Two dimensions, so that the dimension counts in the weights of the components."""
    t = real(0.1, 0.4, 0.8)
    x = (KEY / "x").normal(3, 2, dtype=F64).requires_grad_()
    alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
    (expected,) = torch.autograd.grad(PLANE.log_density(x, alpha, sigma).sum(), x)
    score = ExactDenoiser(PLANE, process)(x.detach(), t).as_("score")
    torch.testing.assert_close(score, expected)


def test_log_density_in_two_dimensions_is_that_of_torch() -> None:
    process, t, x = RectifiedFlow(), real(0.3, 0.3), (KEY / "x").normal(2, 2, dtype=F64)
    covariance = (0.49 * PLANE.variances + 0.09)[:, None, None] * torch.eye(2, dtype=F64)
    expected = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(PLANE.weights),
        torch.distributions.MultivariateNormal(0.7 * PLANE.means, covariance),
    ).log_prob(x)
    alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
    torch.testing.assert_close(PLANE.log_density(x, alpha, sigma), expected)


def test_the_pair_agrees_with_the_point_it_explains() -> None:
    for process in PROCESSES:
        t, x = real(0.2, 0.9), (KEY / "x").normal(2, 2, dtype=F64)
        answer = ExactDenoiser(PLANE, process)(x, t)
        alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
        torch.testing.assert_close(alpha * answer.x0 + sigma * answer.eps, x)


def test_draws_have_the_moments_of_the_mixture() -> None:
    """100,000 draws: 5.5 standard errors on three numbers, error probability below 2e-7."""
    count = 100_000
    x = MIXTURE.sample(count, (KEY / "draws").generator())[:, 0]
    mean = 0.3 * -2 + 0.5 * 1 + 0.2 * 1.2
    second = 0.3 * (4 + 0.25) + 0.5 * (1 + 0.09) + 0.2 * (1.44 + 1.5)
    for values, expected in ((x, mean), (x**2, second), ((x < -1).to(F64), below(-1.0))):
        error = values.std().item() / count**0.5
        assert abs(values.mean().item() - expected) < 5.5 * error


def below(x: float) -> float:
    """P(x0 < x) for MIXTURE."""
    normal = torch.distributions.Normal(MIXTURE.means[:, 0], MIXTURE.variances.sqrt())
    return (MIXTURE.weights * normal.cdf(torch.full((3,), x, dtype=F64))).sum().item()


def test_gaussian_is_a_mixture_of_one() -> None:
    one = gaussian([0.7, -0.2], 0.25)
    assert one.means.tolist() == [[0.7, -0.2]]
    assert (one.variances.item(), one.weights.item()) == (0.25, 1.0)
    assert one.means.dtype == one.variances.dtype == one.weights.dtype == F64


def test_gaussian_policy_is_the_exact_velocity_of_each_prompt() -> None:
    """Noise and data included: at t = 1 and t = 0 nothing divides by 0."""
    policy = GaussianPolicy(prompts=3, dim=2, variance=0.4).double()
    means = (KEY / "means").normal(3, 2, dtype=F64)
    with torch.no_grad():
        policy.mean.copy_(means)
    cond, t = torch.tensor([2, 0, 1, 2]), real(1.0, 0.3, 0.7, 0.5)
    x = (KEY / "x").normal(4, 2, dtype=F64)
    answer = NetworkDenoiser(policy, RectifiedFlow())(x, t, cond)
    for i, row in enumerate(cond.tolist()):
        exact = ExactDenoiser(gaussian(means[row], 0.4), RectifiedFlow())(
            x[i : i + 1], t[i : i + 1]
        )
        torch.testing.assert_close(answer.x0[i], exact.x0[0])
        if t[i] < 1:
            torch.testing.assert_close(answer.as_("velocity")[i], exact.as_("velocity")[0])


def test_gaussian_policy_starts_at_zero_and_learns_only_means() -> None:
    policy = GaussianPolicy(prompts=2, dim=3)
    assert [name for name, _ in policy.named_parameters()] == ["mean"]
    assert not policy.mean.any()
    assert policy.mean.shape == (2, 3)
