"""Rewards that are rules: no weights, nothing to learn, easy to check by hand, easy to hack.

Good for trying a method out, and as honest second opinions. They look at pictures; for video, wrap
them in `Frames`.
"""

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scoreward.rewards.base import refusal
from scoreward.rewards.pictures import checked, eight_bit

QUALITY = 95  # of the JPEG files; DDPO's
NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
LUMA = (0.299, 0.587, 0.114)  # share of red, green and blue in brightness, as in JPEG


@dataclass(frozen=True)
class Compressible:
    """−(size of the picture as JPEG of quality 95, in kB) / `scale`; at most 0.

    DDPO takes the kilobytes (1000 bytes) themselves, Flow-GRPO's code divides them by 500.
    """

    scale: float = 1.0

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        return -_kilobytes(checked(media, prompts)) / self.scale


@dataclass(frozen=True)
class Incompressible:
    """The size of the picture as JPEG of quality 95, in kB / `scale`; above 0."""

    scale: float = 1.0

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        return _kilobytes(checked(media, prompts)) / self.scale


def _kilobytes(media: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, " batch"]:
    from PIL import Image

    sizes = []
    for picture in eight_bit(media):
        file = io.BytesIO()
        Image.fromarray(picture).save(file, format="JPEG", quality=QUALITY)
        sizes.append(file.tell() / 1000)
    return torch.tensor(sizes, device=media.device)


@dataclass(frozen=True)
class Colorfulness:
    """Hasler and Süsstrunk's (2003) M = √(σ²rg + σ²yb) + 0.3 √(μ²rg + μ²yb), on 0 to 255.

    In their words 0 is not, 33 moderately, 59 quite and 109 extremely colourful. Differentiable.
    """

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        red, green, blue = (checked(media, prompts).float() * 255).flatten(2).unbind(1)
        opponents = torch.stack([red - green, (red + green) / 2 - blue], 1)
        spread = _root(opponents.var(2, correction=0).sum(1))
        return spread + 0.3 * _root(opponents.mean(2).square().sum(1))


@dataclass(frozen=True)
class Contrast:
    """Standard deviation of the brightness, 0 to 0.5. Differentiable."""

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        luma = torch.tensor(LUMA, device=media.device)
        brightness = torch.einsum("bchw,c->bhw", checked(media, prompts).float(), luma)
        return _root(brightness.flatten(1).var(1, correction=0))


@dataclass(frozen=True)
class Saturation:
    """1 − |mean saturation − `target`|, in [0, 1]; without a target the mean itself.

    Saturation as in HSV, (max − min) / max. Tuned models drift towards too much of it, which a
    target below 1 does not pay for. Differentiable.
    """

    target: float | None = None

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        mean = _saturation(checked(media, prompts).float()).flatten(1).mean(1)
        return mean if self.target is None else 1 - (mean - self.target).abs()


@dataclass(frozen=True)
class Symmetry:
    """1 − mean |picture − its mirror image, left for right|, in [0, 1]. Differentiable."""

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        x = checked(media, prompts).float()
        return 1 - (x - x.flip(3)).abs().flatten(1).mean(1)


def _root(x: Tensor, floor: float = 1e-12) -> Tensor:
    """√x whose gradient at 0 is 0, for pictures of one colour."""
    return x.clamp_min(floor).sqrt() * (x > floor)


