"""DGPO: released numbers, weights written out, their limits, the clip, its times and policies."""

from dataclasses import replace
from math import exp

import pytest
import torch
from torch import Tensor

from scoreward.objectives.samples.answers import PairRows
from scoreward.objectives.samples.dgpo import DGPO
from tests.core.laws import F64, real
from tests.objectives.learning import ODE, trainer
from tests.objectives.pairing import (
    GROUP,
    RELEASED,
    asked,
    derivative,
    error_of,
    near,
    policy,
    prepared,
    slope,
)

N, CLOSE = RELEASED["dgpo"], RELEASED["tolerance"]
BARE = DGPO(anchor=0.0, clip=None)


def errors(rows: PairRows, velocity: Tensor | None) -> Tensor:
    assert velocity is not None
    return error_of(velocity, rows)


# Released numbers: four samples of a group at two times


def published(objective: DGPO) -> tuple[Tensor, Tensor, Tensor]:
    """(weights, losses of every sample and time, gradient of their mean)."""
    error = torch.tensor(N["error"], dtype=F64, requires_grad=True)
    first, slow = (torch.tensor(N[k], dtype=F64) for k in ("reference", "slow"))
    advantage, group = real(*N["advantage"]), torch.zeros(4, dtype=torch.long)
    weight = objective.weights(advantage, error.detach(), first, group)
    each = weight * advantage[:, None] * objective.clipped(advantage, error, slow)
    (gradient,) = torch.autograd.grad(each.mean(), error)
    return weight, each.detach(), gradient


def test_released_weights_losses_and_gradient() -> None:
    """[dgpo] (weight), [dgpo] (clip), [dgpo] (loss): what is cut keeps its value."""
    weight, each, gradient = published(DGPO(beta=N["beta"], clip=N["clip"]))
    near(weight, [N["weights"]] * 4, CLOSE)
    near(each.mean(0), N["losses"], CLOSE)
    near(gradient, N["gradient"], CLOSE)


def test_released_weight_of_whole_samples() -> None:
    weight, each, _ = published(DGPO(beta=N["beta"], clip=N["clip"], weight="sample"))
    near(weight, [[N["sample_weight"]] * 2] * 4, CLOSE)
    near(each.mean(), N["sample_loss"], CLOSE)


# Weights


@pytest.mark.parametrize("weight", ["time", "sample"])
def test_the_weight_of_a_group_is_written_out(weight: str) -> None:
    """[dgpo] (weight): sigmoid(Σ A β (ℓ − ℓ_ref)/G), a number per group and time, no gradient."""
    using, objective = policy(0.4), replace(BARE, beta=2.0, weight=weight)
    rows = prepared(objective, using)
    error, first = errors(rows, asked(using, rows)), errors(rows, rows.reference)
    expected, change = torch.empty_like(first), (error - first).detach()
    for g in range(3):
        for j in range(4):
            total = 0.0
            for i in range(4 * g, 4 * g + 4):
                gain = change[i, j] if weight == "time" else change[i].mean()
                total += 2.0 * (rows.advantage[i] * gain).item()
            expected[4 * g : 4 * g + 4, j] = 1 / (1 + exp(-total / 4))
    loss, metrics = objective.loss(rows, using)
    value = (expected * rows.advantage[:, None] * error).mean()
    torch.testing.assert_close(loss, value)
    torch.testing.assert_close(metrics["weight/mean"], expected.mean())
    torch.testing.assert_close(slope(objective, using), derivative(value, using))
    assert expected.std(1).max() > 0.01 or weight == "sample"
    assert expected.max() - expected.min() > 0.01


def test_at_the_reference_the_gradient_is_half_of_the_advantage_weighted_one() -> None:
    """[dgpo] (weight): sigmoid(0) = ½, by hand."""
    using = policy(0.0, reference=0.0)
    rows = prepared(BARE, using)
    half = 0.5 * (rows.advantage[:, None] * errors(rows, asked(using, rows))).mean()
    torch.testing.assert_close(slope(BARE, using), derivative(half, using))


