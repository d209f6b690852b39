"""TempFlow-GRPO as released: branches at every step of a trunk, its weights, its limits."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from scoreward.commands.plan import cost_of
from scoreward.core.advantage import Advantages
from scoreward.core.branches import BranchLayout, Grown, grow
from scoreward.core.chain import Sampler, draw, uniform
from scoreward.core.denoiser import Counted
from scoreward.core.gaussian import Gaussian
from scoreward.core.kernel import EulerMaruyama, euler, flow_sde
from scoreward.core.prediction import Prediction
from scoreward.core.process import time_grid
from scoreward.core.windows import Window
from scoreward.methods.sampling import Forked, Noisy, Windowed
from scoreward.objectives.base import Branched, Objective
from scoreward.objectives.gradients.draft import DRaFT
from scoreward.objectives.paths.flow_grpo import FlowGRPOFast
from scoreward.objectives.paths.replay import PathRows, Replay
from scoreward.objectives.paths.score_as_action import ScoreAsAction
from scoreward.objectives.paths.temp_flow import TempFlowGRPO, noise_weights
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.recipes import recipe
from scoreward.training.geometry import Geometry
from scoreward.training.run import Run
from scoreward.training.sources.branching import Branching, branching
from scoreward.training.sources.online import Online
from scoreward.training.trainer import Trainer
from tests.core.laws import F64, real
from tests.golden.load import golden
from tests.objectives.learning import START, distances, trainer
from tests.objectives.rollouts import DIM, FLOW, GRID, KEY, SDE, drawn, policy, prepared, reading
from tests.training.toys import make_trainer, means, online, toy

N = golden("online")["temp_flow_released"]
TEN = uniform(EulerMaruyama(flow_sde(0.7, at_one=time_grid(10, 3.0)[1])), 10, 3.0)


def grown(branches: int = 3) -> tuple[Grown, Counted, Tensor]:
    """Two starts; the branches of each at every step but the last of six."""
    steps, count = range(5), 2 * branches * 5
    keys = [KEY / "branch" / i for i in range(count)]
    x = torch.stack([(KEY / "start" / i).normal(DIM, dtype=F64) for i in range(2)])
    counted = Counted(reading())
    return grow(SDE, steps, branches, counted, x, keys, torch.arange(2), "velocity"), counted, x


# The tree of a start


def test_a_trunk_is_an_ode_and_never_follows_a_branch() -> None:
    """[temp-flow] (branches)"""
    made, _, x = grown()
    for step in range(5):
        state = x
        if step:
            head = Sampler(GRID[: step + 1], (euler(),) * step)
            state = draw(head, reading(), x, [], torch.arange(2))
        mine = made.paths.step == step
        torch.testing.assert_close(made.paths.x[mine], state.repeat_interleave(3, 0))


def test_a_branch_is_finished_without_noise() -> None:
    """[temp-flow] (branches)"""
    made, _, _ = grown()
    for step in range(5):
        mine = made.paths.step == step
        tail = Sampler(GRID[step + 1 :], (euler(),) * (5 - step))
        last = draw(
            tail, reading(), made.paths.next[mine], [], torch.arange(2).repeat_interleave(3)
        )
        torch.testing.assert_close(made.x0[mine], last)
    assert len(made.x0.unique(dim=0)) == len(made.x0)


def test_the_noise_of_a_branch_is_its_own_and_that_of_the_kernel() -> None:
    made, _, _ = grown()
    path = made.paths
    law = SDE.kernels[0](reading()(path.x, path.t, torch.arange(2).repeat_interleave(15)), path.s)
    noise = torch.stack(
        [(KEY / "branch" / i / "step" / int(k)).normal(DIM) for i, k in enumerate(path.step)]
    )
    torch.testing.assert_close(path.next, law.sample(noise.double()))
    torch.testing.assert_close(path.log_prob, law.log_prob(path.next))
    assert path.step.tolist() == [0, 1, 2, 3, 4] * 6


def test_a_start_of_ten_steps_and_six_branches_costs_279_evaluations() -> None:
    """[temp-flow] (branches): trunk 9, branches 270."""
    assert BranchLayout(6, 9).calls(range(9), 10) == N["calls"] == 279
    made, counted, _ = grown()
    assert counted.count == 2 * BranchLayout(3, 5).calls(range(5), 6)
    assert len(made.x0) == 30


@pytest.mark.parametrize("guided", [1.0, 2.0])
@pytest.mark.parametrize("kl", [0.0, 0.1])
def test_the_plan_counts_what_a_round_takes(kl: float, guided: float, tmp_path: Path) -> None:
    objective = TempFlowGRPO(kl=kl, skip_uniform=False)
    rollout = Forked("flow_sde", 0.7, steps=5, branches=3)
    straight = online(Geometry(prompts=2, group=6, minibatches=2), rollout=rollout.sampler())
    source = rollout.source(straight, objective)
    run = replace(toy(tmp_path, objective=objective, source=source), guidance=guided)
    trained = make_trainer(objective=objective, source=source, model=run.model, guidance=guided)
    trained.step()
    cost, made = cost_of(run), trained.evaluations
    assert (made.behaviour, made.training_forward) == (cost.behaviour, cost.trained)
    twice = 1 if guided == 1 else 2
    per_start = 4 + 3 * (4 + 3 + 2 + 1)
    assert made.behaviour == twice * (4 * per_start + 48 * (kl > 0))
    assert made.training_forward == twice * 48


# Released numbers


def test_released_weights() -> None:
    """[temp-flow] (noise-aware weights), [temp-flow] (weights of the code): 2.25 ≈ 1/mean."""
    kernel = TEN.kernels[0]
    std = noise_weights(kernel, TEN, FLOW, range(9), 1.0)
    torch.testing.assert_close(std, real(*N["std"]), rtol=0, atol=1e-9)
    released = noise_weights(kernel, TEN, FLOW, range(9), N["constant"])[:9]
    torch.testing.assert_close(released, real(*N["weights"]), rtol=0, atol=1e-9)
    assert released.mean().item() == pytest.approx(N["mean_weight"], abs=1e-9)
    ours = noise_weights(kernel, TEN, FLOW, range(9))
    assert ours[:9].mean().item() == pytest.approx(1, abs=1e-12)
    assert (ours / std)[0].item() == pytest.approx(2.25 / N["mean_weight"])


def test_the_weights_follow_the_trained_steps() -> None:
    """The last step has no branches and no part in the mean, unless it is trained."""
    using = policy(sampler=TEN)
    for last in (False, True):
        weights = TempFlowGRPO(last=last).weights(TEN.kernels[0], using)
        assert weights[: 9 + last].mean().item() == pytest.approx(1, abs=1e-12)
    fixed = TempFlowGRPO(constant=1.73).weights(TEN.kernels[0], using)
    torch.testing.assert_close(fixed, 1.73 * real(*N["std"]), rtol=0, atol=1e-8)


def source(
    branches: int, steps: int, starts: int = 1, prompts: int = 1, **changes: Any
) -> Branching:
    sizes = Geometry(prompts=prompts, group=branches * starts)
    given = online(sizes, rollout=Noisy("flow_sde", 0.7).sampler())
    return branching(given, range(steps), branches, **changes)


def test_released_advantages() -> None:
    """The population deviation over the six branches of a start at a step, plus 1e-4."""
    made = source(6, 2)
    rewards = torch.tensor(N["rewards"], dtype=F64).T.flatten()  # branch by branch, step by step
    group = made.compared(torch.arange(12))
    advantage = Advantages(floor=1e-4)(rewards[None], torch.ones(1, dtype=F64), group)
    expected = torch.tensor(N["advantages"], dtype=F64).T.flatten()
    torch.testing.assert_close(advantage, expected, rtol=0, atol=1e-9)


def released_replay(shift: float = 0.0) -> Replay:
    """Six branches at step 3 with the published log-ratios; x_s, μ_old, μ alike in every entry."""
    std, ratios = N["std"][3], real(*N["log_ratio"])
    made = drawn()
    rows = prepared(TempFlowGRPO(kl=0.0, skip_uniform=False), made, policy())[torch.arange(6)]
    # with μ_old = 0 and μ = m: log ratio = (x² − (x − m)²)/2std² = (2xm − m²)/2std²
    mean = torch.full((6,), 0.1, dtype=F64)
    x = (2 * std**2 * ratios + mean**2) / (2 * mean)
    wide = lambda v: v[:, None].expand(6, DIM)  # noqa: E731
    t, s = (torch.full((6,), TEN.times[i], dtype=F64) for i in (3, 4))
    path = replace(rows.path, next=wide(x), t=t, s=s, step=torch.full((6,), 3))
    given = PathRows(path, rows.cond, real(*N["advantages"][0]), None, rows.sample)
    like = torch.full((6, 1), std, dtype=F64)
    said = Prediction.of("velocity", wide(mean), wide(mean), t, FLOW)
    return Replay(given, said, Gaussian(wide(mean), like), Gaussian(0 * wide(mean), like))


def test_released_loss() -> None:
    using = policy(sampler=TEN)
    seen = released_replay()
    torch.testing.assert_close(
        seen.log_ratio("gaussian", True), real(*N["log_ratio"]), rtol=0, atol=1e-15
    )
    loss, _ = TempFlowGRPO(constant=2.25).surrogate(seen, using)
    plain, _ = TempFlowGRPO(weighted=False).surrogate(seen, using)
    assert loss.item() == pytest.approx(N["loss"], rel=1e-9)
    assert plain.item() == pytest.approx(N["unweighted"], rel=1e-9)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_released_kl(form: Literal["paper", "code"]) -> None:
    """At step 3, Δv = 0.1; β belongs to the paper's form."""
    seen, using = released_replay(), policy(sampler=TEN)
    x, t = torch.zeros(6, DIM, dtype=F64), seen.rows.path.t
    both = [Prediction.of("velocity", torch.full_like(x, v), x, t, FLOW) for v in (0.1, 0.0)]
    moved = replace(seen, new=TEN.kernels[0](both[0], seen.rows.path.s))
    value = TempFlowGRPO(kl_form=form).distance(moved, both[1], using)
    torch.testing.assert_close(value, torch.full_like(value, N["kl"][form]), rtol=1e-9, atol=0)
    assert TempFlowGRPO().kl_form == "paper"


