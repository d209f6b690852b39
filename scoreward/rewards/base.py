"""A reward is any callable (media, prompts) → [batch]; higher is better.

`scored` calls one and refuses what would poison training: media that are not what rewards look at,
an exception, a wrong shape, a number that is not finite. A failure is never turned into a reward of
0, and no reward changes what the next one sees.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

SLACK = 1e-3  # beyond [0, 1] that is rounding, and cut off: an eighth of a step of bfloat16 at 1
NAMED = 3  # prompts that a refusal quotes


@runtime_checkable
class Reward(Protocol):
    """(media in [0, 1], prompts) → one number per sample; higher is better.  Any callable will do.

    `media` is [batch, …], pictures [batch, 3, height, width] and videos [batch, 3, frames, height,
    width]; there are as many prompts. The answer is [batch], finite, for `scored` checks it. One
    with a third parameter `metadata` is given a mapping a prompt: the other fields of its row.

    >>> import torch
    >>> def brightness(media, prompts):
    ...     return media.flatten(1).mean(1)
    >>> brightness(torch.ones(2, 3, 8, 8), ["a lamp", "the sun"])
    tensor([1., 1.])
    """

    def __call__(self, media: Tensor, prompts: Sequence[str], /) -> Tensor: ...


@runtime_checkable
class Particular(Protocol):
    """A reward that cannot say anything of some prompts, and knows which before it sees media."""

    def unfit(self, prompt: str) -> str | None:
        """Why this prompt cannot be judged; None if it can."""
        ...


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


def admitted(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """The media as every reward may see them.  Raises ValueError for what none should look at.

    Media are finite floats, one sample a prompt. Of pictures and videos (four or five axes, one or
    three channels) the values are in [0, 1]; up to SLACK beyond it they are cut off.
    """
    if not isinstance(media, Tensor) or not media.is_floating_point():
        kind = media.dtype if isinstance(media, Tensor) else type(media).__name__
        raise ValueError(
            f"media of {kind} came, and rewards look at floats in [0, 1]; divide 8 bits by 255"
        )
    if media.ndim < 2 or len(media) != len(prompts):
        raise ValueError(
            f"media of shape {tuple(media.shape)} came with {len(prompts)} prompts; expected "
            f"({len(prompts)}, …), one sample a prompt"
        )
    if not media.numel():
        if len(prompts):
            raise ValueError(f"media of shape {tuple(media.shape)} came, which are empty")
        return media
    low, high = (float(value) for value in torch.aminmax(media.detach()))  # NaN makes both NaN
    if not (low - low == 0 == high - high):
        bad = int((~media.detach().isfinite().flatten(1).all(1)).nonzero()[0])
        raise ValueError(
            f"the media of prompt {prompts[bad]!r} hold values that are not finite, so nothing can "
            "be said of them; decode in float32, or look for what made the model diverge"
        )
    if media.ndim not in (4, 5) or media.shape[1] not in (1, 3) or (low >= 0 and high <= 1):
        return media
    if low < -SLACK or high > 1 + SLACK:
        raise ValueError(
            f"pictures with values from {low:.4g} to {high:.4g} came, and rewards look at [0, 1]; "
            "map them there first: (x + 1) / 2 for [-1, 1], x / 255 for 8 bits"
        )
    return media.clamp(0, 1)


def asked(reward: Reward, media: Tensor, prompts: Sequence[str]) -> Any:
    """The reward's own answer; `metadata` goes to one that has a parameter of that name."""
    call: Callable[..., Any] = reward.forward if isinstance(reward, nn.Module) else reward
    try:
        wanted = "metadata" in inspect.signature(call).parameters
    except (TypeError, ValueError):  # written in C
        wanted = False
    more = [getattr(prompt, "fields", {}) for prompt in prompts]
    given: dict[str, Any] = {"metadata": more} if wanted else {}
    return cast(Callable[..., Any], reward)(media, prompts, **given)


def refusal(read: Callable[[str], object], prompt: str) -> str | None:
    """The sentence with which `read` refuses a prompt; None if it does not."""
    try:
        read(prompt)
    except ValueError as error:
        return str(error)
    return None


def unjudged(rewards: Mapping[str, Reward], prompts: Sequence[str]) -> str | None:
    """Why some of the prompts cannot be judged, with the first of them; None if all can."""
    for name, reward in rewards.items():
        if not isinstance(reward, Particular):
            continue
        found = [(p, said) for p in dict.fromkeys(prompts) if (said := reward.unfit(p))]
        if found:
            quoted = ", ".join(repr(str(p)) for p, _ in found[:NAMED])
            return (
                f"reward {name!r} can say nothing of {len(found)} of the prompts, such as "
                f"{quoted}: {found[0][1]}; change or remove them, or take another reward"
            )
    return None


def scored(
    name: str, reward: Reward, media: Tensor, prompts: Sequence[str]
) -> Float[Tensor, " batch"]:
    """The reward's answer in float32, checked.  Raises RewardError."""
    return answers({name: reward}, media, prompts)[name]


@torch.no_grad()
def answers(
    rewards: Mapping[str, Reward], media: Tensor, prompts: Sequence[str]
) -> dict[str, Float[Tensor, " batch"]]:
    """Every reward's answer to the same media, in float32, checked.  Raises RewardError."""
    seen, kept, values = *_kept(next(iter(rewards), "none"), media, prompts), {}
    for name, reward in rewards.items():
        values[name] = _checked(name, _answer(name, reward, seen, prompts, kept), seen, prompts)
    return values


def differentiated(
    name: str, reward: Reward, media: Tensor, prompts: Sequence[str]
) -> Float[Tensor, " batch"]:
    """The reward's answer with its gradient to `media`.  Raises RewardError if it has none."""
    seen, kept = _kept(name, media, prompts)
    value = _answer(name, reward, seen, prompts, kept)
    if not isinstance(value, Tensor) or not value.requires_grad:
        raise RewardError(
            f"reward {name!r} has no gradient, and this objective differentiates it; use a "
            "differentiable reward, or an objective that needs none (V-GRPO, MixGRPO, DiffusionNFT)"
        )
    return _checked(name, value, seen, prompts)


def _kept(name: str, media: Tensor, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The media that rewards are given, and a copy that none of them sees."""
    try:
        seen = admitted(media, prompts)
    except ValueError as error:
        raise RewardError(f"reward {name!r} was not asked: {error}") from None
    return seen, seen.detach().clone()


def _answer(
    name: str, reward: Reward, media: Tensor, prompts: Sequence[str], kept: Tensor
) -> object:
    """What a reward says of media, which must be what they were afterwards."""
    if isinstance(reward, nn.Module):
        beside(reward, media)
    try:
        value = asked(reward, media, list(prompts))
    except Exception as error:
        raise RewardError(
            f"reward {name!r} raised {type(error).__name__}: {error}; the round was not used"
        ) from error
    if not torch.equal(media.detach(), kept):  # a count of writes does not see those of numpy
        raise RewardError(
            f"reward {name!r} wrote to the media that it was given, which others look at, too; let "
            "it work on a copy: media = media.clone()"
        )
    return value


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
