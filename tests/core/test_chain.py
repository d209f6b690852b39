"""Chains: which steps draw noise, what is stored of them, and that nothing depends on the batch."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal

from scoreward.core.chain import (
    Sampler,
    Trajectory,
    Transitions,
    draw,
    rollout,
    uniform,
    walk,
    windowed,
)
from scoreward.core.denoiser import Counted, NetworkDenoiser
from scoreward.core.kernel import (
    DDIM,
    DPMSolverPP,
    EulerMaruyama,
    Heun,
    Kernel,
    ancestral,
    coefficients_preserving,
    dance_sde,
    ddim,
    euler,
    flow_sde,
    generalised,
    reverse_sde,
)
from scoreward.core.keys import Key
from scoreward.core.process import VE, DiscreteVP, LinearVP, Process, RectifiedFlow, time_grid
from scoreward.models.analytic import GaussianPolicy
from tests.core.laws import F64

KEY = Key(("chain",))
PROMPTS = torch.tensor([0, 1, 2, 1, 0])
STOCHASTIC: dict[str, Kernel] = {
    "generalised(1.5)": DDIM(generalised(1.5)),
    "ancestral(0.7)": DDIM(ancestral(0.7)),
    "cps": DDIM(coefficients_preserving(0.8)),
    "reverse-sde": EulerMaruyama(reverse_sde(1.0, at_one=0.9)),
    "flow-sde": EulerMaruyama(flow_sde(0.7, at_one=0.9)),
    "dance-sde": EulerMaruyama(dance_sde(0.3)),
}
MIXED = windowed(euler(), STOCHASTIC["flow-sde"], 2, 3, time_grid(8, shift=3.0))


def policy(dtype: torch.dtype = F64) -> NetworkDenoiser:
    """Three prompts whose data have different means, in four dimensions."""
    module = GaussianPolicy(prompts=3, dim=4).to(dtype)
    with torch.no_grad():
        module.mean.copy_((KEY / "means").normal(3, 4))
    return NetworkDenoiser(module, RectifiedFlow())


def starts(dtype: torch.dtype = F64) -> tuple[Tensor, list[Key]]:
    keys = [KEY / "sample" / i for i in range(len(PROMPTS))]
    return torch.stack([(key / "start").normal(4, dtype=dtype) for key in keys]), keys


def roll(sampler: Sampler, dtype: torch.dtype = F64) -> Trajectory:
    return rollout(sampler, policy(dtype), *starts(dtype), PROMPTS)


def replay(kernel: Kernel, rows: Transitions, denoiser: NetworkDenoiser, conds: Tensor) -> Tensor:
    return kernel(denoiser(rows.x, rows.t, conds), rows.s).log_prob(rows.next)


# What is stored can be replayed


@pytest.mark.parametrize("dtype", [F64, torch.float32], ids=str)
@pytest.mark.parametrize("kernel", STOCHASTIC.values(), ids=STOCHASTIC.keys())
def test_a_replayed_log_probability_is_the_stored_one_to_the_last_bit(
    kernel: Kernel, dtype: torch.dtype
) -> None:
    rows = roll(uniform(kernel, 6, shift=3.0), dtype).transitions()
    again = replay(kernel, rows, policy(dtype), PROMPTS[rows.sample])
    assert torch.equal(again, rows.log_prob)
    assert rows.log_prob.dtype == dtype


@pytest.mark.parametrize("kernel", STOCHASTIC.values(), ids=STOCHASTIC.keys())
def test_a_stored_log_probability_is_that_of_the_noise_drawn(kernel: Kernel) -> None:
    """By change of variables, log p(x') = log N(z; 0, 1) − d log std, with z from its address."""
    sampler = uniform(kernel, 6, shift=3.0)
    (x, keys), stored = starts(), roll(sampler)
    laws = [step.law for step in walk(sampler, policy(), x, keys, PROMPTS)]
    for i in stored.stochastic:
        z = torch.stack([(key / "step" / i).normal(4, dtype=F64) for key in keys])
        std = laws[i].std
        torch.testing.assert_close(stored.x[i + 1], laws[i].mean + std * z)
        expected = (Normal(0.0, 1.0).log_prob(z) - std.log()).sum(1)
        torch.testing.assert_close(stored.log_prob[i], expected)
        outside = Normal(laws[i].mean, std.expand_as(z)).log_prob(stored.x[i + 1]).sum(1)
        torch.testing.assert_close(stored.log_prob[i], outside)


def test_rows_replay_in_any_order_and_in_any_pieces() -> None:
    kernel = STOCHASTIC["generalised(1.5)"]
    rows = roll(uniform(kernel, 6)).transitions()
    rows = rows[torch.randperm(len(rows))]
    pieces = [replay(kernel, r, policy(), PROMPTS[r.sample]) for r in rows.split(7)]
    assert torch.equal(torch.cat(pieces), rows.log_prob)


# Which steps draw noise


def test_only_the_steps_of_the_window_draw_noise() -> None:
    """[mix-grpo] (Sec. 3): SDE inside the window, ODE outside."""
    stored = roll(MIXED)
    assert stored.stochastic == (2, 3, 4)
    assert [i for i in range(8) if stored.log_prob[i].any()] == [2, 3, 4]
    assert [kernel is STOCHASTIC["flow-sde"] for kernel in MIXED.kernels] == [
        i in (2, 3, 4) for i in range(8)
    ]


@pytest.mark.parametrize(("first", "width"), [(0, 1), (0, 8), (7, 1), (3, 5)])
def test_windows_may_touch_both_ends(first: int, width: int) -> None:
    noisy, plain = STOCHASTIC["dance-sde"], ddim()
    sampler = windowed(plain, noisy, first, width, time_grid(8))
    inside = [i for i, kernel in enumerate(sampler.kernels) if kernel is noisy]
    assert inside == list(range(first, first + width))
    assert sampler.times == time_grid(8)
    assert roll(sampler).stochastic == tuple(inside)


@pytest.mark.parametrize(
    ("first", "width", "shown"), [(8, 4, "[8, 12)"), (-1, 2, "[-1, 1)"), (0, 9, "[0, 9)")]
)
def test_a_window_that_does_not_fit_is_refused_with_its_numbers(
    first: int, width: int, shown: str
) -> None:
    with pytest.raises(ValueError, match="does not fit in 8 steps") as error:
        windowed(euler(), STOCHASTIC["dance-sde"], first, width, time_grid(8))
    assert shown in str(error.value)


@pytest.mark.parametrize("width", [0, -2])
def test_a_window_without_steps_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match="use a width of at least 1"):
        windowed(euler(), STOCHASTIC["dance-sde"], 3, width, time_grid(8))


