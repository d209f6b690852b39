"""Gaussians with any covariance, and squashed ones, against torch.distributions and quadrature."""

from math import exp

import pytest
import torch
from scipy.integrate import quad
from torch.distributions import (
    Independent,
    MultivariateNormal,
    TransformedDistribution,
    kl_divergence,
)
from torch.distributions import Normal as TorchNormal
from torch.distributions.transforms import AffineTransform, TanhTransform

from scoreward.core.keys import Key
from scoreward.studies.control.normal import Normal, Squashed


def draw(name: str, *shape: int) -> torch.Tensor:
    return Key(("normal", name)).normal(*shape, dtype=torch.float64)


def law(name: str, rows: int, size: int, batch: int = 5) -> tuple[Normal, MultivariateNormal]:
    factor = draw(name + "F", rows, size, size).tril()
    diagonal = factor.diagonal(dim1=-2, dim2=-1)
    factor = factor - torch.diag_embed(diagonal) + torch.diag_embed(diagonal.abs() + 0.3)
    mean = draw(name + "m", batch, size)
    return Normal(mean, factor), MultivariateNormal(mean, scale_tril=factor.expand(batch, -1, -1))


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("size", [1, 3])
def test_density_kl_and_entropy_are_those_of_torch(rows: int, size: int) -> None:
    (ours, theirs), (other, reference) = law("a", rows, size), law("b", rows, size)
    x = draw("x", 5, size)
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x))
    torch.testing.assert_close(ours.kl(other), kl_divergence(theirs, reference))
    torch.testing.assert_close(ours.entropy().expand(5), theirs.entropy())


def test_samples_have_covariance_factor_times_its_transpose() -> None:
    """Also with more noise terms than coordinates; 10⁶ draws, 6 standard errors."""
    factor = draw("wide", 2, 4)
    count = 1_000_000
    x = Normal(torch.zeros(count, 2, dtype=torch.float64), factor[None]).sample(draw("z", count, 4))
    expected = factor @ factor.T
    error = (torch.outer(expected.diag(), expected.diag()) + expected**2).sqrt() / count**0.5
    assert ((x.T @ x / count - expected).abs() < 6 * error).all()


def test_a_squashed_density_is_that_of_torch_and_integrates_to_one() -> None:
    base, _ = law("s", 1, 2)
    ours = Squashed(base, -0.5, 2.0)
    inner = Independent(TorchNormal(base.mean, base.factor[0].diag()), 1)
    straight = Squashed(Normal(base.mean, torch.diag(base.factor[0].diag())[None]), -0.5, 2.0)
    moves = [TanhTransform(), AffineTransform(0.75, 1.25)]
    theirs = TransformedDistribution(inner, moves)
    a = straight.sample(draw("z", 5, 2))
    assert ((a > -0.5) & (a < 2)).all()
    torch.testing.assert_close(straight.log_prob(a), theirs.log_prob(a))
    assert not torch.allclose(ours.log_prob(a), theirs.log_prob(a))  # it sees the correlation
    one = Squashed(Normal(torch.tensor([[0.4]]).double(), torch.tensor([[[0.7]]]).double()), -1, 3)
    density = lambda a: one.log_prob(torch.tensor([[a]]).double()).exp().item()  # noqa: E731
    assert quad(density, -1, 3, epsabs=1e-10)[0] == pytest.approx(1, abs=1e-8)


def test_a_squashed_density_is_finite_at_and_near_the_bounds() -> None:
    base = Normal(torch.zeros(3, 1, dtype=torch.float64), torch.ones(1, 1, 1, dtype=torch.float64))
    squashed = Squashed(base, -1, 1)
    assert squashed.log_prob(torch.tensor([[-1.0], [1.0], [1 - 1e-12]]).double()).isfinite().all()


def test_kl_of_squashed_laws_is_that_below_the_bijection() -> None:
    """KL(a‖b) = ∫ p_a log(p_a/p_b) by quadrature."""
    laws = [
        Squashed(Normal(torch.tensor([[m]]).double(), torch.tensor([[[s]]]).double()), 0, 1)
        for m, s in ((0.3, 0.6), (-0.2, 0.8))
    ]
    logs = [lambda a, p=p: p.log_prob(torch.tensor([[a]]).double()).item() for p in laws]
    integral = quad(lambda a: exp(logs[0](a)) * (logs[0](a) - logs[1](a)), 0, 1, epsabs=1e-11)[0]
    assert laws[0].kl(laws[1]).item() == pytest.approx(integral, abs=1e-8)


def test_bad_bounds_are_refused() -> None:
    base = Normal(torch.zeros(1, 1), torch.ones(1, 1, 1))
    with pytest.raises(ValueError, match="expected low < high, got 2 and 1"):
        Squashed(base, 2, 1)
    with pytest.raises(ValueError, match="same bounds"):
        Squashed(base, 0, 1).kl(Squashed(base, 0, 2))
