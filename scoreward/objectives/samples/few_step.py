"""Few-step fine-tuning: a sampler of a few steps learns from an energy that tells data from it.

[dxmi] arXiv:2407.00626 and the few-step experiment of [score-as-action] arXiv:2502.01819; both from
memory. Needs no reward: the source hands over real pictures, the objective samples with their
conditions, fits the energy V (low on data) and sends the steps downhill. Both methods share all but
the loss of a step, and without entropy terms (τ = 0) they differ in where ∇V is taken: DxMI at the
state a step leads to, score as action at the state it starts from, times the clipped increment.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scoreward.core.chain import Sampler, walk
from scoreward.core.denoiser import Cond
from scoreward.core.keys import Key, normal_each
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.rows import Rows
from scoreward.objectives.base import Needs, Objective, Samples
from scoreward.objectives.samples.energy import (
    MEAN,
    SPREAD,
    STEPS,
    WEIGHTS,
    EnergyInput,
    adam,
    energy,
    fresh,
)
from scoreward.objectives.samples.energy import phrases as vectors


@dataclass(frozen=True)
class FewStepRows(Rows):
    """One step of each sample's chain, and the energies of the finished sample and of a picture."""

    x: Float[Tensor, "batch *shape"]
    noise: Float[Tensor, "batch *shape"]
    cond: Cond
    step: Int[Tensor, " batch"]
    drawn: Float[Tensor, " batch"]
    real: Float[Tensor, " batch"]
    sample: Int[Tensor, " batch"]