# Limits


def same_weights(one: Trainer, other: Trainer, rounds: int = 3) -> None:
    for _ in range(rounds):
        one.step()
        other.step()
    first, second = (list(t.weights.parameters.values()) for t in (one, other))
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    assert one.evaluations.training_forward == other.evaluations.training_forward


SINGLE = Windowed(Noisy("flow_sde", 0.7, 8), Window("random", width=1, end=7))


def test_the_branches_of_one_start_at_one_random_step_are_the_window_of_width_one() -> None:
    """Today's other form: one start for all samples of a prompt, noise at one step a round."""
    objective, geometry = TempFlowGRPO(kl=0.1), Geometry(prompts=4, group=6, minibatches=2)
    straight = online(geometry, rollout=SINGLE, own_start=0.0, advantages=Advantages())
    whole = branching(straight, [0], branches=6)
    same_weights(
        make_trainer(objective=objective, source=whole),
        make_trainer(objective=objective, source=straight),
    )


def test_one_branch_a_start_with_equal_weights_is_flow_grpo_fast_of_width_one() -> None:
    """Compared among the starts of a prompt, which then differ."""
    fast = FlowGRPOFast(log_prob="gaussian")
    ours = TempFlowGRPO(clip=fast.clip, kl=0.0, weighted=False)
    straight = online(Geometry(prompts=4, group=6), rollout=SINGLE, advantages=Advantages())
    whole = branching(straight, [0], branches=1, among="prompt")
    same_weights(
        make_trainer(objective=ours, source=whole), make_trainer(objective=fast, source=straight)
    )


