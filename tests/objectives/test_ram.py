"""RAM: released numbers, its gradient away from the reference, where it rests, whom it asks."""

from dataclasses import replace

import pytest
import torch

from scoreward.objectives.samples.answers import Answers
from scoreward.objectives.samples.ram import RAM
from tests.objectives.pairing import (
    FLOW,
    RELEASED,
    asked,
    derivative,
    near,
    policy,
    prepared,
    published_answers,
    released,
    released_answers,
    slope,
)

CURRENT = RAM(residual="current")


@pytest.mark.parametrize(
    ("name", "objective", "networks"),
    [
        ("old", RAM(), ("new", "old")),
        ("current", CURRENT, ("new", "old")),
        ("old_twice", RAM(scale=2.0), ("new", "old")),
        ("at_reference", RAM(), ("reference", "reference")),
    ],
)
def test_released_losses_and_slopes(name: str, objective: RAM, networks: tuple[str, str]) -> None:
    """[ram] (loss)"""
    network = released(networks[0])
    advantage = published_answers().rows.advantage
    loss, _ = objective.matching(released_answers(network, advantage, networks[1]))
    (gradient,) = torch.autograd.grad(loss, network)
    near(torch.stack([loss.detach(), gradient[0]]), RELEASED["ram"][name], RELEASED["tolerance"])


def test_the_shift_is_measured_from_the_policy_that_sampled() -> None:
    """[ram] (loss): off-policy, 2 (v − v_ref − m R (v* − v_old)) ∇v.

    With rewards, since these policies move a whole group alike and advantages add up to 0 in it.
    """
    using, objective = policy(0.4), RAM(signal="reward", scale=0.7)
    rows = prepared(objective, using)
    assert rows.reference is not None
    assert rows.old is not None
    v = asked(using, rows)
    shift = 0.7 * rows.reward[:, None, None] * (rows.pairs.eps - rows.x0[:, None] - rows.old)
    gap = (v - rows.reference - shift).detach()
    torch.testing.assert_close(slope(objective, using), derivative((2 * gap * v).mean(), using))
    current = replace(objective, residual="current")
    assert not torch.allclose(slope(objective, using), slope(current, using))


def test_at_the_old_policy_it_does_not_matter_whose_velocity_it_is() -> None:
    torch.testing.assert_close(slope(RAM(), policy()), slope(CURRENT, policy()))


def answers(objective: RAM, new: torch.Tensor | None = None) -> Answers:
    rows = prepared(objective, policy(0.3))
    assert rows.reference is not None
    velocity = rows.reference + 0.1 if new is None else new
    return Answers(rows, FLOW, velocity, velocity)


def test_the_gradient_away_from_the_reference() -> None:
    """[ram] (loss): 2 (v − v_ref − R (v* − v)) over all numbers; the target is a constant."""
    objective = replace(CURRENT, signal="reward", scale=0.5)
    made = answers(objective)
    new = made.new.clone().requires_grad_()
    loss, metrics = objective.matching(replace(made, new=new))
    (got,) = torch.autograd.grad(loss, new)
    rows, v = made.rows, made.new
    assert rows.reference is not None
    signal = 0.5 * rows.reward[:, None, None]
    gap = v - rows.reference - signal * (rows.pairs.eps - rows.x0[:, None] - v)
    torch.testing.assert_close(got, 2 * gap / gap.numel())
    torch.testing.assert_close(loss.detach(), gap.square().mean())
    assert not metrics["error/mean"].requires_grad


def test_it_rests_between_the_reference_and_the_sample() -> None:
    """[ram] (loss): v = (v_ref + R v*)/(1 + R) is its own target, for every R > −1."""
    rows = answers(RAM()).rows
    assert rows.reference is not None
    r = 0.4 * rows.advantage[:, None, None]
    assert r.min() > -1
    rest = (rows.reference + r * (rows.pairs.eps - rows.x0[:, None])) / (1 + r)
    loss, _ = replace(CURRENT, scale=0.4).matching(answers(RAM(), rest))
    assert loss < 1e-25
    moved, _ = replace(CURRENT, scale=0.4).matching(answers(RAM(), rest + 0.1))
    assert moved > 0.005


def test_without_a_signal_it_returns_to_the_reference() -> None:
    made = answers(RAM(scale=0.0))
    loss, _ = RAM(scale=0.0).matching(made)
    torch.testing.assert_close(loss.item(), 0.01)


def test_turned_rewards_turn_the_gradient_at_the_reference_only() -> None:
    """Away from it the pull back stays as it is."""
    at, away = policy(0.0, reference=0.0), policy(0.0, reference=-0.5)
    torch.testing.assert_close(slope(RAM(), at, -1.0), -slope(RAM(), at))
    back = slope(RAM(scale=0.0), away)
    torch.testing.assert_close(slope(RAM(), away, -1.0) - back, back - slope(RAM(), away))
    assert back.abs().max() > 1e-3


def test_raw_and_centred_rewards_differ_by_the_prompts_mean() -> None:
    """A reward that a whole prompt shares teaches with signal="reward", not with "advantage"."""
    using = policy(0.0, reference=0.0)
    assert not torch.allclose(slope(RAM(signal="reward"), using), slope(RAM(), using))
    rows = prepared(RAM(), using)
    raised = replace(rows, reward=rows.reward + 7.0)
    for objective, same in ((RAM(signal="advantage"), True), (RAM(signal="reward"), False)):
        losses = [objective.loss(r, using)[0].item() for r in (rows, raised)]
        assert (abs(losses[0] - losses[1]) < 1e-12) == same


def test_the_old_policy_is_asked_for_its_velocity_alone() -> None:
    assert prepared(RAM(), policy()).old is not None
    rows = prepared(CURRENT, policy())
    assert rows.old is None
    assert rows.reference is not None


def test_every_time_but_one_with_noise_of_its_own() -> None:
    rows = prepared(RAM(), policy())
    assert rows.pairs.t.shape == (12, 7)
    assert len(rows.pairs.eps.flatten(0, 1).unique(dim=0)) == 12 * 7