@dataclass(frozen=True)
class FewStep(Objective[Samples, FewStepRows, DiffusionPolicy]):
    """One random step of each sample is trained; V is fitted first, on this round's chains."""

    descent: Literal["ctrl", "dxmi"] = "ctrl"  # the loss of a step
    clip: float | None = 0.1  # of a pixel's increment, ctrl, second-hand
    limit: float | None = 1.0  # of a sample's loss, ctrl, second-hand
    clamp: float | None = 1.0  # of the next state, ctrl, second-hand
    regulariser: float = 1.0  # γ, DxMI code
    time_cost: float = 0.1  # of the steps before the middle; its size is ours
    timed: bool = False  # V(x, t) instead of V(x)
    critic_rate: float = 1e-3  # ours; published 1e-5 (DxMI) and 2e-5 for larger networks
    critic_steps: int = 1  # updates of V in a round, DxMI code
    betas: tuple[float, float] = (0.9, 0.999)  # of Adam for V

    def __post_init__(self) -> None:
        if not self.critic_rate > 0 or self.critic_steps < 0 or not self.regulariser > 0:
            raise ValueError(
                "expected critic_rate > 0, critic_steps >= 0 and regulariser > 0 (without it the "
                f"energies have no end), got {self.critic_rate}, {self.critic_steps} and "
                f"{self.regulariser}"
            )

    @property
    def needs(self) -> Needs:
        return Needs(everyone=True)

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> FewStepRows:
        """Sample with the conditions of the data, fit V, choose a step of each sample."""
        steps, data = check(policy.sampler).steps, samples.x0
        names = [key / "sample" / i for i in samples.sample.tolist()]
        start = normal_each((n / "start" for n in names), tuple(data.shape[1:])).to(data)
        states = [policy.sampler.start(policy.process) * start]
        for step in walk(policy.sampler, policy.old, states[0], names, samples.cond):
            states.append(step.state)
        chain = torch.stack(states)
        weights = self._fitted(data, chain, samples.cond, policy, key / "energy")
        place = torch.cat([(n / "which").integers(steps, 1) for n in names])
        draws = (n / "step" / int(k) for n, k in zip(names, place, strict=True))
        noise = normal_each(draws, tuple(data.shape[1:])).to(data)
        place = place.to(data.device)
        rows = torch.arange(len(data), device=data.device)
        layout, zero = self._layout(data, samples.cond), data.new_zeros(len(data))
        drawn, real = (energy(layout, weights, x, zero, samples.cond) for x in (chain[-1], data))
        return FewStepRows(
            chain[place, rows], noise, samples.cond, place, drawn, real, samples.sample
        )

    def loss(self, rows: FewStepRows, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a random step; x_t is frozen, so that only this step is blamed."""
        grid = rows.x.new_tensor(policy.times)
        t, s = grid[rows.step], grid[rows.step + 1]
        law = policy.sampler.kernels[0](policy.current(rows.x, t, rows.cond), s)
        after, weights = law.sample(rows.noise), policy.memory[WEIGHTS]
        layout = self._layout(rows.x, rows.cond)
        metrics = {
            "reward/mean": -rows.drawn.mean(),
            "reward/data": -rows.real.mean(),
            "step/inside": ((after - rows.x).abs() <= (self.clip or torch.inf)).float().mean(),
        }
        if self.descent == "dxmi":  # E V(x_{t+1}, t+1)  [dxmi] (step)
            return energy(layout, weights, after, s, rows.cond).mean(), metrics
        before = rows.x.detach().requires_grad_()
        with torch.enable_grad():
            here = energy(layout, weights, before, t, rows.cond).sum()
        (slope,) = torch.autograd.grad(here, before)
        return work(before.detach(), after, slope, self).mean(), metrics

    def _layout(self, x: Tensor, cond: Cond) -> EnergyInput:
        given = vectors(cond)
        return EnergyInput(tuple(x.shape[1:]), 0 if given is None else given.shape[-1], self.timed)

    def _fitted(
        self, data: Tensor, chain: Tensor, cond: Cond, policy: DiffusionPolicy, key: Key
    ) -> Float[Tensor, " weights"]:
        """A few Adam steps of V on the samples of all processes; it stays in memory."""
        layout, memory = self._layout(data, cond), policy.memory
        if WEIGHTS not in memory:
            memory[WEIGHTS], memory[STEPS] = fresh(layout, key), torch.zeros(())
            memory[MEAN], memory[SPREAD] = (torch.zeros_like(memory[WEIGHTS]) for _ in range(2))
        grid = data.new_tensor(policy.times)
        share = len(data) / policy.total(data.new_tensor(float(len(data))))
        for _ in range(self.critic_steps):
            with torch.enable_grad():
                weights = memory[WEIGHTS].to(data).detach().requires_grad_()
                last = grid[-1].expand(len(data))
                real = energy(layout, weights, data, last, cond)
                states = [
                    energy(layout, weights, x, t.expand(len(x)), cond)
                    for x, t in zip(chain, grid, strict=True)
                ]
                error = fit(real, torch.stack(states), self.regulariser, self.time_cost)
                (slope,) = torch.autograd.grad(share * error, weights)
            adam(memory, policy.total(slope), self.critic_rate, self.betas)
        return memory[WEIGHTS].to(data)


def fit(
    real: Float[Tensor, " batch"],
    states: Float[Tensor, "states batch"],
    regulariser: float,
    time_cost: float,
) -> Tensor:
    """What V minimises, from its values on data and on the states of chains.

    E V(data) − E V(x_T) + γ E [V(data)² + V(x_T)²]  [dxmi] (energy), whose minimum is
    (q − p)/2γ(p + q) for data p and samples q; plus, for all other states, the squared distance to
    V(x_{k+1}) + c σ(T/2 − k), the next value being frozen.  [dxmi] (value)
    """
    drawn, steps = states[-1], len(states) - 1
    apart = real.mean() - drawn.mean()
    size = real.square().mean() + drawn.square().mean()
    cost = time_cost * (steps / 2 - torch.arange(steps).to(states)).sigmoid()
    gap = states[:-1] - states[1:].detach() - cost[:, None]
    return apart + regulariser * size + gap.square().mean()


def work(before: Tensor, after: Tensor, slope: Tensor, settings: FewStep) -> Tensor:
    """∇V(x_t) · clip(x_{t+1} − x_t), summed and clipped.  [score-as-action] (few-step loss)"""
    if settings.clamp is not None:
        after = after.clamp(-settings.clamp, settings.clamp)
    increment = after - before
    if settings.clip is not None:
        increment = increment.clamp(-settings.clip, settings.clip)
    total = (slope * increment).flatten(1).sum(1)
    return total if settings.limit is None else total.clamp(-settings.limit, settings.limit)


def check(sampler: Sampler) -> Sampler:
    """The sampler, if all its steps are the same one-call step.  Raises ValueError."""
    kernels = sampler.kernels
    if not kernels or not kernels[0].replayable or any(k != kernels[0] for k in kernels):
        raise ValueError(
            "few-step training draws a random step of each sample, so it needs one step or more, "
            "all of the same kernel with one call (ddim or euler); got "
            f"{[type(k).__name__ for k in kernels]}"
        )
    return sampler
