"""Each path method's own formulas: published numbers, selections, masks, trees and pairs."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from scoreward.core.chain import Tree, rollout, uniform
from scoreward.core.denoiser import Counted
from scoreward.core.gaussian import Gaussian
from scoreward.core.kernel import Churn, EulerMaruyama, dance_sde, euler, flow_sde
from scoreward.core.policy import Rollout
from scoreward.core.prediction import Prediction
from scoreward.core.process import time_grid
from scoreward.objectives.paths.branch_grpo import BranchGRPO
from scoreward.objectives.paths.dance_grpo import DanceGRPO
from scoreward.objectives.paths.dpok import DPOK
from scoreward.objectives.paths.fdfo import FDFO, halved, log_ratio_of
from scoreward.objectives.paths.flow_dppo import FlowDPPO
from scoreward.objectives.paths.flow_grpo import FlowGRPO, FlowGRPOFast
from scoreward.objectives.paths.grpo_guard import GRPOGuard
from scoreward.objectives.paths.mixgrpo import MixGRPO
from scoreward.objectives.paths.replay import PathRows, Replay, replay
from scoreward.objectives.paths.temp_flow import TempFlowGRPO, noise_weights
from scoreward.training.geometry import Geometry
from tests.core.laws import F64, real
from tests.golden.load import golden
from tests.objectives.learning import START, distances, trainer
from tests.objectives.rollouts import DIM, FLOW, KEY, SDE, drawn, policy, prepared, reading, slope

NUMBERS = golden("online")


def near(actual: Tensor, expected: object) -> None:
    wanted = torch.as_tensor(expected, dtype=F64)
    torch.testing.assert_close(actual, wanted, rtol=1e-6, atol=1e-6)


# Flow-GRPO


@pytest.mark.parametrize("form", ["paper", "code"])
def test_the_two_forms_of_the_published_kl(form: str) -> None:
    """[flow-grpo] (KL): (Δ/2)(a(1 − t)/2t + 1/a)² Δv² ; times Δ in the code's form."""
    n = NUMBERS["flow_kl"]
    kernel = EulerMaruyama(flow_sde(n["a"]))
    x, t, s = torch.zeros(1, 4, dtype=F64), real(n["t"]), real(n["s"])
    laws = [
        kernel(Prediction.of("velocity", torch.full_like(x, v), x, t, FLOW), s)
        for v in (n["gap"], 0.0)
    ]
    distance = ((laws[0].mean - laws[1].mean) ** 2 / (2 * laws[0].std ** 2)).mean()
    value = distance if form == "paper" else distance * (t - s)
    torch.testing.assert_close(value.reshape(()), real(n[form])[0], rtol=1e-6, atol=0)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_the_kl_is_weighed_and_read_in_its_form(form: str) -> None:
    """[flow-grpo] (KL of the code) leaves out the division by Δ."""
    using, made = policy(0.3), drawn()
    plain = FlowGRPO(kl=0.0)
    held = replace(plain, kl=0.7, kl_form=form)  # pyright: ignore[reportArgumentType]
    rows = prepared(held, made, using)
    seen, kernel = replay(rows, using), SDE.kernels[0]
    first = kernel(using.reference(rows.path.x, rows.path.t, rows.cond), rows.path.s)
    gap = ((seen.new.mean - first.mean) ** 2 / (2 * seen.new.std**2)).mean(1)
    expected = (gap * (seen.step_size if form == "code" else 1)).mean()
    (loss, metrics), (bare, _) = held.loss(rows, using), plain.loss(rows, using)
    torch.testing.assert_close(metrics["kl/reference"], expected.detach())
    bare_rows = replace(rows, reference=None)
    torch.testing.assert_close(loss, plain.loss(bare_rows, using)[0] + 0.7 * expected)
    assert metrics["drift/velocity"] > 0.01
    assert bare is not None


def test_the_last_step_is_left_out_where_the_code_leaves_it_out() -> None:
    made, using = drawn(), policy()
    assert set(prepared(FlowGRPO(), made, using).path.step.tolist()) == set(range(5))
    assert set(prepared(FlowGRPO(last=True), made, using).path.step.tolist()) == set(range(6))


