"""Chains of Gaussian steps: how samples are drawn and what of them can be replayed.

A `Sampler` is a time grid with one kernel per step, so a mixed ODE/SDE window is just a list.
`walk` yields the steps one by one; `draw` keeps only the last state, `rollout` keeps all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scoreward.core.denoiser import Cond, Denoiser
from scoreward.core.device import placed
from scoreward.core.gaussian import Gaussian
from scoreward.core.kernel import Kernel
from scoreward.core.keys import Key, normal_each
from scoreward.core.prediction import Kind, Prediction
from scoreward.core.process import Process, time_grid
from scoreward.core.rows import Rows


@dataclass(frozen=True)
class Sampler:
    """Times from noise to data and the kernel of each step between them.

    >>> import scoreward as sw
    >>> sampler = sw.Sampling(steps=4, eta=1.0).sampler()
    >>> sampler.times
    (1.0, 0.75, 0.5, 0.25, 0.0)
    >>> sampler.stochastic(sw.RectifiedFlow())  # the last step, onto clean data, draws no noise
    (0, 1, 2)
    """

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

    def stochastic(self, process: Process) -> tuple[int, ...]:
        """The steps that draw noise and can be replayed from one network call."""
        grid = torch.tensor(self.times, dtype=torch.float64)
        return tuple(
            i
            for i, kernel in enumerate(self.kernels)
            if kernel.replayable and kernel.std(process, grid[i], grid[i + 1]).item() > 0
        )

    @property
    def replayable(self) -> tuple[int, ...]:
        """The steps that can be replayed from one network call, with noise or without."""
        return tuple(i for i, kernel in enumerate(self.kernels) if kernel.replayable)

    @property
    def calls(self) -> int:
        """Network evaluations per sample; Heun's step onto clean data at time 0 has one, not two.

        VE alone has σ(0) > 0, and one evaluation more there than is counted.
        """
        ends = zip(self.kernels, self.times[1:], strict=True)
        return sum(kernel.evaluations(s) for kernel, s in ends)

    @property
    def asked(self) -> tuple[int, ...]:
        """The step of each network evaluation of a chain, in order; the last may not be needed."""
        return tuple(i for i, kernel in enumerate(self.kernels) for _ in range(kernel.calls))

    def start(self, process: Process) -> float:
        """Standard deviation of the noise a chain starts from: 1, or σ where it is larger (VE)."""
        first = torch.tensor(self.times[0], dtype=torch.float64)
        return max(1.0, process.sigma(first).item())

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
class Tree:
    """A group of samples as the leaves of a binary tree: noise splits at the steps `splits`.

    Between splits the samples of a branch share their noise, so they are one state and cost one
    network evaluation. `leaves` is 2^len(splits).  [branch-grpo] (tree)
    """

    splits: tuple[int, ...]

    @property
    def leaves(self) -> int:
        return 2 ** len(self.splits)

    def width(self, step: int) -> int:
        """Leaves that share one state before step `step`."""
        return self.leaves >> sum(split < step for split in self.splits)


@dataclass(frozen=True)
class Transitions(Rows):
    """The stochastic steps of all samples as one flat batch; what path methods train on.

    `answer` is what the network that sampled said, read as the model's own kind; `row` counts the
    rows of this process. In a tree only the first leaf of a branch has a row.

    >>> import torch
    >>> import scoreward as sw
    >>> from scoreward.core.chain import rollout
    >>> from scoreward.core.keys import Key
    >>> toy = sw.recipe("flow_grpo", on="toy").run().model
    >>> start, keys, cond = torch.zeros(3, 2), [Key((0, i)) for i in range(3)], torch.arange(3)
    >>> path = rollout(sw.Noisy(steps=4).sampler(), toy.denoiser, start, keys, cond)
    >>> path.transitions().x.shape  # 3 samples of 4 steps
    torch.Size([12, 2])
    """

    x: Float[Tensor, "rows *shape"]
    next: Float[Tensor, "rows *shape"]
    t: Float[Tensor, " rows"]
    s: Float[Tensor, " rows"]
    log_prob: Float[Tensor, " rows"]
    answer: Float[Tensor, "rows *shape"]
    step: Int[Tensor, " rows"]
    sample: Int[Tensor, " rows"]
    row: Int[Tensor, " rows"]


@dataclass(frozen=True)
class Trajectory:
    """All states of a chain; `log_prob` in nats, 0 where the step was deterministic."""

    x: Float[Tensor, "states batch *shape"]
    times: tuple[float, ...]
    log_prob: Float[Tensor, "steps batch"]
    answer: Float[Tensor, "steps batch *shape"]
    stochastic: tuple[int, ...]
    tree: Tree | None = None

    @property
    def last(self) -> Tensor:
        return self.x[-1]

    def transitions(self, first: int = 0, steps: Sequence[int] | None = None) -> Transitions:
        """Rows (sample, step) of some stochastic steps, by default all; samples from `first`."""
        wanted = self.stochastic if steps is None else tuple(steps)
        if unknown := set(wanted) - set(self.stochastic):
            raise ValueError(f"steps {sorted(unknown)} drew no noise; those that did: {wanted}")
        device, grid = self.x.device, self.x.new_tensor(self.times)
        # in a tree several samples share a transition, which is the first one's
        apart = {i: 1 if self.tree is None else self.tree.width(i + 1) for i in wanted}
        edges = [(i, j) for i in wanted for j in range(0, self.x.shape[1], apart[i])]
        at = torch.tensor(edges, dtype=torch.long, device=device).reshape(-1, 2)
        step, sample = at.unbind(1)
        return Transitions(
            x=self.x[step, sample],
            next=self.x[step + 1, sample],
            t=grid[step],
            s=grid[step + 1],
            log_prob=self.log_prob[step, sample],
            answer=self.answer[step, sample],
            step=step,
            sample=first + sample,
            row=torch.arange(len(edges), device=device),
        )


@dataclass(frozen=True)
class Step:
    """One step of a chain: what the network said, the law of the next state, and that state.

    `random` is whether noise was drawn; known without asking the device.
    """

    prediction: Prediction
    law: Gaussian
    state: Tensor
    random: bool


def walk(
    sampler: Sampler,
    denoiser: Denoiser,
    x: Tensor,
    keys: Sequence[Key],
    cond: Cond,
    tree: Tree | None = None,
) -> Iterator[Step]:
    """The steps of a chain, one by one.

    `x` is the state at the first time; `keys` has one address per sample, so that a sample's noise
    does not depend on who else is in the batch. Gradients flow if the caller allows them. With a
    tree the batch is whole groups of leaves that start from one state.
    """
    previous = None
    for i, kernel in enumerate(sampler.kernels):
        before, after = (1, 1) if tree is None else (tree.width(i), tree.width(i + 1))
        one, given = x[::before], None if cond is None else cond[::before]
        if previous is not None and len(previous.t) != len(one):
            previous = None  # after a split; multi-step solvers start anew there
        now, then = sampler.times[i : i + 2]
        t, s = (x.new_full((len(one),), time) for time in (now, then))
        law, previous = kernel.step(lambda y, u: denoiser(y, u, given), one, t, s, previous, then)  # noqa: B023
        random = draws(kernel, previous.process, now, then, x.dtype)
        if not random and x.device.type == "cpu" and bool((law.std > 0).any()):
            raise ValueError(
                f"{type(kernel).__name__} draws noise in step {now:.4g} -> {then:.4g} of which its "
                "`std` says nothing; define `std`, by which it is known which steps are random"
            )
        each = repeated(law, before // after)
        drawn = _draw(each, keys[::after], i) if random else each.mean
        x = drawn.repeat_interleave(after, 0) if after > 1 else drawn
        yield Step(previous, repeated(law, before), x, random)


def draws(kernel: Kernel, process: Process, t: float, s: float, dtype: torch.dtype) -> bool:
    """Whether the step t → s draws noise: found on the CPU, so that no device is waited for."""
    now, then = torch.tensor([t, s], dtype=dtype, device="cpu")
    return bool(kernel.std(process, now, then) > 0)


def repeated(law: Gaussian, times: int) -> Gaussian:
    """The law with each row `times` times in a row."""
    if times == 1:
        return law
    return Gaussian(law.mean.repeat_interleave(times, 0), law.std.repeat_interleave(times, 0))


def _draw(law: Gaussian, keys: Sequence[Key], step: int) -> Tensor:
    shape = tuple(law.mean.shape[1:])
    noise = normal_each((key / "step" / step for key in keys), shape, law.mean.dtype)
    return law.sample(placed(noise, law.mean.device))


@torch.no_grad()
def draw(
    sampler: Sampler, denoiser: Denoiser, x: Tensor, keys: Sequence[Key], cond: Cond
) -> Tensor:
    """The last state of each chain, [batch, …]: samples of the denoiser.

    >>> import torch
    >>> import scoreward as sw
    >>> model = sw.tasks["toy"].open(None)
    >>> keys = [sw.Key(("mine", i)) for i in range(4)]
    >>> x = torch.stack([key.normal(2) for key in keys])
    >>> cond = model.encode(["north east"] * 4)
    >>> sw.draw(sw.Sampling(steps=5).sampler(), model.denoiser, x, keys, cond).shape
    torch.Size([4, 2])
    """
    for step in walk(sampler, denoiser, x, keys, cond):
        x = step.state
    return x


@torch.no_grad()
def rollout(
    sampler: Sampler,
    denoiser: Denoiser,
    x: Tensor,
    keys: Sequence[Key],
    cond: Cond,
    tree: Tree | None = None,
    kind: Kind = "velocity",
    every: bool = False,
) -> Trajectory:
    """All states, with log-probabilities of the stochastic steps that one call can replay.

    With `every` the answers of replayable steps without noise are kept too.
    """
    states, log_probs, answers, stochastic = [x], [], [], []
    for i, step in enumerate(walk(sampler, denoiser, x, keys, cond, tree)):
        random = sampler.kernels[i].replayable and step.random
        log_probs.append(step.law.log_prob(step.state) if random else x.new_zeros(len(x)))
        kept = random or (every and sampler.kernels[i].replayable)
        answer = step.prediction.as_(kind) if kept else torch.zeros_like(x[:1])
        answers.append(answer.repeat_interleave(len(x) // len(answer), 0))
        stochastic += [i] if kept else []
        states.append(step.state)
    return Trajectory(
        torch.stack(states),
        sampler.times,
        torch.stack(log_probs),
        torch.stack(answers),
        tuple(stochastic),
        tree,
    )
