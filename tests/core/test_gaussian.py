"""The one density of the library against torch.distributions."""

import torch
from torch.distributions import Normal, kl_divergence

from scoreward.core.gaussian import Gaussian
from scoreward.core.keys import Key
from tests.core.laws import F64

KEY = Key(("gaussian",))
MEAN, OTHER, X = ((KEY / name).normal(3, 2, 5, dtype=F64) for name in ("mean", "other", "x"))
STD = torch.tensor([0.5, 1.0, 3.0], dtype=F64).reshape(3, 1, 1)


def test_log_prob_is_the_sum_over_the_event() -> None:
    expected = Normal(MEAN, STD).log_prob(X).sum((1, 2))
    torch.testing.assert_close(Gaussian(MEAN, STD).log_prob(X), expected)


def test_kl_is_the_sum_over_the_event_and_goes_from_self_to_other() -> None:
    law, other = Gaussian(MEAN, STD), Gaussian(OTHER, STD.flip(0))
    expected = kl_divergence(Normal(MEAN, STD), Normal(OTHER, STD.flip(0))).sum((1, 2))
    torch.testing.assert_close(law.kl(other), expected)
    assert not torch.allclose(law.kl(other), other.kl(law))


def test_kl_to_itself_is_zero() -> None:
    law = Gaussian(MEAN, STD)
    assert torch.equal(law.kl(law), torch.zeros(3, dtype=F64))


def test_a_sample_is_the_mean_plus_scaled_noise() -> None:
    torch.testing.assert_close(
        Gaussian(MEAN, STD).sample(X), Normal(MEAN, STD).icdf(Normal(0, 1).cdf(X))
    )


def test_a_point_mass_draws_its_mean() -> None:
    assert torch.equal(Gaussian(MEAN, 0 * STD).sample(X), MEAN)
