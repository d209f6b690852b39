"""Where the noise of a rollout is, round by round, and the compressed tail behind it."""

from itertools import pairwise

import pytest
import torch

from scoreward.core.chain import walk, windowed
from scoreward.core.denoiser import Counted, NetworkDenoiser
from scoreward.core.kernel import DPMSolverPP, EulerMaruyama, dance_sde, euler
from scoreward.core.keys import Key
from scoreward.core.process import RectifiedFlow, time_grid
from scoreward.core.windows import Window, flash
from scoreward.models.analytic import GaussianPolicy
from tests.core.laws import F64
from tests.golden.load import golden

SDE = EulerMaruyama(dance_sde(0.3))


def firsts(window: Window, rounds: int, steps: int = 10) -> list[int]:
    return [window.first(r, steps) for r in range(rounds)]


def test_a_progressive_window_moves_and_never_shrinks() -> None:
    """[mix-grpo] (schedules): w = 4, l_max = 8, τ = 2, s = 1. The public class goes on to the
    windows [5, 6, 7], [6, 7], … and finally to empty ones; ours stays at [4 … 7]."""
    assert firsts(Window(every=2, end=8), 12) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 4, 4]


def test_windows_that_do_not_overlap_are_not_empty_either() -> None:
    """The public class answers [0-3], [4-7], [], [] here."""
    assert firsts(Window(every=1, end=8, overlap=False), 5) == [0, 4, 4, 4, 4]


def test_a_window_may_start_anew_at_the_end() -> None:
    assert firsts(Window(every=1, end=6, roll_back=True), 7) == [0, 1, 2, 0, 1, 2, 0]


def test_a_frozen_window_stays_at_the_first_step() -> None:
    assert firsts(Window("frozen", every=1), 30) == [0] * 30


def test_a_random_window_is_uniform_and_a_function_of_the_round() -> None:
    window = Window("random", end=8)
    counts = torch.tensor(firsts(window, 2000)).bincount()
    assert counts.tolist() == pytest.approx([400] * 5, abs=80)
    assert firsts(window, 20) == firsts(Window("random", end=8), 20)
    assert firsts(window, 20) != firsts(Window("random", end=8, seed=1), 20)


def test_a_linear_decay_stays_shorter_at_later_steps() -> None:
    """τ(l) = max(τ_min, int(6 (1 − l/8) + l/8)) for l = 0 … 4: 6, 5, 4, 4, 3."""
    window = Window("linear", every=6, end=8)
    stays = [6, 5, 4, 4]
    expected = [first for first, stay in enumerate(stays) for _ in range(stay)]
    assert firsts(window, 21) == [*expected, 4, 4]


def test_an_exponential_decay_begins_at_its_threshold() -> None:
    """τ(l) = ceil(4 exp(−0.5 max(0, l − 1))): 4, 4, 3, 2 for l = 0 … 3."""
    window = Window("exponential", every=4, sharpness=0.5, threshold=1, end=8)
    assert firsts(window, 13) == [0] * 4 + [1] * 4 + [2] * 3 + [3] * 2


def test_a_window_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="a window of 4 steps does not fit before step 3 of 10"):
        Window(end=3).first(0, 10)
    with pytest.raises(ValueError, match="`width` must be at least 1, got 0"):
        Window(width=0)


def test_where_a_window_may_begin() -> None:
    """Flow-GRPO-Fast's 0 … 2 on SD3.5-M; the public MixGRPO's full windows come first in ours."""
    assert Window("random", width=3, end=5).starts(10) == (0, 2)
    assert Window("frozen").starts(10) == (0, 0)
    row = golden("published")["window"]
    window = Window("progressive", width=row["width"], every=row["every"])
    assert [window.first(r, row["steps"]) for r in range(10)] == row["firsts"]
    assert window.first(10, row["steps"]) == 4  # the public class goes on to 5 with three steps


def test_noise_is_drawn_inside_the_window_alone() -> None:
    sampler = windowed(euler(), SDE, 3, 4, time_grid(10))
    assert sampler.stochastic(RectifiedFlow()) == (3, 4, 5, 6)


def test_the_tail_of_flash_has_the_published_length() -> None:
    """[mix-grpo] (Flash): T = 25, window 3 … 6, r̃ = 0.4: n = int(19 · 0.4) = 7 times, 6 steps."""
    sampler = flash(SDE, 25, 3, 4, 0.4, shift=3.0)
    assert len(sampler.kernels) == 7 + 6
    assert sampler.times[:8] == time_grid(25, 3.0)[:8]
    assert sampler.times[-1] == 0
    even = [u / (3 - 2 * u) for u in sampler.times[7:]]  # the shift undone
    gaps = [a - b for a, b in pairwise(even)]
    assert gaps == pytest.approx([0.12] * 6)
    assert all(isinstance(k, DPMSolverPP) for k in sampler.kernels[7:])


def test_the_tail_counts_from_the_last_stochastic_step() -> None:
    """T = 10, window 0 … 3, r̃ = 0.45: n = int(7 · 0.45) = 3 times, two steps."""
    assert len(flash(SDE, 10, 0, 4, 0.45).kernels) == 4 + 2


def test_a_tail_of_one_time_takes_the_predicted_sample() -> None:
    """n = max(int(2 · 0.2), 1) = 1: one step from the window onto clean data."""
    sampler = flash(SDE, 10, 5, 4, 0.2)
    assert sampler.times[-2:] == pytest.approx((0.1, 0.0))
    assert len(sampler.kernels) == 10


def test_a_window_at_the_end_has_no_tail() -> None:
    assert len(flash(SDE, 10, 6, 4, 0.4).kernels) == 10


def test_the_first_step_of_the_tail_is_already_second_order() -> None:
    """The solver sees what the network said in the window's last step."""
    module = GaussianPolicy(1, 2).double()
    with torch.no_grad():
        module.mean.add_(0.7)
    reading = Counted(NetworkDenoiser(module, RectifiedFlow()))
    sampler = flash(SDE, 10, 1, 3, 0.7)
    x, cond = Key(("x",)).normal(1, 2, dtype=F64), torch.zeros(1, dtype=torch.long)
    steps = list(walk(sampler, reading, x, [Key(("noise",))], cond))
    assert reading.count == len(sampler.kernels)
    before = steps[3].state
    t, s = (torch.tensor([u], dtype=F64) for u in sampler.times[4:6])
    first_order = DPMSolverPP()(reading.denoiser(before, t, cond), s).mean
    assert (steps[4].law.mean - first_order).abs().max() > 1e-4


@pytest.mark.parametrize("ratio", [0.0, 1.5])
def test_a_share_of_steps_is_a_share(ratio: float) -> None:
    with pytest.raises(ValueError, match=r"`ratio` must be in \(0, 1\]"):
        flash(SDE, 10, 1, 3, ratio)
