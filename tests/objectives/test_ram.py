"""RAM: its gradient away from the reference, where it rests, and what it never asks."""

from dataclasses import replace

import torch

from scoreward.objectives.answers import Answers
from scoreward.objectives.ram import RAM
from tests.objectives.pairing import FLOW, policy, prepared, slope


def answers(objective: RAM, new: torch.Tensor | None = None) -> Answers:
    rows = prepared(objective, policy(0.3))
    assert rows.reference is not None
    velocity = rows.reference + 0.1 if new is None else new
    return Answers(rows, FLOW, velocity, velocity)


def test_the_gradient_away_from_the_reference() -> None:
    """[ram] (loss): 2 (v − v_ref − R (v* − v)) over all numbers; the target is a constant."""
    objective = RAM(signal="reward", scale=0.5)
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
    loss, _ = RAM(scale=0.4).matching(answers(RAM(), rest))
    assert loss < 1e-25
    moved, _ = RAM(scale=0.4).matching(answers(RAM(), rest + 0.1))
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


def test_the_old_policy_is_never_asked() -> None:
    rows = prepared(RAM(), policy())
    assert rows.old is None
    assert rows.reference is not None