# What a round is made of


def collected(made: Branching, objective: Objective = TempFlowGRPO(kl=0.0)) -> Branched:
    run = make_trainer(objective=objective, source=made)
    work, _ = run.work(0)
    with torch.no_grad():
        samples = made.collect(0, run.key, work).samples
        assert isinstance(samples, Branched)
        again = made.redrawn(0, samples, run.key, work)
    torch.testing.assert_close(again, samples.x0)
    return samples


def test_samples_know_their_column_and_their_series() -> None:
    made = source(3, 9, starts=2, prompts=2)
    samples = collected(made)
    assert len(samples) == 2 * 2 * 3 * 9
    assert samples.group.bincount().tolist() == [3] * 36  # the branches of a start at a step
    assert samples.series.bincount().tolist() == [9] * 12
    mean = torch.zeros(36).double().index_add_(0, samples.group, samples.advantage)
    assert mean.abs().max() < 1e-9
    wide = collected(source(3, 9, starts=2, prompts=2, among="prompt"))
    assert wide.group.bincount().tolist() == [6] * 18


def test_a_start_stays_on_one_process() -> None:
    shares = [source(3, 9, prompts=2, starts=2).geometry.share(rank, 3) for rank in range(3)]
    assert [i for share in shares for i in share] == list(range(2 * 2 * 27))
    assert all(share.start % 27 == len(share) % 27 == 0 for share in shares)


