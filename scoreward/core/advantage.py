"""From rewards to learning signals.

All functions see the rewards of the whole round, from all processes; the caller keeps its slice.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def group_mean(
    value: Float[Tensor, "batch *rest"], group: Int[Tensor, " batch"]
) -> Float[Tensor, "batch *rest"]:
    """For each sample the mean of its group; every further axis on its own."""
    _, index = group.unique(return_inverse=True)
    size = torch.bincount(index).to(value).reshape(-1, *[1] * (value.ndim - 1))
    total = value.new_zeros(len(size), *value.shape[1:]).index_add_(0, index, value)
    return (total / size)[index]


def group_std(
    value: Float[Tensor, " batch"], group: Int[Tensor, " batch"], unbiased: bool = False
) -> Float[Tensor, " batch"]:
    """For each sample the standard deviation of its group; `unbiased` divides by n − 1."""
    variance = group_mean((value - group_mean(value, group)) ** 2, group)
    return (variance * _bessel(group).to(value) if unbiased else variance).sqrt()


def _bessel(group: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """n/(n − 1) of each sample's group."""
    _, index, size = group.unique(return_inverse=True, return_counts=True)
    if bool((size < 2).any()):
        raise ValueError(
            "a group of one sample has no unbiased deviation; use groups of at least 2, or "
            "unbiased=False"
        )
    return (size.double() / (size - 1))[index]


def normalised(
    reward: Float[Tensor, " batch"],
    group: Int[Tensor, " batch"],
    scale: Literal["group", "batch", "none"],
    floor: float,
    unbiased: bool = False,
) -> Float[Tensor, " batch"]:
    """(R − group mean) / (std + δ), std of the group, of the batch, or 1.  [grpo] (Sec. 4.1)"""
    centred = (reward - group_mean(reward, group)).masked_fill(uniform(reward, group), 0.0)
    match scale:
        case "group":
            return over(centred, group_std(reward, group, unbiased) + floor)
        case "batch":
            return over(centred, reward.std(correction=int(unbiased)) + floor)
        case "none":
            return centred