def test_a_step_onto_clean_data_has_no_log_probability() -> None:
    """Its std is 0 for the DDIM family, so it is left out; Euler–Maruyama draws there."""
    assert roll(uniform(STOCHASTIC["generalised(1.5)"], 5)).stochastic == (0, 1, 2, 3)
    assert roll(uniform(STOCHASTIC["dance-sde"], 5)).stochastic == (0, 1, 2, 3, 4)
    assert roll(uniform(STOCHASTIC["cps"], 5, end=0.1)).stochastic == (0, 1, 2, 3, 4)


@pytest.mark.parametrize(
    "kernel",
    [ddim(), euler(), Heun(), DPMSolverPP()],
    ids=["ddim", "euler", "heun", "dpm-solver++"],
)
def test_a_deterministic_chain_has_no_transitions(kernel: Kernel) -> None:
    stored = roll(uniform(kernel, 5))
    assert stored.stochastic == ()
    assert not stored.log_prob.any()
    assert len(stored.transitions()) == 0


# Numbering


def test_transitions_are_numbered_by_step_and_sample() -> None:
    stored = roll(MIXED)
    rows = stored.transitions(first=10)
    assert rows.step.tolist() == [2] * 5 + [3] * 5 + [4] * 5
    assert rows.sample.tolist() == [10, 11, 12, 13, 14] * 3
    for row, (step, sample) in enumerate(zip(rows.step.tolist(), rows.sample.tolist())):
        assert torch.equal(rows.x[row], stored.x[step, sample - 10])
        assert torch.equal(rows.next[row], stored.x[step + 1, sample - 10])
        assert rows.t[row] == stored.times[step]
        assert rows.s[row] == stored.times[step + 1]
        assert rows.log_prob[row] == stored.log_prob[step, sample - 10]


def test_a_trajectory_holds_every_state_from_first_to_last() -> None:
    x, _ = starts()
    stored = roll(MIXED)
    assert stored.x.shape == (9, 5, 4)
    assert stored.log_prob.shape == (8, 5)
    assert torch.equal(stored.x[0], x)
    assert torch.equal(stored.last, stored.x[8])
    assert stored.times == MIXED.times


# Nothing depends on the batch


def one_by_one(order: Sequence[int]) -> Tensor:
    x, keys = starts()
    one = [draw(MIXED, policy(), x[i : i + 1], [keys[i]], PROMPTS[i : i + 1])[0] for i in order]
    return torch.stack(one)


def test_a_sample_is_the_same_alone_and_in_a_batch_and_in_any_order() -> None:
    together = roll(MIXED).last
    assert torch.equal(one_by_one([3, 0, 4, 1, 2]), together[[3, 0, 4, 1, 2]])
    x, keys = starts()
    order = [4, 2, 0, 1, 3]
    shuffled = draw(MIXED, policy(), x[order], [keys[i] for i in order], PROMPTS[order])
    assert torch.equal(shuffled, together[order])


def test_samples_with_the_same_start_part_ways_in_their_first_noisy_step() -> None:
    x, keys = starts()
    stored = rollout(MIXED, policy(), x[:1].repeat(2, 1), keys[:2], PROMPTS[:1].repeat(2))
    apart = [not torch.equal(*state) for state in stored.x]
    assert apart == [False] * 3 + [True] * 6


