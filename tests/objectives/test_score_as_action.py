"""Score as action: exact KL, advantages that add up, limits that are other methods."""

from dataclasses import replace

import pytest
import torch

from scoreward.core.kernel import (
    DDIM,
    generalised,
)
from scoreward.core.policy import DiffusionPolicy, Rollout
from scoreward.core.prediction import Prediction
from scoreward.core.process import DiscreteVP
from scoreward.objectives.paths.actions import ActionRows, normalised, step_kl
from scoreward.objectives.paths.ddpo import DDPO
from scoreward.objectives.paths.denoised_value import DenoisedValue
from scoreward.objectives.paths.replay import kernel_of
from scoreward.objectives.paths.score_as_action import ScoreAsAction, released
from scoreward.objectives.paths.visited import States, following
from tests.core.laws import F64, real
from tests.objectives import p1, rollouts
from tests.objectives.learning import SDE, START, learned
from tests.objectives.p1 import Shifted, acting, chain

BARE = ScoreAsAction(normalise="none", bound=None, clip=None, per_dimension=False)
# KL of a step


def table_grid(process: DiscreteVP) -> tuple[float, ...]:
    """The 50 steps of a Stable Diffusion pipeline with leading spacing and offset 1."""
    return (*(process.time_of(k) for k in range(981, 0, -20)), process.time_of(0))


@pytest.mark.parametrize(
    ("eta", "total"),
    [(0.5, 16.668561), (1.0, 11.004001), (1.2, 11.280729), (1.5, 12.266893), (2.0, 14.469271)],
)
def test_the_kl_weights_of_a_50_step_grid_add_up(eta: float, total: float) -> None:
    """[score-as-action] (step KL): two predictions that differ by one unit of noise."""
    process = DiscreteVP()
    grid = real(*table_grid(process))
    x, kernel = torch.full((50, 1), 0.3, dtype=F64), DDIM(generalised(eta))
    laws = [
        kernel(Prediction.of("eps", torch.full_like(x, e), x, grid[:-1], process), grid[1:])
        for e in (-0.2, 0.8)
    ]
    assert float(step_kl(laws[0], laws[1], False).sum()) == pytest.approx(total, abs=2e-6)
    torch.testing.assert_close(step_kl(laws[0], laws[1], False), laws[0].kl(laws[1]))


def test_a_step_without_noise_has_no_kl() -> None:
    policy = acting(Shifted(0.5), chain(1.0, 4))
    _, path = p1.drawn(policy, 3, p1.KEY, every=True)
    kernel = kernel_of(path, policy.sampler)
    laws = [kernel(d(path.x, path.t, None), path.s) for d in (policy.current, policy.reference)]
    cost = step_kl(laws[0], laws[1], False)
    assert (cost[path.step == 3] == 0).all()
    assert (cost[path.step < 3] > 0).all()


@pytest.mark.parametrize("per_dimension", [True, False])
def test_the_loss_has_the_explicit_kl(per_dimension: bool) -> None:
    """[score-as-action] (Thm. 3.1): β KL to the first model, whose gradient is not A's business."""
    objective = ScoreAsAction(per_dimension=per_dimension, kl=0.7)
    rows, using = made(objective, rollouts.policy(0.4))
    kernel = rollouts.SDE.kernels[0]
    now, first = (
        kernel(policy(rows.path.x, rows.path.t, rows.cond), rows.path.s)
        for policy in (using.current, using.reference)
    )
    expected = 0.7 * now.kl(first).mean() / (rollouts.DIM if per_dimension else 1)
    bare, _ = replace(objective, kl=0.0).loss(replace(rows, reference=None), using)
    loss, metrics = objective.loss(rows, using)
    torch.testing.assert_close(loss - bare, expected)
    assert metrics["kl/reference"] > 0


# Rows of a real rollout


def asked(policy: DiffusionPolicy) -> DiffusionPolicy:
    """The rollouts' policy with a reward for any x0: the first coordinate, as there."""
    return replace(policy, rollout=Rollout(score=lambda x0, sample: x0[:, 0]), memory={})


def made(
    objective: ScoreAsAction, policy: DiffusionPolicy | None = None
) -> tuple[ActionRows, DiffusionPolicy]:
    using = asked(policy or rollouts.policy())
    rows = rollouts.prepared(objective, rollouts.drawn(using.sampler), using)
    assert isinstance(rows, ActionRows)
    return rows, using