def uniform(value: Float[Tensor, " batch"], group: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
    """For each sample whether all of its group are equal, whatever rounding makes of their mean."""
    _, index = group.unique(return_inverse=True)
    differing = value.new_zeros(int(index.max()) + 1)
    one = torch.zeros_like(differing)
    one[index] = value  # any of the group
    return (differing.index_add_(0, index, (value != one[index]).to(value)) == 0)[index]


def over(centred: Float[Tensor, " batch"], spread: Float[Tensor, "..."]) -> Float[Tensor, " batch"]:
    """A quotient that is 0 where there is nothing above; a floor of 0 leaves 0/0 otherwise."""
    return torch.where(centred == 0, centred, centred / spread)


def prompt_normalised(
    reward: Float[Tensor, " batch"],
    prompt: Int[Tensor, " batch"],
    history: Float[Tensor, "prompts size"],
    least: int,
    floor: float,
    unbiased: bool = False,
) -> Float[Tensor, " batch"]:
    """(R − mean) / (std + δ) over the last rewards of the same prompt.  [ddpo] (stat tracking)

    `history` holds them in order, newest last, NaN where there is none yet; the new rewards are
    pushed into it. A prompt with fewer than `least` takes mean and std of the batch.
    """
    result = torch.empty_like(reward)
    for name in prompt.unique().tolist():
        mine = prompt == name
        history[name] = torch.cat([history[name], reward[mine]])[-history.shape[1] :]
        known = history[name][~history[name].isnan()]
        base = known if len(known) >= least else reward
        centred = reward[mine] - base.mean()
        if base.max() == base.min():  # the new rewards are among them
            centred = torch.zeros_like(centred)
        result[mine] = over(centred, base.std(correction=int(unbiased)) + floor)
    return result


def soft_clip(advantage: Float[Tensor, " batch"], bound: float | None) -> Float[Tensor, " batch"]:
    """η tanh(A/η); None leaves A as it is.  [vgrpo] (17)"""
    return advantage if bound is None else bound * torch.tanh(advantage / bound)


@dataclass(frozen=True)
class Advantages:
    """How rewards become advantages; several rewards are combined with weights.

    `reward_sum` adds rewards, then normalises once; `advantage_sum` normalises each reward first;
    `gdpo` is `advantage_sum` followed by normalisation over the batch.  [gdpo] (combination)

    Example:
        >>> import torch
        >>> import scoreward as sw
        >>> rewards, group = torch.tensor([[1.0, 3.0, 5.0, 5.0]]), torch.tensor([0, 0, 1, 1])
        >>> sw.Advantages(floor=0.0)(rewards, weights=torch.ones(1), group=group)
        tensor([-1.,  1.,  0.,  0.])
    """

    scale: Literal["group", "batch", "none", "prompt"] = "group"  # "prompt": [ddpo]'s history
    combine: Literal["reward_sum", "advantage_sum", "gdpo"] = "reward_sum"  # Flow-GRPO, NFT code
    floor: float = 1e-4  # δ added to the std, Flow-GRPO code
    bound: float = 5.0  # |A| is cut here, Flow-GRPO code
    history: int = 32  # rewards kept per prompt with scale="prompt", DDPO code
    least: int = 16  # of them before they are used, DDPO code
    unbiased: bool = False  # deviations with n − 1; MixGRPO and DanceGRPO code: True, δ = 1e-8

    def __post_init__(self) -> None:
        if self.unbiased and self.least < 2:
            raise ValueError(
                f"an unbiased deviation needs at least 2 rewards, got least={self.least}"
            )
        if self.scale == "prompt" and self.combine != "reward_sum":
            raise ValueError('scale="prompt" keeps one history and needs combine="reward_sum"')
        if self.floor < 0 or self.bound <= 0:
            raise ValueError(
                f"expected floor >= 0 and bound > 0, got floor={self.floor}, bound={self.bound}"
            )

    def __call__(
        self,
        rewards: Float[Tensor, "kinds batch"],
        weights: Float[Tensor, " kinds"],
        group: Int[Tensor, " batch"],
        prompt: Int[Tensor, " batch"] | None = None,
        history: Float[Tensor, "prompts size"] | None = None,
    ) -> Float[Tensor, " batch"]:
        """`prompt` and `history` are needed by scale="prompt" alone, see `prompt_normalised`."""
        if self.scale == "prompt":
            if prompt is None or history is None:
                raise ValueError('scale="prompt" needs the prompts and their history of rewards')
            total = weights @ rewards
            how = (self.least, self.floor, self.unbiased)
            advantage = prompt_normalised(total, prompt, history, *how)
        elif self.combine == "reward_sum":
            total = weights @ rewards
            advantage = normalised(total, group, self.scale, self.floor, self.unbiased)
        else:
            how = (self.scale, self.floor, self.unbiased)
            each = [normalised(r, group, *how) for r in rewards]
            advantage = weights @ torch.stack(each)
        if self.combine == "gdpo":
            centred = advantage - advantage.mean()
            if advantage.max() == advantage.min():
                centred = torch.zeros_like(centred)
            advantage = over(centred, advantage.std(correction=int(self.unbiased)) + self.floor)
        return advantage.clamp(-self.bound, self.bound)


def zero_variance(
    reward: Float[Tensor, " batch"], group: Int[Tensor, " batch"], tolerance: float = 1e-6
) -> Float[Tensor, ""]:
    """Fraction of samples in groups whose rewards are all alike: they teach nothing."""
    return (group_std(reward, group) <= tolerance).to(reward).mean()


def correlation(
    advantage: Float[Tensor, " batch"],
    reward: Float[Tensor, " batch"],
    group: Int[Tensor, " batch"],
) -> Float[Tensor, ""]:
    """Correlation of advantages and rewards inside groups: near 1, whatever the scale; 0 if flat.

    A value near −1 is a wrong sign, a value near 0 says that rewards reached the wrong samples.
    """
    a, r = (v - group_mean(v, group) for v in (advantage, reward))
    size = (a.square().sum() * r.square().sum()).sqrt()
    return (a * r).sum() / size if size > 0 else size
