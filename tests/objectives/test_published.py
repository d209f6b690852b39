"""Released behaviours of online methods: what authors' code does, with the numbers it gives."""

from dataclasses import replace

import pytest
import torch

from scoreward.core.kernel import EulerMaruyama, dance_sde, linear_sde
from scoreward.core.prediction import Prediction
from scoreward.core.process import RectifiedFlow, time_grid
from scoreward.methods.sampling import Noisy
from scoreward.objectives.base import Objective
from scoreward.objectives.paths.dance_grpo import DanceGRPO
from scoreward.objectives.paths.flow_grpo import FlowGRPO, FlowGRPOFast
from scoreward.objectives.paths.grpo_guard import GRPOGuard
from scoreward.objectives.paths.score_as_action import ScoreAsAction, released
from scoreward.objectives.samples.awm import AWM
from scoreward.objectives.samples.diffusion_nft import DiffusionNFT
from scoreward.training.geometry import Geometry
from tests.core.laws import F64, real
from tests.golden.load import golden
from tests.objectives.learning import ODE, SDE, trainer
from tests.objectives.pairing import policy, prepared
from tests.objectives.rollouts import drawn  # fmt: skip
from tests.objectives.rollouts import policy as walking
from tests.objectives.rollouts import prepared as stored
from tests.objectives.test_path_details import guard_replay

NUMBERS = golden("published")


# Times


def test_each_sample_leaves_out_a_time_of_its_own() -> None:
    """[diffusion-nft] (timesteps): seven of eight times for each of twelve samples."""
    rows = prepared(DiffusionNFT(), policy())
    grid = {1 - i / 8 for i in range(8)}
    left = [grid - set(times.tolist()) for times in rows.pairs.t]
    assert all(len(times) == 1 for times in left)
    assert len({times.pop() for times in left}) > 2


def test_awm_never_trains_the_cleanest_tenth() -> None:
    """[awm] (timesteps): of eight times index 0 and the last are left out; the strata are full."""
    rows = prepared(AWM(), policy())
    assert rows.pairs.t[0].tolist() == [1 - i / 8 for i in range(1, 7)]
    assert rows.pairs.t.min() == 2 / 8


def test_pickscore_may_draw_pure_noise() -> None:
    """[awm] (timesteps): the first of six strata of indices 0 … 6 is index 0 alone."""
    assert prepared(AWM(times="discrete"), policy()).pairs.t[0, 0] == 1


# Counters


class Asked(FlowGRPO):
    """Remembers the counts it was asked with."""

    def old_decay(self, updates: int) -> float:
        SEEN.append(updates)
        return 0.0

    def slow_decay(self, updates: int) -> float:
        SLOW.append(updates)
        return 0.5


SEEN: list[int] = []
SLOW: list[int] = []


def test_decays_count_updates_not_rounds() -> None:
    """Three updates a round: 0, 3, 6 have been made before rounds 0, 1, 2."""
    SEEN.clear()
    SLOW.clear()
    run, _ = trainer(Asked(kl=0.0), SDE, Geometry(4, 4, minibatches=3))
    for _ in range(3):
        run.step()
    assert SEEN == SLOW == [0, 3, 6]


@pytest.mark.parametrize("updates", [1, 2, 4])
def test_the_late_schedule_starts_after_75_updates(updates: int) -> None:
    """[diffusion-nft] (decay): at the end of round r from 0, k = u (r + 1) updates were made."""
    late = DiffusionNFT(schedule="late")
    for r in range(60):
        made = updates * (r + 1)
        expected = 0.0 if made < 75 else min(0.0075 * (made - 75), 0.999)
        assert late.old_decay(made) == pytest.approx(expected)
    row = NUMBERS["late"]
    decays = [late.old_decay(row["updates"] * (r + 1)) for r in range(row["round"] + 1)]
    assert decays[-1] == pytest.approx(row["decay"])
    assert not any(decays[:-1])


@pytest.mark.parametrize("objective", [DiffusionNFT(), AWM()], ids=["nft", "awm"])
def test_a_run_with_two_updates_a_round_follows_its_schedule_twice_as_fast(
    objective: Objective,
) -> None:
    """[diffusion-nft] (decay), [awm] (EMA decay): before round k the decay is 0.001 · 2k."""
    name = "old" if isinstance(objective, DiffusionNFT) else "slow"
    run, model = trainer(objective, ODE, Geometry(4, 4, minibatches=2))
    (mean,) = model.network.parameters()
    followed = mean.detach().clone()
    for k in range(4):
        followed = 0.002 * k * followed + (1 - 0.002 * k) * mean.detach()
        run.step()
    torch.testing.assert_close(run.weights.snapshot(name)["mean"], followed, rtol=1e-6, atol=1e-8)


