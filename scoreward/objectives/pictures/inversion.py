"""A picture taken back to its noise by a network: DDIM inversion, and ReNoise.

Ours walk from clean data to the picture's own time in equal steps. DDIM inversion takes the
network's ε at the start of a step for the whole step; ReNoise asks again at the state it would
arrive at, and goes on from the beginning of the step with the mean of what it heard.

The releases of InPO and SmPO walk over a few fixed labels and stop at the last below the picture's
own, ask at the label of arrival, and read the noise off as if the state stood at its own time
(`released`). Their launchers take one pair at a time, as it is here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.denoiser import Cond, Denoiser
from scoreward.core.keys import normal_each
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.prediction import per_sample
from scoreward.core.process import DiscreteVP, Process
from scoreward.losses.diffusion_tensors import implied_noise
from scoreward.objectives.pictures.rows import Chosen

Past = Literal["refuse", "last"]
Fresh = Callable[[int], Tensor]
"""The noise of a step, one row per picture, by the label of the step."""

NEAR = 1e-3  # the network is not asked about times below this, which it has not seen


@torch.no_grad()
def inverted(
    x0: Float[Tensor, "batch *shape"],
    t: Float[Tensor, " batch"],
    cond: Cond,
    network: Denoiser,
    process: Process,
    steps: int = 10,
    passes: int = 0,
) -> Float[Tensor, "batch *shape"]:
    """x_t of each picture at its own time; `passes` further answers per step are ReNoise."""
    if not len(x0):
        return x0
    x, before = x0, torch.zeros_like(t)
    for k in range(1, steps + 1):
        after = t * (k / steps)
        eps = network(x, before.clamp(min=NEAR), cond).eps
        heard = []
        for _ in range(passes):
            heard.append(network(moved(x, eps, before, after, process), after, cond).eps)
            eps = torch.stack(heard).mean(0)
        x, before = moved(x, eps, before, after, process), after
    return x


def moved(
    x: Tensor, eps: Tensor, t: Tensor, s: Tensor, process: Process
) -> Float[Tensor, "batch *shape"]:
    """x_s = α_s (x_t − σ_t ε)/α_t + σ_s ε.  [ddim] (12)"""
    (alpha, sigma), (alpha_s, sigma_s) = (
        process.coefficients(per_sample(time, x)) for time in (t, s)
    )
    return alpha_s * (x - sigma * eps) / alpha + sigma_s * eps


def noise_inside(
    x_t: Tensor, x0: Tensor, t: Tensor, process: Process
) -> Float[Tensor, "batch *shape"]:
    """The ε with which x0 becomes x_t.  [inpo] (noise)"""
    return implied_noise(x_t, x0, *process.coefficients(t)).to(x0)


def own_noise(
    one: Chosen, policy: DiffusionPolicy, steps: int, passes: int = 0
) -> Float[Tensor, "pairs *shape"]:
    """The noise that the policy finds in each picture by the walk of ours."""
    x_t = inverted(one.x0, one.t, one.cond, policy.old, policy.process, steps, passes)
    return noise_inside(x_t, one.x0, one.t, policy.process)


def fresh_each(one: Chosen) -> Fresh:
    """Noise at a label that is each picture's own, also within a pair."""
    numbers, shape = one.samples.sample[one.at].tolist(), tuple(one.x0.shape[1:])
    own = [key / "inversion" / number for key, number in zip(one.keys, numbers, strict=True)]
    return lambda label: normal_each((key / label for key in own), shape)


@dataclass(frozen=True)
class Released:
    """The walk of a release: `steps` labels 1, 1 + 1000/steps, …, and what happens at each.

    `mix` is η of the noise added at a label; the release then reads ᾱ one stride further, which for
    the last label lies past the table, and cannot run. `past` "last" takes the table's last entry.
    """

    steps: int = 10
    mix: float = 0.0
    averaged: bool = False  # two answers at each label, and their mean
    past: Past = "refuse"

    def labels(self, process: Process) -> range:
        """The labels of the walk; a release knows tables of ᾱ only."""
        if not isinstance(process, DiscreteVP):
            raise ValueError(
                f"the released inversion walks over the labels of a table, and this model is a "
                f"{type(process).__name__}; leave out `as_released`"
            )
        return range(1, process.steps, process.steps // self.steps)

    def noise(self, one: Chosen, policy: DiffusionPolicy) -> Float[Tensor, "pairs *shape"]:
        """The noise that the policy finds in each picture."""
        walked = self(one.x0, one.t, one.cond, policy.old, policy.process, fresh_each(one))
        return noise_inside(walked, one.x0, one.t, policy.process)

    @torch.no_grad()
    def __call__(
        self,
        x0: Float[Tensor, "batch *shape"],
        t: Float[Tensor, " batch"],
        cond: Cond,
        network: Denoiser,
        process: Process,
        fresh: Fresh,
    ) -> Float[Tensor, "batch *shape"]:
        """The state at the last label below that of `t`.  [inpo] (code), [smpo] (code)"""
        labels, x = self.labels(process), x0.clone()
        own = t.double() * labels.stop - 1
        for label in labels:
            at = (own > label + 0.5).nonzero()[:, 0]
            if not len(at):
                break
            given = None if cond is None else cond[at]
            start, here = x[at], torch.full_like(t[at], (label + 1) / labels.stop)
            before = (max(label - labels.step, 0) + 1) / labels.stop
            eps = network(start, here, given).eps
            there = torch.full_like(here, before)
            if self.averaged:
                guess = moved(start, eps, there, here, process)
                eps = (eps + network(guess, here, given).eps) / 2
            x[at] = moved(start, eps, there, here, process)
            if self.mix:
                std = self.spread(label, labels, process)
                x[at] = x[at] + self.mix * std * fresh(label)[at].to(x0)
        return x

    def spread(self, label: int, labels: range, process: Process) -> float:
        """√((1 − ᾱ_l)/(1 − ᾱ_u)·(1 − ᾱ_u/ᾱ_l)), u one stride past l.  [inpo] (code)"""
        after = label + labels.step
        if after >= labels.stop:
            if self.past == "refuse":
                raise ValueError(
                    f"a pair has a time above label {label}, where the release reads its table at "
                    f"{after}, past its {labels.stop} entries, and stops; choose past_table="
                    '"last", leave out `as_released`, or draw earlier times'
                )
            after = labels.stop - 1
        times = torch.tensor([label + 1, after + 1], dtype=torch.float64) / labels.stop
        bar, bar_after = (process.alpha(times) ** 2).tolist()
        return ((1 - bar) / (1 - bar_after) * (1 - bar_after / bar)) ** 0.5
