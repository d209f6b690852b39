"""FPO: the ratio and its cut written out, and V-GRPO where the two are the same."""

from dataclasses import replace
from math import exp

import pytest
import torch

from scoreward.objectives.samples.answers import Answers
from scoreward.objectives.samples.fpo import FPO
from scoreward.objectives.samples.vgrpo import VGRPO
from tests.objectives.pairing import FLOW, asked, derivative, error_of, policy, prepared, slope


def test_the_ratio_is_of_mean_errors_and_goes_into_the_clipped_loss() -> None:
    """[fpo] (ratio), off-policy: −E min(ρA, clip(ρ)A) with ρ from errors written out."""
    using, objective = policy(0.4), FPO(clip=0.05)
    rows = prepared(objective, using)
    assert rows.old is not None
    gain = error_of(rows.old, rows) - error_of(asked(using, rows), rows)
    rho, a = gain.mean(1).exp(), rows.advantage
    loss, metrics = objective.loss(rows, using)
    expected = -torch.minimum(rho * a, rho.clamp(0.95, 1.05) * a).mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(metrics["ratio/max"], rho.max().detach())
    above = ((rho > 1.05) & (a > 0)).to(a).mean()
    torch.testing.assert_close(metrics["clip/above"], above)
    assert 0 < above < 1
    assert gain.shape == (12, 8)


def test_the_exponent_is_cut_after_the_mean_over_pairs() -> None:
    """[fpo] (ratio): gains of 5 and −3 on two pairs are 1 on average, which is inside ±3."""
    rows = prepared(FPO(pairs=2), policy())
    target = rows.pairs.eps - rows.x0[:, None]

    def off(*errors: float) -> torch.Tensor:
        return target + torch.tensor(errors, dtype=target.dtype)[None, :, None] ** 0.5

    def ratio(new: torch.Tensor, old: torch.Tensor) -> float:
        return FPO(clip=None).matching(Answers(rows, FLOW, new, old))[1]["ratio/mean"].item()

    assert ratio(off(0, 3), off(5, 0)) == pytest.approx(exp(1))
    assert ratio(off(0, 0), off(9, 9)) == pytest.approx(exp(3))
    assert ratio(off(9, 9), off(0, 0)) == pytest.approx(exp(-3))


def test_beyond_the_cut_nothing_is_learned() -> None:
    using = policy(3.0)
    assert slope(FPO(clip=None, bound=1e-9), using).abs().max() == 0
    assert slope(FPO(clip=None, bound=None), using).abs().max() > 0


def test_vgrpo_with_plain_velocity_errors_is_fpo() -> None:
    using = policy(0.2)
    vgrpo = VGRPO(prediction="velocity", adaptive=False, soft_clip=None, clip=0.05)
    torch.testing.assert_close(slope(FPO(pairs=4), using), slope(vgrpo, using))
    assert not torch.allclose(slope(FPO(pairs=4), using), slope(VGRPO(clip=0.05), using))


def test_the_gradient_at_the_old_policy_is_advantage_weighted_matching() -> None:
    """E[A ∇ℓ], whatever clip and cut."""
    using = policy()
    rows = prepared(FPO(), using)
    error = error_of(asked(using, rows), rows).mean(1)
    expected = derivative((rows.advantage * error).mean(), using)
    for objective in (FPO(), FPO(clip=None, bound=None), replace(FPO(), clip=1e-6)):
        torch.testing.assert_close(slope(objective, using), expected)


@pytest.mark.parametrize(("name", "value"), [("clip", 0.0), ("bound", -3.0)])
def test_bounds_that_would_leave_nothing_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"`{name}` must be positive or None, got {value}"):
        FPO(**{name: value})  # pyright: ignore[reportArgumentType]
