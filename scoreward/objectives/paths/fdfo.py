"""FDFO: move the velocity along the difference of two finished samples that differ by little noise.

[fdfo] arXiv:2603.12893, from its equations. Groups are pairs that start from nearly the same noise
(Online.own_start = 1 − 1/(1 + γ)²) and take `kernel.Churn` steps; raw rewards are used.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.objectives.base import Needs, Objective, Samples
from scoreward.objectives.paths.replay import PathRows, again, path_rows, place, read, stored


@dataclass(frozen=True)
class FDFORows(PathRows):
    """Transitions with the direction of their branch; `advantage` is half the reward gap."""

    direction: Float[Tensor, "rows *shape"]


@dataclass(frozen=True)
class FDFO(Objective[Samples, FDFORows, DiffusionPolicy]):
    """The settings of the public code."""

    epsilon: float = 0.03  # of the SPO loss, code
    anchor: float = 0.0  # λ, weight of mean (v − v_reference)², code: 0

    @property
    def needs(self) -> Needs:
        return Needs(data="paths", together="updated", answers=True)

    def prepare(self, samples: Samples, policy: DiffusionPolicy, key: Key) -> FDFORows:
        if len(samples) % 2 or bool((samples.group.bincount() % 2).any()):
            raise ValueError("FDFO compares pairs, so the group must have an even size, usually 2")
        path = stored(policy.rollout.paths)
        rows, at = path_rows(samples, path), place(samples, path.sample)
        gap = halved(samples.reward).to(rows.advantage)[at]
        step = halved(samples.x0)
        size = step.flatten(1).square().mean(1) + 1e-6
        direction = (step / size.reshape(-1, *[1] * (step.ndim - 1)))[at]
        return FDFORows(rows.path, rows.cond, gap, None, rows.sample, direction)

    def answered(self, rows: FDFORows, policy: DiffusionPolicy) -> FDFORows:
        rows = again(rows, policy)
        path = rows.path
        if not self.anchor:
            return rows
        answer = policy.reference(path.x, path.t, rows.cond).as_(policy.kind)
        return replace(rows, reference=answer)

    def loss(self, rows: FDFORows, policy: DiffusionPolicy) -> tuple[Tensor, dict[str, Tensor]]:
        """−dR ρ + |dR|/(2ε) (ρ − 1)².  [fdfo] (SPO)"""
        path = rows.path
        new = policy.current(path.x, path.t, rows.cond).as_("velocity")
        old = new.detach() if policy.on_policy else read(path, path.answer, policy).as_("velocity")
        log_ratio = log_ratio_of(new, old, rows.direction)
        ratio, gap = log_ratio.exp(), rows.advantage
        loss = (gap.abs() / (2 * self.epsilon) * (ratio - 1).square() - gap * ratio).mean()
        seen = ratio.detach()
        metrics = {"ratio/mean": seen.mean(), "ratio/min": seen.min(), "ratio/max": seen.max()}
        if rows.reference is not None:
            first = read(path, rows.reference, policy).as_("velocity")
            drift = (new - first).square().mean()
            loss, metrics["drift/velocity"] = loss + self.anchor * drift, drift.detach()
        return loss, metrics


def log_ratio_of(new: Tensor, old: Tensor, direction: Tensor) -> Float[Tensor, " rows"]:
    """−mean (v − v̂)² + mean d̂², v̂ = v_old − d̂.  [fdfo] (ratio)"""
    gap = (new - old + direction).flatten(1).square().mean(1)
    return direction.flatten(1).square().mean(1) - gap


def halved(value: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *shape"]:
    """(a − b)/2 and (b − a)/2 for neighbours a, b."""
    pairs = value.reshape(-1, 2, *value.shape[1:])
    half = (pairs[:, 0] - pairs[:, 1]) / 2
    return torch.stack([half, -half], 1).reshape(value.shape)
