"""What methods share that differentiate the reward: they sample themselves, with gradients.

The rollout hands over starting noise. Steps before the first graded one need no gradient; from
there the chain and the reward are one graph. Only differentiable rewards can be used.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from scoreward.core.denoiser import Cond, Denoiser
from scoreward.core.keys import Key, normal_each
from scoreward.core.policy import DiffusionPolicy
from scoreward.core.prediction import Prediction
from scoreward.core.rows import Rows
from scoreward.objectives.base import Needs, Objective, Samples


@dataclass(frozen=True)
class StartRows(Rows):
    """Starting noise, the noise of every step and of copies, and the round's first graded step."""

    x: Float[Tensor, "batch *shape"]
    noise: Float[Tensor, "batch draws *shape"]
    cond: Cond
    first: Int[Tensor, " batch"]
    held_at: Int[Tensor, " batch"]  # the round's step at which an earlier anchor holds
    sample: Int[Tensor, " batch"]


@dataclass(frozen=True)
class Graded:
    """One step of a graded chain: what the network said and where it led."""

    prediction: Prediction
    state: Float[Tensor, "batch *shape"]


@dataclass(frozen=True)
class StartObjective(Objective[Samples, StartRows, DiffusionPolicy]):
    """Draws the noise; a method decides where gradients begin and what the loss is."""

    anchor: float = 0.0  # ours: weight of mean (v − v_reference)²
    anchor_step: Literal["graded", "any"] = "graded"  # where: on the graded steps, or at a random
    # step up to the first of them, at one more trained evaluation
    anchor_guidance: float = 1.0  # of the reference in the anchor, as in [crd]
    recompute: bool = False  # trade time for memory: activations of graded steps are made again

    def __post_init__(self) -> None:
        if self.anchor < 0:
            raise ValueError(f"`anchor` is a weight and must not be negative, got {self.anchor}")

    @property
    def needs(self) -> Needs:
        return Needs(data="starts")

    def first(self, steps: int, key: Key) -> int:
        """The first graded step of a round."""
        return 0

    @property
    def extra(self) -> int:
        """Draws of noise beyond one per step."""
        return 0

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> StartRows:
        steps, shape = policy.sampler.steps, tuple(samples.x0.shape[1:])
        names = [key / "sample" / i for i in samples.sample.tolist()]
        draws = range(steps + self.extra)
        noise = [normal_each((n / "step" / i for n in names), shape) for i in draws]
        first = self.first(steps, key / "first")
        stacked = torch.stack(noise, 1).to(samples.x0)
        place = int((key / "held").integers(first + 1, 1))
        graded, held = (torch.full_like(samples.sample, step) for step in (first, place))
        return StartRows(samples.x0, stacked, samples.cond, graded, held, samples.sample)

    def graded(
        self, rows: StartRows, policy: DiffusionPolicy, seen: dict[int, Tensor] | None = None
    ) -> Iterator[Graded]:
        """The chain of `policy.sampler`, with gradients from the round's first graded step on.

        The states up to that step are put into `seen`.
        """
        x, previous, sampler = rows.x, None, policy.sampler
        first = int(rows.first[0])
        for i, kernel in enumerate(sampler.kernels):
            if seen is not None and i <= first:
                seen[i] = x.detach()
            live = i >= first and torch.is_grad_enabled()
            denoiser = policy.old if policy.on_policy and not live else policy.current
            now, then = sampler.times[i : i + 2]
            t, s = (x.new_full((len(x),), time) for time in (now, then))
            with torch.set_grad_enabled(live):
                law, previous = kernel.step(
                    lambda y, u: self._ask(denoiser, y, u, rows.cond, policy, live),  # noqa: B023
                    *(x, t, s, previous, then),
                )
                x = law.mean + law.std * rows.noise[:, i]
            if live:
                yield Graded(previous, x)

    def _ask(
        self,
        denoiser: Denoiser,
        x: Tensor,
        t: Tensor,
        cond: Cond,
        policy: DiffusionPolicy,
        live: bool,
    ) -> Prediction:
        if not (live and self.recompute):
            return denoiser(x, t, cond)
        x0, eps = checkpoint(lambda y: pair(denoiser(y, t, cond)), x, use_reentrant=False)
        return Prediction(x, t, x0, eps, policy.process)

    def held(
        self, steps: list[Graded], rows: StartRows, policy: DiffusionPolicy, seen: dict[int, Tensor]
    ) -> Tensor | None:
        """mean (v − v_reference)² where the anchor holds, None without one."""
        if not self.anchor:
            return None
        predictions = [step.prediction for step in steps]
        if self.anchor_step == "any":
            place = int(rows.held_at[0])
            x = seen[place]
            t = x.new_full((len(x),), policy.times[place])
            predictions = [self._ask(policy.current, x, t, rows.cond, policy, live=True)]
        reference, gaps = policy.anchor(self.anchor_guidance), []
        for p in predictions:
            first = reference(p.x_t.detach(), p.t, rows.cond).as_("velocity")
            gaps.append((p.as_("velocity") - first).square().mean())
        return torch.stack(gaps).mean()

    def metrics(self, reward: Tensor, held: Tensor | None) -> dict[str, Tensor]:
        """Mean and range of the reward, and the distance to the anchor where there is one."""
        seen, name = reward.detach(), "velocity" if self.anchor_guidance == 1.0 else "guided"
        metrics = {"reward/mean": seen.mean(), "reward/max": seen.max(), "reward/min": seen.min()}
        return metrics if held is None else metrics | {f"drift/{name}": held.detach()}


def pair(prediction: Prediction) -> tuple[Tensor, Tensor]:
    """x0 and ε of a prediction."""
    return prediction.x0, prediction.eps


def rewarded(x0: Tensor, rows: StartRows, policy: DiffusionPolicy) -> Float[Tensor, " batch"]:
    """The differentiable reward of finished samples."""
    if policy.rollout.score is None:
        raise ValueError("this objective differentiates the reward, so it needs an online source")
    return policy.rollout.score(x0, rows.sample)
