"""What rewards do to pictures before they look: check them, round them, fit them to an encoder.

Encoders were trained on pictures that PIL resized. `Preparation` does the same on tensors, so the
device of the media is kept and gradients reach them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from scoreward.rewards.base import Particular, Reward, admitted, asked

CLIP_MEAN, CLIP_STD = (
    (0.48145466, 0.4578275, 0.40821073),
    (0.26862954, 0.26130258, 0.27577711),
)
MODES = {2: "bilinear", 3: "bicubic"}  # PIL's numbers, as preprocessor_config.json writes them


def checked(media: Tensor, prompts: Sequence[str]) -> Float[Tensor, "batch 3 height width"]:
    """The media, or a sentence about what is wrong with them."""
    if media.ndim == 5:
        raise ValueError(
            f"this reward looks at pictures, got video of shape {tuple(media.shape)}; wrap it: "
            "Frames(reward)"
        )
    if media.ndim != 4 or media.shape[1] != 3 or not media.is_floating_point():
        raise ValueError(
            f"expected pictures of shape (batch, 3, height, width) with values in [0, 1], got "
            f"{media.dtype} of shape {tuple(media.shape)}"
        )
    return admitted(media, prompts)


def in_batches(
    size: int,
    media: Tensor,
    prompts: Sequence[str],
    look: Callable[[Tensor, list[str]], Float[Tensor, " part"]],
) -> Float[Tensor, " batch"]:
    """What `look` says of pictures and prompts, so many at a time."""
    pictures = checked(media, prompts)
    starts = range(0, len(pictures), size)
    parts = [look(pictures[i : i + size], list(prompts[i : i + size])) for i in starts]
    return torch.cat(parts) if parts else media.new_zeros(0)


def eight_bit(media: Float[Tensor, "batch 3 height width"]) -> list[np.ndarray]:
    """Pictures as files hold them: height x width x 3, 0 to 255."""
    whole = (media.detach().float().cpu() * 255).round().clamp(0, 255).to(torch.uint8)
    return list(whole.permute(0, 2, 3, 1).numpy())


def least_distance(
    pictures: Float[Tensor, "batch values"],
    others: Float[Tensor, "n values"],
    squares: Float[Tensor, " n"],
) -> Float[Tensor, " batch"]:
    """L2 distance to the nearest of `others`, whose squared lengths are `squares`."""
    parts = []
    for chunk in pictures.split(256):
        # |a - b|² = |a|² - 2ab + |b|²; the last two are minimised by one matrix product
        least = torch.addmm(squares, chunk, others.T, alpha=-2).min(1).values
        parts.append((chunk.square().sum(1) + least).clamp(min=0).sqrt())
    return torch.cat(parts) if parts else pictures.new_zeros(0)


@dataclass(frozen=True)
class Preparation:
    """Resize, crop or pad, and normalise as the encoder's own processor does.

    `size` is (height, width), or one number for the shorter side; where it is `padded` that is the
    longer side, and black makes a square of it. Differs from PIL by PIL's
    rounding to whole numbers of 255 alone, at most 2/255 before the normalisation.
    """

    size: int | tuple[int, int]
    crop: tuple[int, int] | None
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    mode: str = "bicubic"
    padded: bool = False

    @classmethod
    def read(cls, config: Mapping[str, Any]) -> "Preparation":
        """From the content of a preprocessor_config.json."""
        number = config.get("resample", 3)
        if number not in MODES:
            raise ValueError(f"resample is {number!r}; known are 2 (bilinear) and 3 (bicubic)")
        crop = _pair(config["crop_size"]) if config.get("do_center_crop") else None
        size = config["size"]
        if isinstance(size, Mapping):
            size = size["shortest_edge"] if "shortest_edge" in size else _pair(size)
        elif crop is None:  # a bare number is the shorter side where a crop follows, else a square
            size = _pair(size)
        mean, std = tuple(config["image_mean"]), tuple(config["image_std"])
        return cls(size, crop, mean, std, MODES[number])

    def __call__(
        self, media: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 3 fitted_height fitted_width"]:
        x, size, (height, width) = media.float(), self.size, media.shape[2:]
        if isinstance(size, int):
            short, long = min(height, width), max(height, width)
            if self.padded:
                size = tuple(max(1, round(side * (size / long))) for side in (height, width))
            else:
                other = int(size * long / short)
                size = (size, other) if height <= width else (other, size)
        for part in ((height, size[1]), size):  # PIL's order: the width, then the height
            if part != tuple(x.shape[2:]):
                x = F.interpolate(x, part, mode=self.mode, antialias=True)
            x = x.clamp(0, 1)  # bicubic overshoots, whole numbers up to 255 cannot
        if self.padded:
            rows, columns = (max(size) - side for side in size)
            edges = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
            x = F.pad(x, edges)
        elif self.crop is not None:
            top, left = ((have - want) // 2 for have, want in zip(size, self.crop))
            x = x[:, :, top : top + self.crop[0], left : left + self.crop[1]]
        mean, std = (x.new_tensor(c).reshape(3, 1, 1) for c in (self.mean, self.std))
        return (x - mean) / std


def _pair(size: Any) -> tuple[int, int]:
    return (size["height"], size["width"]) if isinstance(size, Mapping) else (size, size)


@dataclass(frozen=True)
class Frames:
    """A reward of pictures, averaged over every `every`-th frame of a video.

    Single pictures go to the reward as they are.
    """

    reward: Reward
    every: int = 1

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every = {self.every}; expected 1 (each frame) or more")

    def __call__(
        self, media: Float[Tensor, "batch 3 *shape"], prompts: Sequence[str]
    ) -> Float[Tensor, " batch"]:
        if media.ndim == 4:
            return asked(self.reward, media, prompts)
        chosen = media[:, :, :: self.every]
        frames = chosen.transpose(1, 2).flatten(0, 1)
        repeated = [prompt for prompt in prompts for _ in range(chosen.shape[2])]
        return asked(self.reward, frames, repeated).reshape(len(media), -1).mean(1)

    def unfit(self, prompt: str) -> str | None:
        return self.reward.unfit(prompt) if isinstance(self.reward, Particular) else None