def test_a_beta_near_nought_is_half_of_advantage_weighted_matching_anywhere() -> None:
    """[dgpo] (weight): sigmoid(0) = ½, also far from the reference."""
    using, objective = policy(0.6), replace(BARE, beta=1e-12)
    rows = prepared(objective, using)
    half = 0.5 * (rows.advantage[:, None] * errors(rows, asked(using, rows))).mean()
    torch.testing.assert_close(slope(objective, using), derivative(half, using))


def test_a_large_beta_silences_groups_that_already_prefer_their_better_samples() -> None:
    using, objective = policy(0.4), replace(BARE, beta=1e6, weight="sample")
    rows = prepared(objective, using)
    change = errors(rows, asked(using, rows)) - errors(rows, rows.reference)
    gain = rows.advantage * change.mean(1)
    prefers = torch.stack([gain[g == GROUP].sum() < 0 for g in range(3)])
    assert prefers.any()
    assert not prefers.all()
    got = slope(objective, using)
    assert not got[prefers].any()
    assert got[~prefers].abs().min() > 0


def test_another_groups_samples_do_not_move_a_groups_weight() -> None:
    using, objective = policy(0.4), replace(BARE, beta=2.0)
    rows = prepared(objective, using)
    alone = objective.loss(rows[4:8], using)[1]["weight/mean"]
    turned = replace(rows, advantage=torch.where(GROUP == 1, rows.advantage, -rows.advantage))
    pieces = [objective.loss(turned[4 * g : 4 * g + 4], using)[1]["weight/mean"] for g in range(3)]
    torch.testing.assert_close(pieces[1], alone)
    whole = objective.loss(turned, using)[1]["weight/mean"]
    torch.testing.assert_close(whole, torch.stack(pieces).mean())


def test_the_slow_average_may_stand_in_for_the_reference_in_the_weight_alone() -> None:
    """[dgpo] (weight): the anchor still holds to the first model."""
    using = policy(0.4)
    slow = replace(BARE, beta=2.0, reference="slow", anchor=0.5)
    rows = prepared(slow, using)
    swapped = replace(rows, reference=rows.slow)
    plain = replace(BARE, beta=2.0)
    distance = (asked(using, rows) - rows.reference).square().mean()  # pyright: ignore
    expected = plain.loss(swapped, using)[0] + 0.5 * distance
    torch.testing.assert_close(slow.loss(rows, using)[0], expected)
    assert not torch.allclose(expected, replace(plain, anchor=0.5).loss(rows, using)[0])


# The clip


def test_the_clip_stops_samples_that_have_gone_far_enough_at_a_time() -> None:
    """[dgpo] (clip): by the ratio to the slow average; ℓ keeps its value, A = 0 counts as worse."""
    using, objective = policy(0.0), DGPO(anchor=0.0, beta=1e-12, clip=0.02)
    rows = prepared(objective, using)
    rows = replace(rows, advantage=torch.where(GROUP == 1, 0.0, rows.advantage))
    error, slow, a = errors(rows, asked(using, rows)), errors(rows, rows.slow), rows.advantage
    done = torch.zeros_like(error, dtype=torch.bool)
    for i in range(12):
        for j in range(4):
            rho = exp(slow[i, j].item() - error[i, j].item())
            done[i, j] = rho > 1.02 if a[i] > 0 else rho < 0.98
    assert 5 <= done.sum() <= 43
    loss = objective.loss(rows, using)[0]
    torch.testing.assert_close(loss, 0.5 * (a[:, None] * error).mean())
    expected = 0.5 * (~done * a[:, None] * error).mean()
    torch.testing.assert_close(derivative(loss, using), derivative(expected, using))


