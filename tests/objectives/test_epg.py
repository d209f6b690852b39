"""EPG: the cut of its detached ratio, and its distance to the reference."""

import pytest
import torch

from scoreward.advantage import Advantages
from scoreward.objectives.epg import EPG
from tests.core.laws import F64
from tests.objectives.pairing import (
    GROUP,
    KEY,
    asked,
    derivative,
    error_of,
    policy,
    prepared,
    slope,
)


def test_a_ratio_beyond_its_bound_weighs_as_the_bound_and_still_teaches() -> None:
    """[epg] (objective): E[min(ρ, c) A ∇ℓ] with a constant weight, where a clip would stop."""
    using, objective = policy(0.4), EPG(ratio_bound=1.0)
    rows = prepared(objective, using)
    assert rows.old is not None
    error = error_of(asked(using, rows), rows).mean(1)
    rho = (error_of(rows.old, rows).mean(1) - error).exp().detach()
    assert (rho > 1.01).any()
    assert (rho < 0.99).any()
    weighted = (rho.clamp(max=1.0) * rows.advantage * error).mean()
    torch.testing.assert_close(slope(objective, using), derivative(weighted, using))
    loss, metrics = objective.loss(rows, using)
    torch.testing.assert_close(loss, weighted)
    assert metrics["ratio/max"] == 1.0
    torch.testing.assert_close(metrics["ratio/min"], rho.min())


def test_the_distance_to_the_reference_off_policy() -> None:
    """[epg] (objective): β mean ρ (log π − log π_ref), the ratio a constant."""
    using, objective = policy(0.2), EPG(elbo_kl=0.3)
    rows = prepared(objective, using)
    assert rows.old is not None
    assert rows.reference is not None
    log_p = -error_of(asked(using, rows), rows).mean(1)
    old, first = (-error_of(v, rows).mean(1) for v in (rows.old, rows.reference))
    rho = (log_p - old).exp().detach()
    loss, metrics = objective.loss(rows, using)
    distance = (rho * (log_p - first)).mean()
    torch.testing.assert_close(metrics["kl/elbo"], distance.detach())
    torch.testing.assert_close(loss, EPG().loss(rows, using)[0] + 0.3 * distance)
    torch.testing.assert_close(
        slope(objective, using) - slope(EPG(), using), derivative(0.3 * distance, using)
    )


def test_the_distance_is_nought_at_the_reference_but_its_slope_is_not() -> None:
    using = policy(0.0, reference=0.0)
    rows = prepared(EPG(elbo_kl=1.0), using)
    _, metrics = EPG(elbo_kl=1.0).loss(rows, using)
    assert metrics["kl/elbo"].abs() < 1e-12
    log_p = -error_of(asked(using, rows), rows).mean()
    pull = slope(EPG(elbo_kl=1.0), using) - slope(EPG(), using)
    torch.testing.assert_close(pull, derivative(log_p, using))
    assert pull.abs().max() > 1e-3


def test_all_three_policies_answer_on_the_same_pairs() -> None:
    """With the old policy as the reference the distance is mean ρ log ρ."""
    using = policy(0.3, reference=0.0)
    _, metrics = EPG(elbo_kl=1.0).loss(prepared(EPG(elbo_kl=1.0), using), using)
    rows = prepared(EPG(), using)
    assert rows.reference is None
    assert rows.old is not None
    log_ratio = (error_of(rows.old, rows) - error_of(asked(using, rows), rows)).mean(1).detach()
    torch.testing.assert_close(metrics["kl/elbo"], (log_ratio.exp() * log_ratio).mean())


def test_its_advantages_keep_the_size_of_the_rewards() -> None:
    """Rewards ten times as large give ten times the gradient, where a deviation would cancel it."""
    reward, one = (KEY / "reward").normal(12, dtype=F64), torch.ones(1, dtype=F64)
    plain, large = (Advantages(scale="none")(f * reward[None], one, GROUP) for f in (0.1, 1.0))
    torch.testing.assert_close(large, 10 * plain)
    by_hand = reward.reshape(3, 4) - reward.reshape(3, 4).mean(1, keepdim=True)
    torch.testing.assert_close(large, by_hand.flatten())


@pytest.mark.parametrize("wrong", [{"elbo_kl": -0.1}, {"ratio_bound": 0.5}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected `elbo_kl` >= 0 and `ratio_bound` >= 1, got"):
        EPG(**wrong)  # pyright: ignore[reportArgumentType]
