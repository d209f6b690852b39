"""A reward is any callable (media, prompts) → [batch]; higher is better.

`scored` calls one and refuses what would poison training: an exception, a wrong shape, a number
that is not finite. A failure is never turned into a reward of 0.
"""

from collections.abc import Sequence
from itertools import chain
from typing import Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn


@runtime_checkable
class Reward(Protocol):
    """(media in [0, 1], prompts) → one number per sample; higher is better.  Any callable will do.

    `media` is [batch, …], pictures [batch, 3, height, width] and videos [batch, 3, frames, height,
    width]; there are as many prompts. The answer is [batch], finite, for `scored` checks it.

    >>> import torch
    >>> def brightness(media, prompts):
    ...     return media.flatten(1).mean(1)
    >>> brightness(torch.ones(2, 3, 8, 8), ["a lamp", "the sun"])
    tensor([1., 1.])
    """

    def __call__(self, media: Tensor, prompts: Sequence[str], /) -> Tensor: ...


Network = TypeVar("Network", bound=nn.Module)


def beside(network: Network, media: Tensor) -> Network:
    """The network where the media are; it stays there until other media come.

    Whoever holds a network that looks at media asks for it here.
    """
    first = next(chain(network.parameters(), network.buffers()), media)
    return network if first.device == media.device else network.to(media.device)


class RewardError(RuntimeError):
    """A reward failed; the sentence names it and what it did.

    >>> import scoreward as sw
    >>> broken = sw.recipe("vgrpo", on="toy").run(reward=lambda media, prompts: media[:, 0] / 0)
    >>> try:
    ...     rounds = list(broken.start())
    ... except sw.RewardError as error:
    ...     print(str(error).partition(" for ")[0])
    reward 'reward' returned inf
    """


def scored(
    name: str, reward: Reward, media: Tensor, prompts: Sequence[str]
) -> Float[Tensor, " batch"]:
    """The reward's answer in float32, checked.  Raises RewardError."""
    try:
        with torch.no_grad():
            value = _following(reward, media)(media, prompts)
    except Exception as error:
        raise RewardError(
            f"reward {name!r} raised {type(error).__name__}: {error}; the round was not used"
        ) from error
    return _checked(name, value, media, prompts)


def differentiated(
    name: str, reward: Reward, media: Tensor, prompts: Sequence[str]
) -> Float[Tensor, " batch"]:
    """The reward's answer with its gradient to `media`.  Raises RewardError if it has none."""
    try:
        value = _following(reward, media)(media, prompts)
    except Exception as error:
        raise RewardError(
            f"reward {name!r} raised {type(error).__name__}: {error}; the round was not used"
        ) from error
    if not isinstance(value, Tensor) or not value.requires_grad:
        raise RewardError(
            f"reward {name!r} has no gradient, and this objective differentiates it; use a "
            "differentiable reward, or an objective that needs none (V-GRPO, MixGRPO, DiffusionNFT)"
        )
    return _checked(name, value, media, prompts)


def _following(reward: Reward, media: Tensor) -> Reward:
    """A reward that is itself a torch module is brought to the media."""
    return beside(reward, media) if isinstance(reward, nn.Module) else reward


def _checked(
    name: str, value: object, media: Tensor, prompts: Sequence[str]
) -> Float[Tensor, " batch"]:
    """One finite number per prompt, in float32, where the media are."""
    if not isinstance(value, Tensor):
        try:
            value = torch.as_tensor(value)
        except (TypeError, ValueError, RuntimeError):
            raise RewardError(
                f"reward {name!r} returned a {type(value).__name__}; expected a tensor of "
                f"shape ({len(prompts)},), one number per sample"
            ) from None
    if value.shape != (len(prompts),):
        raise RewardError(
            f"reward {name!r} returned shape {tuple(value.shape)} for {len(prompts)} samples; "
            f"expected ({len(prompts)},), one number per sample"
        )
    if not value.isfinite().all():
        bad = int((~value.isfinite()).nonzero()[0])
        raise RewardError(
            f"reward {name!r} returned {value[bad].item()} for prompt {prompts[bad]!r}; "
            "rewards must be finite"
        )
    return value.float().to(media.device)
