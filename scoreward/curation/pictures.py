"""Pictures in a folder, each named by the sha-256 of its file, and pictures as tensors."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from scoreward.data.pictures import opened, rgb
from scoreward.data.store import address, written_whole
from scoreward.rewards.base import Reward, answers


class PictureStore:
    """A folder of PNG files. The same picture is one file, whoever writes it and how often."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, image: Image.Image) -> str:
        """Write a picture beside its place and rename it there; its name."""
        file = io.BytesIO()
        rgb(image).save(file, format="PNG")
        path = address(self.folder, file.getvalue(), ".png")
        if not path.exists():
            with written_whole(path) as aside:
                aside.write_bytes(file.getvalue())
        return path.stem

    def get(self, name: str) -> Image.Image:
        """The picture of a name.  Raises ValueError where it is gone or is another."""
        try:
            content = self.path(name).read_bytes()
        except OSError as error:
            raise ValueError(f"a picture of the manifest cannot be read: {error}") from None
        if hashlib.sha256(content).hexdigest() != name:
            raise ValueError(f"{self.path(name)} is not the picture that the manifest names")
        return rgb(opened(content, str(self.path(name))), str(self.path(name)))

    def has(self, name: str) -> bool:
        return self.path(name).exists()

    def path(self, name: str) -> Path:
        return self.folder / name[:2] / f"{name}.png"


def media(images: Sequence[Image.Image]) -> Float[Tensor, "batch 3 height width"]:
    """Pictures of one size as rewards look at them, in [0, 1]."""
    whole = np.stack([np.asarray(rgb(image)) for image in images])
    return torch.from_numpy(whole).permute(0, 3, 1, 2).float() / 255


def picture(one: Float[Tensor, "3 height width"]) -> Image.Image:
    """One of a batch of media, rounded to 8 bits."""
    whole = (one.detach().float().cpu() * 255).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(whole.permute(1, 2, 0).contiguous().numpy())


def scores(
    rewards: Mapping[str, Reward],
    images: Sequence[Image.Image],
    prompts: Sequence[str],
    device: torch.device | str = "cpu",
) -> list[dict[str, float]]:
    """What every reward says of every picture.  Raises RewardError."""
    result: list[dict[str, float]] = [{} for _ in images]
    for size in dict.fromkeys(image.size for image in images):
        rows = [i for i, image in enumerate(images) if image.size == size]
        batch, texts = media([images[i] for i in rows]).to(device), [prompts[i] for i in rows]
        for name, values in answers(rewards, batch, texts).items():
            for i, value in zip(rows, values.tolist()):
                result[i][name] = value
    return result


def same_pixels(
    one: Sequence[Image.Image], other: Sequence[Image.Image], within: int = 8
) -> list[float]:
    """Share of pixels whose colours differ by at most `within` of 255 in every channel."""
    shares = []
    for a, b in zip(one, other, strict=True):
        resized = b if a.size == b.size else b.resize(a.size, Image.Resampling.BICUBIC)
        x, y = (np.asarray(rgb(image)).astype(np.int16) for image in (a, resized))
        shares.append(float((np.abs(x - y).max(-1) <= within).mean()))
    return shares