def test_groups_without_a_spread_of_rewards_are_left_out() -> None:
    made, using = drawn(), policy()
    flat = made.samples.advantage.clone()
    flat[4:8] = 0
    made = replace(made, samples=replace(made.samples, advantage=flat))
    kept = prepared(FlowGRPO(), made, using)
    assert set(kept.sample.tolist()) == {0, 1, 2, 3, 8, 9, 10, 11}
    everyone = prepared(FlowGRPO(skip_uniform=False), made, using)
    assert set(everyone.sample.tolist()) == set(range(12))


def test_the_log_ratio_of_flow_cps_has_no_variance() -> None:
    """[flow-cps] (log-prob): log p = −mean (x' − μ)²."""
    using, made = policy(0.3), drawn()
    rows = prepared(FlowGRPOFast(skip_uniform=False), made, using)
    seen = replay(rows, using)
    old, new = ((rows.path.next - law.mean).square().mean(1) for law in (seen.old, seen.new))
    torch.testing.assert_close(seen.log_ratio("unit", True), old - new)


def test_clipping_stops_a_transition_whose_ratio_has_moved() -> None:
    using = policy(0.5)
    objective = FlowGRPO(kl=0.0, clip=1e-4)
    _, metrics = objective.loss(prepared(objective, drawn(), using), using)
    assert metrics["clip/above"] > 0.1
    assert metrics["clip/below"] > 0.1


# DanceGRPO


def test_a_random_share_of_each_samples_steps_is_trained() -> None:
    """[dance-grpo] (timesteps): 60 % of five steps is three, drawn for each sample."""
    rows = prepared(DanceGRPO(), drawn(), policy())
    chosen = {i: sorted(rows.path.step[rows.sample == i].tolist()) for i in range(12)}
    assert all(len(steps) == 3 and max(steps) < 5 for steps in chosen.values())
    assert len({tuple(steps) for steps in chosen.values()}) > 3
    assert not DanceGRPO().needs.graphs
    assert DanceGRPO(fraction=1.0).needs.graphs


