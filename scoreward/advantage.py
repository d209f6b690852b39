"""From rewards to learning signals.

All functions see the rewards of the whole round, from all processes; the caller keeps its slice.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor


def group_mean(
    value: Float[Tensor, " batch"], group: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """For each sample the mean of its group."""
    _, index = group.unique(return_inverse=True)
    size = torch.bincount(index).to(value)
    return (torch.zeros_like(size).index_add_(0, index, value) / size)[index]


def group_std(
    value: Float[Tensor, " batch"], group: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """For each sample the population standard deviation of its group."""
    return group_mean((value - group_mean(value, group)) ** 2, group).sqrt()


def normalised(
    reward: Float[Tensor, " batch"],
    group: Int[Tensor, " batch"],
    scale: Literal["group", "batch", "none"],
    floor: float,
) -> Float[Tensor, " batch"]:
    """(R − group mean) / (std + δ), std of the group, of the batch, or 1.  [grpo] (Sec. 4.1)"""
    centred = reward - group_mean(reward, group)
    match scale:
        case "group":
            return centred / (group_std(reward, group) + floor)
        case "batch":
            return centred / (reward.std(correction=0) + floor)
        case "none":
            return centred


def soft_clip(advantage: Float[Tensor, " batch"], bound: float | None) -> Float[Tensor, " batch"]:
    """η tanh(A/η); None leaves A as it is.  [vgrpo] (17)"""
    return advantage if bound is None else bound * torch.tanh(advantage / bound)


@dataclass(frozen=True)
class Advantages:
    """How rewards become advantages; several rewards are combined with weights.

    `reward_sum` adds rewards, then normalises once; `advantage_sum` normalises each reward first;
    `gdpo` is `advantage_sum` followed by normalisation over the batch.  [gdpo] (combination)
    """

    scale: Literal["group", "batch", "none"] = "group"  # [grpo] (Sec. 4.1); V-GRPO, MixGRPO
    combine: Literal["reward_sum", "advantage_sum", "gdpo"] = "reward_sum"  # Flow-GRPO, NFT code
    floor: float = 1e-4  # δ added to the std, Flow-GRPO code
    bound: float = 5.0  # |A| is cut here, Flow-GRPO code

    def __post_init__(self) -> None:
        if self.floor < 0 or self.bound <= 0:
            raise ValueError(
                f"expected floor >= 0 and bound > 0, got floor={self.floor}, bound={self.bound}"
            )

    def __call__(
        self,
        rewards: Float[Tensor, "kinds batch"],
        weights: Float[Tensor, " kinds"],
        group: Int[Tensor, " batch"],
    ) -> Float[Tensor, " batch"]:
        if self.combine == "reward_sum":
            advantage = normalised(weights @ rewards, group, self.scale, self.floor)
        else:
            each = [normalised(r, group, self.scale, self.floor) for r in rewards]
            advantage = weights @ torch.stack(each)
        if self.combine == "gdpo":
            centred = advantage - advantage.mean()
            advantage = centred / (advantage.std(correction=0) + self.floor)
        return advantage.clamp(-self.bound, self.bound)


def zero_variance(
    reward: Float[Tensor, " batch"], group: Int[Tensor, " batch"], tolerance: float = 1e-6
) -> Float[Tensor, ""]:
    """Fraction of samples in groups whose rewards are all alike: they teach nothing."""
    return (group_std(reward, group) <= tolerance).to(reward).mean()