def test_at_the_old_policy_the_ratio_is_one_and_the_gradient_the_score_function() -> None:
    """[ppo] (7) at ρ = 1; the plain estimator has the same gradient there."""
    for estimator in ("ratio", "plain"):
        rows, using = made(ScoreAsAction(estimator=estimator))  # pyright: ignore
        objective = ScoreAsAction(estimator=estimator)  # pyright: ignore
        _, metrics = objective.loss(rows, using)
        assert metrics["ratio/min"].item() == pytest.approx(1, abs=1e-12)
        assert metrics["ratio/max"].item() == pytest.approx(1, abs=1e-12)
        expected = rollouts.score_function(rows, using)
        torch.testing.assert_close(rollouts.slope(objective, rows, using), expected)
        assert expected.abs().max() > 1e-3


def test_advantages_have_mean_0_and_spread_1_at_every_step() -> None:
    """[score-as-action] (normalisation)"""
    rows, _ = made(ScoreAsAction(bound=None))
    for step in rows.path.step.unique():
        here = rows.advantage[rows.path.step == step]
        assert here.mean().item() == pytest.approx(0, abs=1e-9)
        assert here.std(correction=0).item() == pytest.approx(1, abs=1e-9)
    mixed, _ = made(ScoreAsAction(bound=None, normalise="all"))
    assert mixed.advantage.std(correction=0).item() == pytest.approx(1, abs=1e-9)
    spreads = [mixed.advantage[mixed.path.step == k].std(correction=0) for k in range(6)]
    assert max(spreads) > 1.5 * min(spreads)


def test_advantages_are_bounded() -> None:
    rows, _ = made(ScoreAsAction(bound=0.5))
    assert rows.advantage.abs().max() == 0.5


def test_equal_advantages_become_zero() -> None:
    step = torch.tensor([0, 0, 1, 1])
    found = normalised(torch.tensor([0.1, 0.1, 1.0, 3.0]), step, 2, lambda value: value)
    torch.testing.assert_close(found, torch.tensor([0.0, 0.0, -1.0, 1.0]))


def test_advantages_of_a_path_add_up_to_reward_less_value_less_cost() -> None:
    """Σ A_k = R − V(t_0, x_0) − Σ cost, so that baselines cancel whatever V says."""
    objective = replace(BARE, kl=0.3)
    rows, using = made(objective, rollouts.policy(0.4))
    samples = rollouts.drawn().samples
    kernel = rollouts.SDE.kernels[0]
    old, first = (
        kernel(policy(rows.path.x, rows.path.t, rows.cond), rows.path.s)
        for policy in (using.old, using.reference)
    )
    for i in range(len(samples)):
        mine = rows.sample == i
        start = rows.value[mine & (rows.path.step == 0)]
        paid = 0.3 * old.kl(first)[mine].sum()
        left = samples.reward[i] - start - paid
        torch.testing.assert_close(rows.advantage[mine].sum()[None], left)


def test_the_return_of_a_step_has_the_costs_still_to_come() -> None:
    rows, using = made(replace(BARE, kl=0.3), rollouts.policy(0.4))
    reward = rollouts.drawn().samples.reward
    kernel = rollouts.SDE.kernels[0]
    old, first = (
        kernel(policy(rows.path.x, rows.path.t, rows.cond), rows.path.s)
        for policy in (using.old, using.reference)
    )
    for step in range(6):
        here, left = rows.path.step == step, rows.path.step >= step
        paid = torch.stack(
            [0.3 * old.kl(first)[left & (rows.sample == i)].sum() for i in range(12)]
        )
        torch.testing.assert_close(rows.returns[here], reward - paid)
    without, _ = made(replace(BARE, kl=0.3, running=False), rollouts.policy(0.4))
    torch.testing.assert_close(without.returns, reward[without.sample])