def test_the_two_sides_of_the_clip_are_those_of_the_ratio() -> None:
    """[dgpo] (clip): ln 1.05 = 0.0488 above and −ln 0.95 = 0.0513 below, not 0.05 twice."""
    error = torch.full((3, 4), 1.0, dtype=F64, requires_grad=True)
    moved = real(0.0487, 0.0489, -0.0512, -0.0514).expand(3, 4)
    kept = DGPO(clip=0.05).clipped(real(1.0, -1.0, 0.0), error, error.detach() + moved)
    (gradient,) = torch.autograd.grad(kept.sum(), error)
    assert gradient.tolist() == [[1, 0, 1, 1], [1, 1, 1, 0], [1, 1, 1, 0]]


def test_a_clip_that_nothing_reaches_changes_nothing() -> None:
    using = policy(-0.19)  # the slow average is at −0.2
    torch.testing.assert_close(slope(replace(BARE, clip=0.9), using), slope(BARE, using))


@pytest.mark.parametrize("clip", [None, 0.01])
def test_the_slow_average_is_asked_for_the_clip_and_the_old_policy_never(
    clip: float | None,
) -> None:
    rows = prepared(DGPO(clip=clip), policy(0.2))
    assert rows.old is None
    assert (rows.slow is not None) == (clip is not None)
    assert rows.reference is not None


# Times and policies


def test_only_the_noisiest_times_are_trained_and_the_whole_batch_shares_them() -> None:
    """[dgpo] (timesteps): of eight steps the first five, or four; noise is the group's own."""
    using = policy()
    grid = torch.tensor(using.times, dtype=F64)
    for fraction, last in ((0.7, 5), (0.5, 4)):
        rows = prepared(DGPO(fraction=fraction), using)
        assert len(rows.pairs.t.unique(dim=0)) == 1
        assert len(rows.pairs.t[0].unique()) == 4
        assert rows.pairs.t.min() >= grid[last - 1] - 1e-6
        assert len(rows.pairs.eps.unique(dim=0)) == 3
        assert len(rows.pairs.eps.flatten(0, 1).unique(dim=0)) == 12
    with pytest.raises(ValueError, match="cannot draw 4 different times out of 2"):
        prepared(DGPO(fraction=0.25), using)


def test_the_slow_average_follows_and_later_draws_the_samples() -> None:
    """[dgpo] (slow policy): min(0.3, 0.001 k); rollouts are the current policy's until k > K."""
    objective = DGPO(samples_after=200)
    assert [objective.slow_decay(k) for k in (0, 100, 300, 900)] == [0, 0.1, 0.3, 0.3]
    assert [objective.old_decay(k) for k in (0, 200, 201, 900)] == [0, 0, 0.201, 0.3]
    run, model = trainer(DGPO(anchor=0.0, samples_after=2), ODE)
    (mean,) = model.network.parameters()
    slow = old = live = mean.detach().clone()
    for k in range(6):
        live, d = mean.detach().clone(), 0.001 * k
        slow = d * slow + (1 - d) * live
        old = d * old + (1 - d) * live if k > 2 else live
        run.step()
    torch.testing.assert_close(run.weights.snapshot("slow")["mean"], slow)
    torch.testing.assert_close(run.weights.snapshot("old")["mean"], old)
    assert not torch.equal(old, live)


def test_defaults_are_those_of_the_public_configurations() -> None:
    o = DGPO()
    assert (o.clip, o.anchor, o.beta, o.anchor_guidance) == (1e-2, 0.02, 100, 1)
    assert (o.pairs, o.weight, o.reference, o.samples_after) == (4, "time", "first", 200)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"beta": 0.0}, "`beta` > 0"),
        ({"samples_after": -1}, "`samples_after` >= 0"),
        ({"clip": 1.0}, "`clip` must be in"),
        ({"clip": 0.0}, "`clip` must be in"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DGPO(**wrong)  # pyright: ignore[reportArgumentType]
