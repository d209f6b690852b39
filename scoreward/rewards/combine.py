"""Several rewards as one, with the parts kept in sight.

The trainer takes several rewards with weights itself. This is for the places that want one: an
ensemble against reward hacking, a reward server, a judge made of two. A policy that fools one
member seldom fools all, so the least of them, or their mean less their disagreement, is harder to
hack than any one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.rewards.base import (
    Particular,
    Reward,
    answers,
    asked,
    differentiated,
    scored,
    unjudged,
)

Rule = Callable[[Tensor], Tensor]
"""[members, batch] → [batch]."""


@dataclass(frozen=True)
class Scaled:
    """(reward − mean) / std, so that rewards of different units can be added."""

    reward: Reward
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if not self.std > 0:
            raise ValueError(f"std = {self.std}; expected a number above 0")

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        return (asked(self.reward, media, prompts) - self.mean) / self.std

    def unfit(self, prompt: str) -> str | None:
        return self.reward.unfit(prompt) if isinstance(self.reward, Particular) else None


def calibrated(name: str, reward: Reward, media: Tensor, prompts: Sequence[str]) -> Scaled:
    """The reward with mean 0 and standard deviation 1 on these samples, for example the first ones.

    The numbers are fixed from then on, so that the reward does not move under the policy.
    """
    value = scored(name, reward, media, prompts)
    std = float(value.std(correction=0))
    if not std > 0:
        raise ValueError(
            f"reward {name!r} gives {float(value[0]):g} to all {len(value)} samples; it has no "
            "spread to scale by"
        )
    return Scaled(reward, float(value.mean()), std)


@dataclass(frozen=True)
class Combined:
    """Members put together by a rule; `parts` are their own values.

    Differentiable if the media have a gradient and all members have one.
    """

    members: Mapping[str, Reward]
    rule: Rule

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("a combined reward needs one member or more, got none")

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        return self.rule(torch.stack(list(self.parts(media, prompts).values())))

    def parts(self, media: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Each member's answer, checked: a member that fails is an error that names it."""
        if not media.requires_grad or not torch.is_grad_enabled():
            return answers(self.members, media, prompts)
        members = self.members.items()
        return {name: differentiated(name, member, media, prompts) for name, member in members}

    def unfit(self, prompt: str) -> str | None:
        return unjudged(self.members, [prompt])

    @property
    def of_groups(self) -> bool:
        """Whether a member says something only of samples beside one another."""
        return any(getattr(member, "of_groups", False) for member in self.members.values())


@dataclass(frozen=True)
class Weighted:
    """Σ weight · member."""

    weights: tuple[float, ...]

    def __call__(self, values: Float[Tensor, "members batch"]) -> Float[Tensor, " batch"]:
        if len(values) != len(self.weights):
            raise ValueError(f"{len(self.weights)} weights for {len(values)} members")
        return values.new_tensor(self.weights) @ values


def mean(values: Float[Tensor, "members batch"]) -> Float[Tensor, " batch"]:
    return values.mean(0)


def minimum(values: Float[Tensor, "members batch"]) -> Float[Tensor, " batch"]:
    """The worst opinion; the members must be in the same units."""
    return values.amin(0)


@dataclass(frozen=True)
class Cautious:
    """mean − k · standard deviation over the members: they must agree before it pays.

    k = 0 is the mean. For two members and k = 1 it is the minimum.
    """

    k: float = 1.0

    def __call__(self, values: Float[Tensor, "members batch"]) -> Float[Tensor, " batch"]:
        variance = values.var(0, correction=0)
        spread = variance.clamp_min(1e-12).sqrt() * (variance > 1e-12)  # its gradient at 0 is 0
        return values.mean(0) - self.k * spread


def weighted_sum(members: Mapping[str, tuple[Reward, float]]) -> Combined:
    """name → (reward, weight)."""
    rewards = {name: reward for name, (reward, _) in members.items()}
    return Combined(rewards, Weighted(tuple(weight for _, weight in members.values())))