def test_a_value_that_knows_nothing_and_looks_to_the_end_is_ddpo() -> None:
    """V ≡ E r: with `trace` of ∞ every step earns R − E r, the advantage of DDPO."""
    data = rollouts.drawn()
    mean = data.samples.reward.mean()
    using = replace(
        rollouts.policy(), rollout=Rollout(score=lambda x0, sample: mean.expand(len(x0))), memory={}
    )
    far = replace(BARE, trace=torch.inf)
    rows = rollouts.prepared(far, data, using)
    torch.testing.assert_close(rows.advantage, (data.samples.reward - mean)[rows.sample])
    ddpo = DDPO(per_dimension=False)
    centred = replace(data.samples, advantage=data.samples.reward - mean)
    theirs = rollouts.prepared(ddpo, replace(data, samples=centred), using)
    ours = rollouts.slope(far, rows, using)
    torch.testing.assert_close(ours, rollouts.slope(ddpo, theirs, using))
    near = rollouts.prepared(BARE, data, replace(using, memory={}))
    assert (near.advantage[near.path.step < 5].abs() < 1e-12).all()
    torch.testing.assert_close(near.advantage[near.path.step == 5], data.samples.reward - mean)


def test_a_finite_trace_fades_with_time_and_not_with_steps() -> None:
    states = States(
        t=real(1.0, 0.6, 0.5), inputs=torch.zeros(3, 1, dtype=F64), first=real(0, 0, 0),
        reward=real(7, 7, 7), length=real(1, 1, 1), sample=torch.zeros(3, dtype=torch.long),
        step=torch.arange(3), after=torch.tensor([1, 2, -1]),
    )  # fmt: skip
    value, nothing = real(1.0, 2.0, 4.0), real(0.0, 0.0, 0.0)
    found = replace(BARE, trace=0.2).advantages(states, value, nothing)
    late = 2.0 + 3.0 * torch.exp(real(-0.5))
    torch.testing.assert_close(
        found, torch.cat([1.0 + late * torch.exp(real(-2.0)), late, real(3.0)])
    )


def test_a_share_of_the_steps_of_each_sample_is_trained() -> None:
    rows, _ = made(ScoreAsAction(fraction=0.5))
    assert [int((rows.sample == i).sum()) for i in range(12)] == [3] * 12
    assert len({tuple(rows.path.step[rows.sample == i].tolist()) for i in range(12)}) > 1
    whole, _ = made(ScoreAsAction())
    same = (whole.sample[:, None] == rows.sample) & (whole.path.step[:, None] == rows.path.step)
    torch.testing.assert_close(rows.advantage, whole.advantage[same.long().argmax(0)])


def test_rows_that_follow_one_another_are_found() -> None:
    path = rollouts.drawn().paths
    path = path[torch.randperm(len(path), generator=torch.Generator().manual_seed(0))]
    after = following(path)
    assert ((after < 0) == (path.step == 5)).all()
    inner = after >= 0
    assert torch.equal(path.x[after[inner]], path.next[inner])


def test_released_settings_are_those_of_the_public_code() -> None:
    it = released()
    assert (it.clip, it.normalise, it.bound, it.kl, it.trace) == (1.5e-5, "step", 5.0, 0.0, 0.0)
    assert (it.estimator, it.fresh, it.per_dimension, it.fraction) == ("ratio", False, True, 1.0)
    assert (it.value.skip, it.value.branches, it.value.told) == ("cosine", "mixed", False)
    assert (it.value.learning, it.value.rate, it.value.decay) == ("monte_carlo", 1e-7, 0.01)


def test_a_value_fitted_first_has_seen_the_rewards_that_it_judges() -> None:
    """`fresh` decides which V the advantages come from; the fit itself is the same."""
    fresh, using = made(replace(BARE, value=DenoisedValue(rate=0.01)))
    stale, other = made(replace(BARE, fresh=False, value=DenoisedValue(rate=0.01)))
    torch.testing.assert_close(using.memory["value/weights"], other.memory["value/weights"])
    error = [(r.returns - r.value).square().mean() for r in (fresh, stale)]
    assert error[1] < 0.7 * error[0]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fraction": 0.0}, "`fraction` is a share"),
        ({"trace": -1.0}, "`trace` is a length of time"),
    ],
)
def test_settings_are_checked(settings: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ScoreAsAction(**settings)


@pytest.mark.long
def test_the_toy_of_all_methods_is_learned() -> None:
    """Through the real trainer, with a black-box reward of the denoised prediction."""
    assert learned(ScoreAsAction(), SDE, rounds=40).max() < 0.5 * START
