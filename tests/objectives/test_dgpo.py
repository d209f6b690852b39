"""DGPO: weights of groups written out, their limits, and the clip sample by sample."""

from dataclasses import replace
from math import exp

import pytest
import torch
from torch import Tensor

from scoreward.objectives.answers import PairRows
from scoreward.objectives.dgpo import DGPO
from tests.objectives.pairing import GROUP, asked, derivative, error_of, policy, prepared, slope


def errors(rows: PairRows, velocity: Tensor | None) -> Tensor:
    assert velocity is not None
    return error_of(velocity, rows).mean(1)


def test_the_weight_of_a_group_is_written_out() -> None:
    """[dgpo] (weight): sigmoid(Σ A β (ℓ − ℓ_ref)/G), one number per group, without gradient."""
    using, objective = policy(0.4), DGPO(beta=2.0)
    rows = prepared(objective, using)
    error, first = errors(rows, asked(using, rows)), errors(rows, rows.reference)
    weight = torch.empty_like(first)
    for g in range(3):
        total = 0.0
        for i in range(4 * g, 4 * g + 4):
            total += 2.0 * (rows.advantage[i] * (error[i] - first[i])).item()
        weight[4 * g : 4 * g + 4] = 1 / (1 + exp(-total / 4))
    loss, metrics = objective.loss(rows, using)
    expected = (weight * rows.advantage * error).mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(metrics["weight/mean"], weight.mean())
    torch.testing.assert_close(slope(objective, using), derivative(expected, using))
    assert weight.max() - weight.min() > 0.01


def test_a_beta_near_nought_is_half_of_advantage_weighted_matching_anywhere() -> None:
    """[dgpo] (weight): sigmoid(0) = ½, also far from the reference."""
    using, objective = policy(0.6), DGPO(beta=1e-12)
    rows = prepared(objective, using)
    half = 0.5 * (rows.advantage * errors(rows, asked(using, rows))).mean()
    torch.testing.assert_close(slope(objective, using), derivative(half, using))


def test_a_large_beta_silences_groups_that_already_prefer_their_better_samples() -> None:
    using = policy(0.4)
    rows = prepared(DGPO(), using)
    gain = rows.advantage * (errors(rows, asked(using, rows)) - errors(rows, rows.reference))
    prefers = torch.stack([gain[g == GROUP].sum() < 0 for g in range(3)])
    assert prefers.any()
    assert not prefers.all()
    got = slope(DGPO(beta=1e6), using)
    assert not got[prefers].any()
    assert got[~prefers].abs().min() > 0


def test_the_clip_drops_samples_that_have_gone_far_enough() -> None:
    """Better samples whose error fell by more than the clip, worse ones whose error rose so."""
    using, objective = policy(0.2), DGPO(beta=1e-12, clip=0.02)
    rows = prepared(objective, using)
    error, old, a = errors(rows, asked(using, rows)), errors(rows, rows.old), rows.advantage
    done = [
        (o - e > 0.02 and w > 0) or (e - o > 0.02 and w < 0)
        for e, o, w in zip(error.tolist(), old.tolist(), a.tolist(), strict=True)
    ]
    assert 2 <= sum(done) <= 10
    kept = 1 - torch.tensor(done).to(a)
    expected = 0.5 * (kept * a * error).mean()
    torch.testing.assert_close(objective.loss(rows, using)[0], expected)
    torch.testing.assert_close(slope(objective, using), derivative(expected, using))


@pytest.mark.parametrize("clip", [None, 0.01])
def test_the_old_policy_is_asked_for_the_clip_alone(clip: float | None) -> None:
    rows = prepared(DGPO(clip=clip), policy(0.2))
    assert (rows.old is not None) == (clip is not None)
    assert rows.reference is not None


def test_another_groups_samples_do_not_move_a_groups_weight() -> None:
    using, objective = policy(0.4), DGPO(beta=2.0)
    rows = prepared(objective, using)
    alone = objective.loss(rows[4:8], using)[1]["weight/mean"]
    turned = replace(rows, advantage=torch.where(GROUP == 1, rows.advantage, -rows.advantage))
    pieces = [objective.loss(turned[4 * g : 4 * g + 4], using)[1]["weight/mean"] for g in range(3)]
    torch.testing.assert_close(pieces[1], alone)
    whole = objective.loss(turned, using)[1]["weight/mean"]
    torch.testing.assert_close(whole, torch.stack(pieces).mean())