def test_a_minibatch_holds_whole_series_and_half_of_the_branches() -> None:
    made = source(4, 9, prompts=2)
    made = replace(made, geometry=replace(made.geometry, minibatches=2))
    parts = make_trainer(objective=TempFlowGRPO(), source=made)._pass(0, 0)
    for part in parts:
        assert (part // 9).bincount().max() == 9
        assert len(part) == 36
        assert set((part // 9).bincount().tolist()) <= {0, 9}


def test_only_series_without_any_advantage_are_left_out() -> None:
    """A flat step of a branch stays, so that the mean is over as many rows as in the release."""
    made = source(2, 9)
    run = make_trainer(objective=TempFlowGRPO(kl=0.0), source=made)
    work, _ = run.work(0)
    got = made.collect(0, run.key, work)
    assert got.rollout.flat is None  # which would be by columns
    advantage = torch.zeros(18, dtype=F64)
    advantage[3] = 1.0
    samples = replace(got.samples, advantage=advantage)
    kept = TempFlowGRPO(kl=0.0).ready(samples, replace(work.policy, rollout=got.rollout), run.key)
    assert kept.sample.tolist() == list(range(9))
    everything = TempFlowGRPO(kl=0.0, skip_uniform=False)
    assert len(everything.ready(samples, replace(work.policy, rollout=got.rollout), run.key)) == 18


def test_a_round_without_any_spread_changes_nothing_and_does_not_stop_the_run() -> None:
    """With the default KL, where no row is left to ask the reference about."""
    made = replace(source(3, 9), rewards={"flat": lambda media, prompts: torch.zeros(len(media))})
    run = make_trainer(objective=TempFlowGRPO(), source=made)
    network, before = run.model.network.forward, means(run)

    def forward(x_t: Tensor, t: Tensor, cond: Tensor | None) -> Tensor:
        assert len(x_t), "a network is asked about at least one row"
        return network(x_t, t, cond)

    run.model.network.forward = forward
    run.step()
    torch.testing.assert_close(means(run), before)


def test_no_rows_ask_nobody_however_coarsely_a_network_rounds() -> None:
    made = source(3, 9)
    run = make_trainer(objective=TempFlowGRPO(), source=made)
    work, _ = run.work(0)
    got = made.collect(0, run.key, work)
    flat = replace(got.samples, advantage=0 * got.samples.advantage)

    def asked(x: Tensor, t: Tensor, cond: object) -> Prediction:
        raise AssertionError(f"asked about {len(x)} rows")

    coarse = replace(work.policy, rounding=1e-2, on_policy=False, old=asked, reference=asked)
    assert len(TempFlowGRPO().ready(flat, replace(coarse, rollout=got.rollout), run.key)) == 0


def test_the_toy_is_learned_from_branches() -> None:
    objective = TempFlowGRPO(kl=0.0)
    run, model = trainer(objective, SDE8, Geometry(prompts=4, group=6, minibatches=2))
    assert isinstance(run.source, Online)
    run = make_trainer(
        objective=objective, source=branching(run.source, range(7), 3), model=model, lr=0.05
    )
    for _ in range(20):
        run.step()
    assert distances(model).max() < 0.5 * START


SDE8 = Noisy("flow_sde", 0.7, 8).sampler()


def test_other_objectives_learn_from_the_same_samples() -> None:
    made = source(3, 10, prompts=2)
    metrics = make_trainer(objective=VGRPO(clip=None), source=made).step().metrics
    assert metrics["gradient/norm"] > 0


# Settings and refusals


def test_a_round_of_the_recipe_is_the_released_one() -> None:
    for task in ("sd35", "flux"):
        given = recipe("temp_flow", on=task).settings
        shared, rollout = given["shared"].default, given["rollout"].default
        straight = online(shared.geometry, rollout=rollout.sampler())
        made = rollout.source(straight, TempFlowGRPO())
        assert made.geometry.samples == 10368
        assert made.geometry.samples // made.layout.block == 48 * 4
        assert made.geometry.updates == 2
    assert made.layout == BranchLayout(6, 9)


def test_a_group_smaller_than_the_branches_is_one_start() -> None:
    run: Run = recipe("temp_flow").run()
    assert isinstance(run.source, Branching)
    assert run.source.layout == BranchLayout(6, 9)
    few = branching(online(Geometry(prompts=2, group=3)), range(9))
    assert few.layout == BranchLayout(3, 9)


def test_what_cannot_be_branched_is_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="72 samples do not divide into starts of 6"):
        branching(online(Geometry(prompts=2, group=8)), range(9))
    with pytest.raises(ValueError, match=r'one branch of a start has nothing.*among="prompt"'):
        branching(online(Geometry(prompts=2, group=2)), range(9), branches=1)
    with pytest.raises(ValueError, match="multiplies the weights and must be positive"):
        TempFlowGRPO(constant=2.25, weighted=False)
    with pytest.raises(ValueError, match=r"noise at 10 trained steps.*laid out for 9"):
        collected(source(3, 9), TempFlowGRPO(last=True))
    for objective in (DRaFT(), ScoreAsAction()):
        with pytest.raises(ValueError, match="a branch has one transition"):
            collected(source(3, 10), objective)