# Steps


def test_the_published_step_on_wan() -> None:
    """[flow-grpo] (step on Wan)"""
    n = NUMBERS["wan"]
    x, v, t, s = (real(n[k])[None] if k in "xv" else real(n[k]) for k in ("x", "v", "t", "s"))
    kernel = EulerMaruyama(linear_sde(n["top"]))
    law = kernel(Prediction.of("velocity", v, x, t, RectifiedFlow()), s)
    torch.testing.assert_close(kernel.level(RectifiedFlow(), t), real(n["level"]))
    torch.testing.assert_close(law.mean.flatten(), real(n["mean"]), rtol=1e-12, atol=0)
    torch.testing.assert_close(law.std.flatten(), real(n["std"]), rtol=1e-12, atol=0)


def test_on_wan_the_top_is_the_second_time_of_the_grid_that_is_used() -> None:
    """[flow-grpo] (step on Wan): finite at t = 1 without a rule of its own."""
    noisy, grid = Noisy("linear_sde", 1.0, steps=4), time_grid(4, 5.0)
    one, flow = real(1.0), RectifiedFlow()
    assert noisy.kernel().level(flow, one).item() == pytest.approx(0.75)  # pyright: ignore
    assert noisy.kernel(grid).level(flow, one).item() == pytest.approx(grid[1])  # pyright: ignore
    noisy.sampler(grid)


@pytest.mark.parametrize(("steps", "count"), NUMBERS["dance_steps"].items())
def test_dance_grpo_cuts_the_last_step_before_it_takes_its_share(steps: str, count: int) -> None:
    """[dance-grpo] (timesteps): ⌊0.6 (T − 1)⌋ of the first T − 1, another set for each sample."""
    sampler = Noisy("dance_sde", 0.3, steps=int(steps)).sampler()
    rows = stored(DanceGRPO(), drawn(sampler), walking(sampler=sampler))
    sets = [frozenset(rows.path.step[rows.sample == i].tolist()) for i in rows.sample.unique()]
    assert all(len(chosen) == count for chosen in sets)
    assert max(max(chosen) for chosen in sets) < int(steps) - 1
    assert len(set(sets)) > 1


# Losses


@pytest.mark.parametrize("clip", ["2e-6", "4e-6"])
def test_the_losses_of_grpo_guards_configurations(clip: str) -> None:
    """[grpo-guard] (ratio): OCR and GenEval 2e-6, PickScore 4e-6."""
    loss, metrics = GRPOGuard(clip=float(clip)).surrogate(guard_replay(), walking())
    torch.testing.assert_close(loss, real(NUMBERS["guard"]["losses"][clip])[0], rtol=1e-9, atol=0)
    assert metrics["ratio/max"].item() == pytest.approx(max(NUMBERS["guard"]["ratios"]), abs=1e-10)
    assert metrics["ratio/min"].item() == pytest.approx(min(NUMBERS["guard"]["ratios"]), abs=1e-10)


def test_grpo_guard_leaves_out_groups_without_a_spread() -> None:
    made = drawn()
    flat = made.samples.advantage.clone()
    flat[4:8] = 0
    made = replace(made, samples=replace(made.samples, advantage=flat))
    rows = stored(GRPOGuard(), made, walking())
    assert set(rows.sample.tolist()) == {0, 1, 2, 3, 8, 9, 10, 11}


def test_the_codes_kl_has_no_form_for_the_log_probability_of_cps() -> None:
    """No public code has one: refused in the code's form, offered in the Gaussians' own."""
    with pytest.raises(ValueError, match=r"no public code has a KL .* use kl_form=\"paper\""):
        FlowGRPO(log_prob="unit")
    with pytest.raises(ValueError, match="no public code has a KL"):
        FlowGRPOFast(kl=0.1, kl_form="code")
    assert FlowGRPOFast(kl=0.1).kl_form == "paper"
    assert FlowGRPO(log_prob="unit", kl=0.0).kl == 0


def test_score_as_action_has_the_clip_of_its_code() -> None:
    assert ScoreAsAction().clip == released().clip == 1.5e-5


def test_constant_noise_is_dance_grpos_and_linear_noise_is_zero_on_data() -> None:
    t = torch.tensor([0.0, 0.5, 1.0], dtype=F64)
    assert dance_sde(0.3)(RectifiedFlow(), t).tolist() == [0.3] * 3
    assert linear_sde(0.9)(RectifiedFlow(), t).tolist() == [0.0, 0.45, 0.9]
