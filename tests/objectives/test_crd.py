"""CRD: its least squares written out, where it rests, and its old policy that may lag behind."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoreward.objectives.answers import PairRows
from scoreward.objectives.crd import CRD
from scoreward.objectives.vgrpo import VGRPO
from scoreward.training.geometry import Geometry
from tests.objectives.learning import ODE, trainer
from tests.objectives.pairing import asked, derivative, policy, prepared, slope

BARE = CRD(anchor=0.0)


def normalised(velocity: Tensor | None, rows: PairRows) -> Tensor:
    """mean over pairs of mean(e²)/mean|e|, the size a constant."""
    assert velocity is not None
    e = velocity - (rows.pairs.eps - rows.x0[:, None])
    return (e.square().mean(2) / e.detach().abs().mean(2)).mean(1)


def centred(value: Tensor) -> Tensor:
    each = value.reshape(3, 4)
    return (each - each.mean(1, keepdim=True)).flatten()


def test_the_loss_and_its_gradient_off_policy() -> None:
    """[crd] (implicit reward), [crd] (loss): the group's mean of r_θ carries no gradient."""
    using, objective = policy(0.3), replace(BARE, beta=2.0)
    rows = prepared(objective, using)
    implicit = normalised(rows.old, rows) - normalised(asked(using, rows), rows)
    external = (rows.advantage / 10 + 0.5).clamp(0, 1)
    gap = (2.0 * centred(implicit) - centred(external)).detach()
    loss, metrics = objective.loss(rows, using)
    torch.testing.assert_close(loss, (gap**2).mean() * 5 / 2.0)
    torch.testing.assert_close(metrics["implicit/mean"], implicit.mean().detach())
    expected = derivative((2 * gap * 2.0 * implicit).mean() * 5 / 2.0, using)
    torch.testing.assert_close(slope(objective, using), expected)


def test_the_centre_of_the_implicit_reward_is_a_constant() -> None:
    """Its gradient would matter off-policy only: Σ of the gaps of a group is 0 with it or not."""
    using = policy(0.3)
    rows = prepared(BARE, using)
    implicit = normalised(rows.old, rows) - normalised(asked(using, rows), rows)
    external = rows.advantage / 10 + 0.5
    through = ((centred(implicit) - centred(external)) ** 2).mean() * 5
    torch.testing.assert_close(slope(BARE, using), derivative(through, using))


@pytest.mark.parametrize("beta", [0.2, 1.0, 7.0])
def test_at_the_old_policy_it_is_vgrpo_of_velocities(beta: float) -> None:
    """[crd] (loss): −2·5 E[(r − mean r) ∇r_θ] = E[A ∇ℓ] for every β while |A| ≤ 5."""
    using = policy()
    vgrpo = VGRPO(prediction="velocity", soft_clip=None, clip=None)
    torch.testing.assert_close(slope(replace(BARE, beta=beta), using), slope(vgrpo, using))
    moved = policy(0.4)
    assert not torch.allclose(slope(replace(BARE, beta=beta), moved), slope(vgrpo, moved))


def test_it_rests_where_the_two_rewards_differ_by_a_constant_of_the_prompt() -> None:
    """[crd] (loss): external = β r_θ + anything of the group."""
    using, objective = policy(0.3), replace(BARE, beta=0.7)
    rows = prepared(objective, using)
    implicit = (normalised(rows.old, rows) - normalised(asked(using, rows), rows)).detach()
    wanted = 10 * 0.7 * centred(implicit) + torch.tensor([0.3, -0.2, 0.1]).repeat_interleave(4)
    assert wanted.abs().max() < 5
    there = replace(rows, advantage=wanted)
    loss, _ = objective.loss(there, using)
    assert loss < 1e-25
    assert derivative(objective.loss(there, using)[0], using).abs().max() < 1e-12


def test_external_rewards_are_cut_like_probabilities() -> None:
    """[crd] (loss): advantages of ±9 count as ±5, so the rows cannot tell them apart."""
    using = policy(0.3)
    rows = prepared(BARE, using)
    losses = [
        BARE.loss(replace(rows, advantage=size * rows.advantage.sign()), using)[0]
        for size in (4.0, 5.0, 9.0)
    ]
    torch.testing.assert_close(losses[1], losses[2])
    assert (losses[0] - losses[1]).abs() > 1e-3


def test_the_old_policy_may_lag_behind() -> None:
    """The old policy samples and is compared with: old ← d old + (1 − d) current."""
    run, model = trainer(replace(BARE, decay=0.5), ODE, Geometry(4, 4))
    (mean,) = model.network.parameters()
    old = mean.detach().clone()
    implicit = []
    for _ in range(3):
        old = 0.5 * old + 0.5 * mean.detach()
        implicit.append(run.step().metrics["implicit/mean"])
    torch.testing.assert_close(run.weights.snapshot("old")["mean"], old)
    assert abs(implicit[-1]) > 1e-4
    copied, _ = trainer(BARE, ODE, Geometry(4, 4))
    assert [copied.step().metrics["implicit/mean"] for _ in range(3)] == [0.0] * 3


@pytest.mark.parametrize("wrong", [{"beta": 0.0}, {"bound": 0.0}, {"decay": 1.0}, {"decay": -0.1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected `beta` > 0, `bound` > 0 and `decay` in"):
        CRD(**wrong)  # pyright: ignore[reportArgumentType]