def test_steps_of_a_chain_draw_independent_noise() -> None:
    noise = [(key / "step" / i).normal(4) for key in starts()[1] for i in range(8)]
    assert len({tuple(z.tolist()) for z in noise}) == 40
    stored = roll(uniform(DDIM(coefficients_preserving(1.0)), 3, end=0.5))
    (x, keys), sampler = starts(), uniform(DDIM(coefficients_preserving(1.0)), 3, end=0.5)
    laws = [step.law for step in walk(sampler, policy(), x, keys, PROMPTS)]
    z = [(state - law.mean) / law.std for law, state in zip(laws, stored.x[1:])]
    assert not torch.allclose(z[0], z[1])
    assert not torch.allclose(z[1], z[2])


@pytest.mark.parametrize(
    "sampler", [MIXED, uniform(DPMSolverPP(), 6), uniform(Heun(), 6)], ids=["mixed", "dpm", "heun"]
)
def test_draw_is_the_last_state_of_rollout(sampler: Sampler) -> None:
    assert torch.equal(draw(sampler, policy(), *starts(), PROMPTS), roll(sampler).last)


# Gradients, memory, cost


def test_only_walk_lets_gradients_through() -> None:
    x, keys = starts()
    denoiser = policy()
    assert not draw(MIXED, denoiser, x, keys, PROMPTS).requires_grad
    assert not rollout(MIXED, denoiser, x, keys, PROMPTS).x.requires_grad
    *_, end = walk(MIXED, denoiser, x, keys, PROMPTS)
    (slope,) = torch.autograd.grad(end.state.sum(), list(denoiser.network.parameters()))
    assert slope.abs().min() > 0


def test_multi_step_solvers_remember_one_prediction() -> None:
    """A chain of 2M steps is not a chain of its first-order steps; without memory it would be.

    They part in the third step: the log-SNR before the first one is −∞, which cancels the memory.
    """
    second, first = roll(uniform(DPMSolverPP(), 6)), roll(uniform(ddim(), 6))
    torch.testing.assert_close(second.x[2], first.x[2])
    assert (second.x[3] - first.x[3]).abs().min() > 1e-5


@pytest.mark.parametrize(
    ("sampler", "calls"),
    [
        (uniform(euler(), 5), 5),
        (uniform(DPMSolverPP(), 5), 5),
        (MIXED, 8),
        (uniform(Heun(), 5, end=0.1), 10),
        (uniform(Heun(), 5), 9),
    ],
    ids=["euler", "dpm", "mixed", "heun", "heun to clean data"],
)
def test_calls_are_the_evaluations_per_sample(sampler: Sampler, calls: int) -> None:
    counted = Counted(policy())
    draw(sampler, counted, *starts(), PROMPTS)
    assert sampler.calls == calls
    assert counted.count == len(PROMPTS) * calls


# Samplers


def test_a_uniform_sampler_has_the_shifted_grid_and_one_kernel() -> None:
    kernel = euler()
    sampler = uniform(kernel, 4, shift=3.0)
    assert sampler.times == pytest.approx((1, 0.9, 0.75, 0.5, 0))
    assert sampler.kernels == (kernel,) * 4
    assert sampler.steps == 4
    assert uniform(kernel, 4, start=0.9, end=0.1).times == pytest.approx((0.9, 0.7, 0.5, 0.3, 0.1))


def test_a_grid_needs_one_kernel_per_step() -> None:
    with pytest.raises(ValueError, match="a grid of 3 times has 2 steps, got 3 kernels"):
        Sampler((1.0, 0.5, 0.0), (euler(),) * 3)


@pytest.mark.parametrize("times", [(0.0, 0.5, 1.0), (1.0, 0.5, 0.5), (1.0, 0.2, 0.3)])
def test_times_must_fall(times: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"must fall strictly, from noise \(1\) towards data"):
        Sampler(times, (euler(),) * 2)


def test_check_looks_at_every_step() -> None:
    """Only the last step of this chain is undefined."""
    times = time_grid(10, end=0.01)
    ok, bad = DDIM(ancestral(0.9)), DDIM(ancestral(9.0))
    Sampler(times, (ok,) * 10).check(LinearVP())
    with pytest.raises(ValueError, match=r"0\.1090 -> 0\.0100 asks for noise"):
        Sampler(times, (ok,) * 9 + (bad,)).check(LinearVP())


@pytest.mark.parametrize(
    ("process", "first", "expected"),
    [(RectifiedFlow(), 1.0, 1.0), (DiscreteVP(), 1.0, 1.0), (VE(), 1.0, 50.0)],
)
def test_a_chain_starts_from_noise_of_the_size_of_its_process(
    process: Process, first: float, expected: float
) -> None:
    sampler = Sampler((first, 0.0), (ddim(),))
    assert sampler.start(process) == pytest.approx(expected)
