"""Chains of Gaussian steps: how samples are drawn and what of them can be replayed.

A `Sampler` is a time grid with one kernel per step, so a mixed ODE/SDE window is just a list.
`walk` yields the steps one by one; `draw` keeps only the last state, `rollout` keeps all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scoreward.denoiser import Cond, Denoiser
from scoreward.gaussian import Gaussian
from scoreward.kernel import Kernel
from scoreward.keys import Key, normal_each
from scoreward.process import Process, time_grid
from scoreward.rows import Rows


@dataclass(frozen=True)
class Sampler:
    """Times from noise to data and the kernel of each step between them."""

    times: tuple[float, ...]
    kernels: tuple[Kernel, ...]

    def __post_init__(self) -> None:
        if len(self.times) != len(self.kernels) + 1:
            raise ValueError(
                f"a grid of {len(self.times)} times has {len(self.times) - 1} steps, "
                f"got {len(self.kernels)} kernels"
            )
        if any(s >= t for t, s in zip(self.times, self.times[1:], strict=False)):
            raise ValueError("sampler times must fall strictly, from noise (1) towards data (0)")

    @property
    def steps(self) -> int:
        return len(self.kernels)

    @property
    def calls(self) -> int:
        """Network evaluations per sample (Heun's last step onto σ = 0 uses one less)."""
        return sum(kernel.calls for kernel in self.kernels)

    def check(self, process: Process) -> None:
        """Raise ValueError if a step is not defined for this process."""
        for kernel, t, s in zip(self.kernels, self.times, self.times[1:], strict=False):
            kernel.check(process, t, s)


def uniform(
    kernel: Kernel, steps: int, shift: float = 1.0, start: float = 1.0, end: float = 0.0
) -> Sampler:
    """The same kernel on every step of a (shifted) grid."""
    return Sampler(time_grid(steps, shift, start, end), (kernel,) * steps)


def windowed(ode: Kernel, sde: Kernel, first: int, width: int, times: tuple[float, ...]) -> Sampler:
    """Stochastic steps first … first + width − 1, deterministic elsewhere.  [mix-grpo] (Sec. 3)"""
    steps = len(times) - 1
    if width < 1 or not 0 <= first <= first + width <= steps:
        raise ValueError(
            f"stochastic window [{first}, {first + width}) does not fit in {steps} steps; "
            "use a width of at least 1, lower `first` or raise `steps`"
        )
    inside = range(first, first + width)
    return Sampler(times, tuple(sde if i in inside else ode for i in range(steps)))


@dataclass(frozen=True)
class Transitions(Rows):
    """The stochastic steps of all samples as one flat batch; what path methods train on."""

    x: Float[Tensor, "rows *shape"]
    next: Float[Tensor, "rows *shape"]
    t: Float[Tensor, " rows"]
    s: Float[Tensor, " rows"]
    log_prob: Float[Tensor, " rows"]
    step: Int[Tensor, " rows"]
    sample: Int[Tensor, " rows"]


@dataclass(frozen=True)
class Trajectory:
    """All states of a chain; `log_prob` in nats, 0 where the step was deterministic."""

    x: Float[Tensor, "states batch *shape"]
    times: tuple[float, ...]
    log_prob: Float[Tensor, "steps batch"]
    stochastic: tuple[int, ...]

    @property
    def last(self) -> Tensor:
        return self.x[-1]

    def transitions(self, first: int = 0) -> Transitions:
        """Rows (sample, step) for the steps that drew noise, samples counted from `first`."""
        batch, device = self.x.shape[1], self.x.device
        index = torch.tensor(self.stochastic, dtype=torch.long, device=device)
        grid = torch.tensor(self.times, dtype=self.x.dtype, device=device)
        return Transitions(
            x=self.x[index].flatten(0, 1),
            next=self.x[index + 1].flatten(0, 1),
            t=grid[index].repeat_interleave(batch),
            s=grid[index + 1].repeat_interleave(batch),
            log_prob=self.log_prob[index].flatten(),
            step=index.repeat_interleave(batch),
            sample=torch.arange(first, first + batch, device=device).repeat(len(index)),
        )


def walk(
    sampler: Sampler, denoiser: Denoiser, x: Tensor, keys: Sequence[Key], cond: Cond
) -> Iterator[tuple[Gaussian, Tensor]]:
    """The law of each step and the state drawn from it.

    `x` is the state at the first time; `keys` has one address per sample, so that a sample's noise
    does not depend on who else is in the batch. Gradients flow if the caller allows them.
    """
    previous = None
    for i, kernel in enumerate(sampler.kernels):
        t, s = (x.new_full((len(x),), time) for time in sampler.times[i : i + 2])
        law, previous = kernel.step(lambda y, u: denoiser(y, u, cond), x, t, s, previous)
        x = _draw(law, keys, i)
        yield law, x


def _draw(law: Gaussian, keys: Sequence[Key], step: int) -> Tensor:
    if not bool((law.std > 0).any()):
        return law.mean
    shape = tuple(law.mean.shape[1:])
    noise = normal_each((key / "step" / step for key in keys), shape, law.mean.dtype)
    return law.sample(noise.to(law.mean.device))


@torch.no_grad()
def draw(
    sampler: Sampler, denoiser: Denoiser, x: Tensor, keys: Sequence[Key], cond: Cond
) -> Tensor:
    """The last state only."""
    for _, state in walk(sampler, denoiser, x, keys, cond):
        x = state
    return x


@torch.no_grad()
def rollout(
    sampler: Sampler, denoiser: Denoiser, x: Tensor, keys: Sequence[Key], cond: Cond
) -> Trajectory:
    """All states, with log-probabilities of the stochastic steps that one call can replay."""
    states, log_probs, stochastic = [x], [], []
    for i, (law, state) in enumerate(walk(sampler, denoiser, x, keys, cond)):
        random = sampler.kernels[i].replayable and bool((law.std > 0).all())
        log_probs.append(law.log_prob(state) if random else state.new_zeros(len(state)))
        stochastic += [i] if random else []
        states.append(state)
    return Trajectory(torch.stack(states), sampler.times, torch.stack(log_probs), tuple(stochastic))