def _saturation(x: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch height width"]:
    brightest = x.amax(1)
    return (brightest - x.amin(1)) / brightest.clamp_min(1e-6)


def _hue(x: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch height width"]:
    """In degrees, red at 0; 0 for greys."""
    red, green, blue = x.unbind(1)
    chroma = (x.amax(1) - x.amin(1)).clamp_min(1e-6)
    sextants = torch.stack([(green - blue) / chroma % 6, (blue - red) / chroma + 2])
    sextants = torch.cat([sextants, ((red - green) / chroma + 4)[None]])
    return 60 * sextants.gather(0, x.argmax(1)[None])[0]


Masks = dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]
NAMED: Masks = {  # (hue, saturation, value) → pixels of that colour; boundaries are ours
    "black": lambda h, s, v: v < 0.2,
    "white": lambda h, s, v: (s < 0.15) & (v > 0.85),
    "gray": lambda h, s, v: (s < 0.15) & (v >= 0.2) & (v <= 0.85),
    "red": lambda h, s, v: _vivid(s, v) & ((h >= 345) | (h < 15)) & (s >= 0.5),
    "orange": lambda h, s, v: _vivid(s, v) & (h >= 15) & (h < 45) & (v >= 0.7),
    "brown": lambda h, s, v: _vivid(s, v) & (h >= 15) & (h < 45) & (v < 0.7),
    "yellow": lambda h, s, v: _vivid(s, v) & (h >= 45) & (h < 70),
    "green": lambda h, s, v: _vivid(s, v) & (h >= 70) & (h < 165),
    "cyan": lambda h, s, v: _vivid(s, v) & (h >= 165) & (h < 195),
    "blue": lambda h, s, v: _vivid(s, v) & (h >= 195) & (h < 255),
    "purple": lambda h, s, v: _vivid(s, v) & (h >= 255) & (h < 300),
    "pink": lambda h, s, v: (
        _vivid(s, v) & (((h >= 300) & (h < 345)) | (((h >= 345) | (h < 15)) & (s < 0.5)))
    ),
}


def _vivid(saturation: Tensor, value: Tensor) -> Tensor:
    return (saturation >= 0.15) & (value >= 0.2)


def pixels_of(
    media: Float[Tensor, "batch 3 height width"], color: str
) -> Bool[Tensor, "batch height width"]:
    """Which pixels have the colour of that name; no pixel has two."""
    x = media.detach().float().clamp(0, 1)
    return NAMED[color](_hue(x), _saturation(x), x.amax(1))


def named_color(prompt: str) -> str:
    """The first colour that a prompt names."""
    found = re.search(rf"\b({'|'.join([*NAMED, 'grey'])})\b", prompt.lower())
    if found is None:
        raise ValueError(
            f"the prompt {prompt!r} names no colour; expected one of {', '.join(NAMED)}"
        )
    return found[1].replace("grey", "gray")


@dataclass(frozen=True)
class ColorShare:
    """Share of pixels that have the colour the prompt names ("a red circle"), in [0, 1]."""

    def unfit(self, prompt: str) -> str | None:
        return refusal(named_color, prompt)

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        x, colors = checked(media, prompts), [named_color(prompt) for prompt in prompts]
        shares = [pixels_of(x[i : i + 1], color).float().mean() for i, color in enumerate(colors)]
        return torch.stack(shares) if shares else x.new_zeros(0)


@dataclass(frozen=True)
class Counting:
    """Are there as many blobs of the named colour as the prompt says ("three red circles")?

    A blob is a set of touching pixels that covers at least `least` of the picture. Graded:
    1 − |found − asked| / asked, at least 0; otherwise 1 if the number is right, else 0.
    """

    graded: bool = True
    least: float = 0.002

    def unfit(self, prompt: str) -> str | None:
        return refusal(named_number, prompt) or refusal(named_color, prompt)

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        x, values = checked(media, prompts), []
        for i, prompt in enumerate(prompts):
            count, mask = named_number(prompt), pixels_of(x[i : i + 1], named_color(prompt))[0]
            found = sum(size >= self.least * mask.numel() for size in blobs(mask))
            graded = max(0.0, 1 - abs(found - count) / count)
            values.append(graded if self.graded else float(found == count))
        return torch.tensor(values, device=media.device)


def named_number(prompt: str) -> int:
    """The first number in a prompt, in digits or words up to ten; "a" and "an" are one."""
    for word in re.findall(r"\w+", prompt.lower()):
        if word.isdecimal() and int(word):
            return int(word)
        if word in NUMBERS:
            return NUMBERS.index(word) + 1
        if word in ("a", "an"):
            return 1
    raise ValueError(f"the prompt {prompt!r} has no number; write for example 'three red circles'")


def blobs(mask: Bool[Tensor, "height width"]) -> list[int]:
    """Sizes of the sets of touching pixels, corners included, largest first."""
    parent: list[int] = []
    sizes: list[int] = []
    above: list[tuple[int, int, int]] = []  # (first, last + 1, its number) of the row before

    def top(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for row in mask.cpu().numpy():
        edges = (row[1:] != row[:-1]).nonzero()[0] + 1
        bounds = [0, *edges.tolist(), len(row)]
        runs = [(a, b) for a, b in pairwise(bounds) if b > a and row[a]]
        current = []
        for first, last in runs:
            number = len(parent)
            parent.append(number)
            sizes.append(last - first)
            for start, end, other in above:
                if start <= last and first <= end and top(other) != top(number):
                    sizes[top(number)] += sizes[top(other)]
                    parent[top(other)] = top(number)
            current.append((first, last, number))
        above = current
    return sorted((sizes[i] for i in range(len(parent)) if parent[i] == i), reverse=True)


@dataclass(frozen=True)
class Variety:
    """Root mean square pixel distance to the samples of the same prompt, mean over them.

    Rewards of single pictures have no opinion on variety, so a policy that maximises them may
    answer a prompt with one picture. A prompt that comes once in a call earns 0, so groups stay
    whole where they are scored.
    """

    of_groups: ClassVar[bool] = True  # it says nothing of one sample alone

    def __call__(
        self, media: Float[Tensor, "batch *shape"], prompts: Sequence[str]
    ) -> Float[Tensor, " batch"]:
        flat = media.flatten(1).float()
        value = flat.new_zeros(len(flat))
        for prompt in dict.fromkeys(prompts):
            mine = torch.tensor([i for i, p in enumerate(prompts) if p == prompt])
            if len(mine) > 1:
                distance = torch.cdist(flat[mine], flat[mine]) / flat.shape[1] ** 0.5
                value[mine] = distance.sum(1) / (len(mine) - 1)
        return value