def test_the_best_and_the_worst_of_a_group_can_be_kept_alone() -> None:
    made = drawn()
    rows = prepared(DanceGRPO(best_of=1), made, policy())
    for group in range(3):
        mine = made.samples.advantage[4 * group : 4 * group + 4]
        kept = {i - 4 * group for i in rows.sample.unique().tolist() if i // 4 == group}
        assert kept == {int(mine.argmin()), int(mine.argmax())}


# MixGRPO's penalty, Flow-DPPO's mask, TempFlow's weights, GRPO-Guard


def test_the_squared_log_ratio_of_the_code() -> None:
    """[mix-grpo] (KL of the code): ½ (log p − log p_old)²."""
    using, made = policy(0.3), drawn()
    rows = prepared(MixGRPO(), made, using)
    log_ratio = replay(rows, using).log_ratio("gaussian", True)
    plain, held = (MixGRPO(squared_log_ratio=w).loss(rows, using)[0] for w in (0.0, 2.0))
    torch.testing.assert_close(held - plain, log_ratio.square().mean())


def test_a_step_is_dropped_only_if_it_is_far_and_goes_further() -> None:
    """[flow-dppo] (mask)"""
    using, made = policy(0.3), drawn()
    rows = prepared(FlowDPPO(), made, using)
    seen = replay(rows, using)
    ratio = seen.log_ratio("gaussian", True).exp()
    limit = float(seen.distance(seen.old, True).detach().median())
    far = seen.distance(seen.old, True) >= limit
    away = torch.where(rows.advantage > 0, ratio > 1, ratio < 1) & (rows.advantage != 0)
    dropped = far & away
    loss, metrics = FlowDPPO(limit=limit).loss(rows, using)
    torch.testing.assert_close(loss, -(rows.advantage * ratio)[~dropped].sum() / len(rows))
    assert 0 < metrics["dropped"].item() < 0.5
    everything = FlowGRPO(kl=0.0, clip=None).loss(rows, using)[0]
    torch.testing.assert_close(FlowDPPO(limit=1e9).loss(rows, using)[0], everything)


def test_published_weights_of_temp_flow() -> None:
    """[temp-flow] (noise-aware weights): over the mean of all ten, where all are trained."""
    grid = time_grid(10, 3.0)
    kernel = EulerMaruyama(flow_sde(0.7, at_one=grid[1]))
    weights = noise_weights(kernel, uniform(kernel, 10, 3.0), FLOW)
    torch.testing.assert_close(weights, real(*NUMBERS["temp_flow"]), rtol=0, atol=1e-5)


def test_temp_flow_multiplies_each_steps_gain_by_its_weight() -> None:
    using, made = policy(), drawn()
    rows = prepared(TempFlowGRPO(kl=0.0), made, using)
    weights = noise_weights(SDE.kernels[0], SDE, FLOW, range(5))[rows.path.step]
    weighted = replace(rows, advantage=rows.advantage * weights)
    ours = slope(TempFlowGRPO(kl=0.0), rows, using)
    plain = slope(TempFlowGRPO(kl=0.0, weighted=False), weighted, using)
    torch.testing.assert_close(ours, plain)


def guard_replay() -> Replay:
    """Entries, all alike, whose log-probabilities and mean shifts are the published ones."""
    n = NUMBERS["guard"]
    std, count = n["s"] * n["step"] ** 0.5, 4
    shift = real(*n["shift"])
    old_quad = 2 * std**2 * (real(*n["old"]) - real(*n["new"]))  # (x−μ)² − (x−μ_old)², mean
    # with μ_old = 0 and μ = shift in every entry: shift² − 2 shift mean(x) = old_quad
    x = (shift**2 - old_quad) / (2 * shift)
    states = x[:, None].expand(count, DIM)
    like = torch.full((count, 1), std, dtype=F64)
    t, s = torch.full((count,), 0.5 + n["step"], dtype=F64), torch.full((count,), 0.5, dtype=F64)
    made = drawn()
    rows = prepared(GRPOGuard(), made, policy())[torch.arange(count)]
    path = replace(rows.path, next=states, t=t, s=s)
    advantage = real(-1.0, 0.0, 2.0, -1.0) / 1.5**0.5
    given = PathRows(path, rows.cond, advantage, None, rows.sample)
    prediction = Prediction.of("velocity", states, states, t, FLOW)
    old = Gaussian(torch.zeros(count, DIM, dtype=F64), like)
    return Replay(given, prediction, Gaussian(shift[:, None].expand(count, DIM), like), old)


def test_published_numbers_of_grpo_guard() -> None:
    """[grpo-guard] (ratio)"""
    n, seen = NUMBERS["guard"], guard_replay()
    near(seen.log_ratio("gaussian", True), [b - a for a, b in zip(n["old"], n["new"])])
    loss, metrics = GRPOGuard(clip=n["clip"]).surrogate(seen, policy())
    near(metrics["ratio/max"], max(n["ratios"]))
    near(metrics["ratio/min"], min(n["ratios"]))
    torch.testing.assert_close(loss.reshape(()), real(n["loss"])[0], rtol=1e-5, atol=0)
    bare, _ = GRPOGuard(clip=n["clip"], per_step=False).surrogate(seen, policy())
    torch.testing.assert_close(bare, loss * n["step"])


def test_grpo_guards_ratio_has_mean_one_where_the_plain_one_is_biased() -> None:
    """With x ~ N(μ_old, κ²), E log ρ is −Δμ²/2κ², which the guard adds back."""
    seen = guard_replay()
    shift = (seen.new.mean - seen.old.mean).square().mean(1) / (2 * seen.new.std[:, 0] ** 2)
    rows = seen.rows
    centred = replace(seen, rows=replace(rows, path=replace(rows.path, next=seen.old.mean)))
    _, metrics = GRPOGuard().surrogate(centred, policy())
    assert metrics["ratio/max"].item() == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(centred.log_ratio("gaussian", True), -shift)


# DPOK


def test_the_clamped_ratio_has_no_gradient_outside_its_window() -> None:
    """[dpok] (policy loss): both sides vanish, unlike PPO's minimum."""
    using, made = policy(3.0), drawn()
    objective = DPOK(kl=0.0)
    rows = prepared(objective, made, using)
    ratio = replay(rows, using).log_ratio("gaussian", True).exp()
    assert ((ratio - 1).abs() > 1e-4).all()
    assert slope(objective, rows, using).abs().max() == 0


def test_dpok_measures_its_distance_in_noise_space() -> None:
    """[dpok] (KL of the code): mean (ε − ε_first)², without 1/2σ²."""
    using, made = policy(0.3), drawn()
    rows = prepared(DPOK(), made, using)
    eps = [
        p(rows.path.x, rows.path.t, rows.cond).as_("eps") for p in (using.current, using.reference)
    ]
    _, metrics = DPOK().loss(rows, using)
    torch.testing.assert_close(metrics["kl/reference"], (eps[0] - eps[1]).square().mean().detach())


def test_the_baseline_learns_the_reward_and_lives_in_memory() -> None:
    run, _ = trainer(DPOK(value_rate=1e-2, value_steps=20), SDE_TOY)
    errors = [run.step().metrics["value/error"] for _ in range(8)]
    assert errors[-1] < 0.5 * errors[0]
    assert run.memory["dpok/steps"] == 160
    assert run.memory["dpok/0"].shape[0] == 256


SDE_TOY = uniform(EulerMaruyama(flow_sde(0.7, at_one=time_grid(8)[1])), 8)


# Trees


def test_a_tree_shares_states_until_its_branches_part() -> None:
    """[branch-grpo] (tree): splits at steps 0 and 2 give 1, 2, 2, 4 states before each step."""
    tree = Tree((0, 2))
    assert [tree.width(i) for i in range(4)] == [4, 2, 2, 1]
    made = drawn(uniform(EulerMaruyama(dance_sde(0.3)), 4), tree=tree)
    paths = made.paths
    assert [int((paths.step == i).sum()) for i in range(4)] == [6, 6, 12, 12]
    x0 = made.samples.x0.reshape(3, 4, DIM)
    assert all(not torch.equal(x0[0, i], x0[0, j]) for i in range(4) for j in range(i))
    first = paths[(paths.step == 0) & (paths.sample < 4)]
    assert torch.equal(first.x[0], first.x[1])
    assert not torch.equal(first.next[0], first.next[1])


def test_a_tree_costs_what_its_states_cost() -> None:
    """16 leaves, 20 steps, splits at 0, 3, 6, 9: 1 + 3·2 + 3·4 + 3·8 + 10·16 = 203 states."""
    tree, steps = Tree((0, 3, 6, 9)), 20
    counted = Counted(reading())
    sampler = uniform(EulerMaruyama(dance_sde(0.3)), steps)
    x = (KEY / "start").normal(1, DIM, dtype=F64).expand(16, DIM)
    keys, cond = [KEY / "leaf" / i for i in range(16)], torch.zeros(16, dtype=torch.long)
    rollout(sampler, counted, x, keys, cond, tree)
    assert counted.count == 203
    assert counted.count / 16 == pytest.approx(12.7, abs=0.05)


def test_a_tree_without_shared_steps_is_an_ordinary_rollout() -> None:
    sampler = uniform(EulerMaruyama(dance_sde(0.3)), 4)
    tree = drawn(sampler, group=2, tree=Tree((0,)))
    plain = drawn(sampler, group=2)
    last = [r.samples.x0[0] for r in (tree, plain)]
    torch.testing.assert_close(last[0], last[1])


def test_an_edge_earns_the_normalised_mean_of_its_leaves() -> None:
    """Rewards 5, 7, 1, 3.  [branch-grpo] (depth-wise advantages), [branch-grpo] (code)"""
    tree = Tree((0, 2))
    made = drawn(uniform(EulerMaruyama(dance_sde(0.3)), 4), tree=tree)
    reward = real(*([5.0, 7.0, 1.0, 3.0] * 3))
    made = replace(made, samples=replace(made.samples, reward=reward))
    rows = prepared(BranchGRPO(last=True), made, policy(sampler=TREE_SAMPLER))
    first = rows.advantage[(rows.path.step == 1) & (rows.sample < 4)]
    near(first, real(1.0, -1.0) / 2**0.5)  # branch means 6 and 2, unbiased std 2√2
    leaves = rows.advantage[(rows.path.step == 3) & (rows.sample < 4)]
    near(leaves, real(1.0, 3.0, -3.0, -1.0) / (20 / 3) ** 0.5)
    pruned = prepared(BranchGRPO(last=True, depth=(2, 3)), made, policy(sampler=TREE_SAMPLER))
    assert set(pruned.path.step.tolist()) == {2, 3}


TREE_SAMPLER = uniform(EulerMaruyama(dance_sde(0.3)), 4)


def test_equal_leaves_teach_a_tree_nothing() -> None:
    made = drawn(TREE_SAMPLER, tree=Tree((0, 2)))
    flat = replace(made.samples, reward=torch.ones_like(made.samples.reward))
    rows = prepared(BranchGRPO(), replace(made, samples=flat), policy(sampler=TREE_SAMPLER))
    assert rows.advantage.abs().max() == 0


# FDFO


def test_the_published_churned_step() -> None:
    """[fdfo] (step)"""
    n = NUMBERS["fdfo_step"]
    numbers = golden("kernels")
    x, v = real(*numbers["x"])[None], real(*numbers["velocity"])[None]
    law = Churn(n["gamma"])(Prediction.of("velocity", v, x, real(n["t"]), FLOW), real(n["s"]))
    near(law.mean[0], n["mean"])
    torch.testing.assert_close(law.std.reshape(()), real(n["std"])[0], rtol=0, atol=1e-7)
    plain = Churn(0.0)(Prediction.of("velocity", v, x, real(0.75), FLOW), real(0.5))
    flat = euler()(Prediction.of("velocity", v, x, real(0.75), FLOW), real(0.5))
    torch.testing.assert_close(plain.mean, flat.mean)
    assert plain.std.abs().max() == 0


def test_a_churned_state_is_as_noisy_as_its_time() -> None:
    """From a perfect answer at t: x_s keeps signal 1 − s and noise variance s²."""
    gamma, t, s = 0.3, 0.8, 0.5
    x0, eps = real(2.0)[None], real(-1.0)[None]
    x = (1 - t) * x0 + t * eps
    law = Churn(gamma)(Prediction.of("velocity", eps - x0, x, real(t), FLOW), real(s))
    r = s / (1 + gamma - gamma * s)
    scale = 1 + gamma * r
    torch.testing.assert_close(law.mean, ((1 - r) * x0 + r * eps) / scale)
    assert (1 - r) / scale == pytest.approx(1 - s)
    torch.testing.assert_close((r / scale) ** 2 + law.std**2, torch.full((1, 1), s**2, dtype=F64))


def test_published_loss_of_fdfo() -> None:
    """[fdfo] (ratio), [fdfo] (SPO)"""
    n = NUMBERS["fdfo_loss"]
    dx = real(*n["dx"])[None]
    direction = dx / (dx.square().mean() + 1e-6)
    ratio = log_ratio_of(real(*n["new"])[None], real(*n["old"])[None], direction).exp()
    near(ratio[0], n["ratio"])
    gap = n["gap"]
    loss = -gap * ratio + abs(gap) / (2 * n["epsilon"]) * (ratio - 1).square()
    near(loss[0], n["loss"])


def test_halves_of_a_pair_are_each_others_negatives() -> None:
    near(halved(real(3.0, 1.0, 0.0, 4.0)), [1.0, -1.0, -2.0, 2.0])


@pytest.mark.long
def test_fdfo_moves_towards_the_better_half_of_a_pair() -> None:
    """At the old policy the gradient is −E[dR · d log ρ], so the means follow the reward."""
    gamma = 0.0025
    sampler = uniform(Churn(gamma), 8)
    geometry = Geometry(prompts=64, group=2)
    run, model = trainer(FDFO(), sampler, geometry, own_start=1 - 1 / (1 + gamma) ** 2)
    for _ in range(30):
        run.step()
    assert distances(model).max() < 0.5 * START


def test_fdfo_refuses_groups_that_are_no_pairs() -> None:
    made = drawn(uniform(Churn(0.1), 6), group=3)
    with pytest.raises(ValueError, match="the group must have an even size, usually 2"):
        FDFO().ready(
            made.samples,
            replace(policy(sampler=uniform(Churn(0.1), 6)), rollout=Rollout(made.paths)),
            KEY,
        )
