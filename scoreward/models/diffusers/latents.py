"""Picture files to latents, each computed once and kept on disk by the file's content."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image, ImageOps
from torch import Tensor

from scoreward.data.store import TensorStore
from scoreward.models.diffusers.family import Size
from scoreward.models.diffusers.prompts import Pictures


@dataclass(frozen=True)
class PictureFiles:
    """x0 of picture files: cut to the shape of the run, resized, the mean of the VAE's latents."""

    pictures: Pictures
    size: Size
    store: TensorStore
    video: bool = False  # whether the model takes frames; a picture is then a video of one

    def __call__(self, paths: Sequence[Path]) -> Float[Tensor, "n *latent"]:
        """One row a file.  Raises ValueError for what is not a picture."""
        return torch.cat([self._one(path) for path in paths])

    def _one(self, path: Path) -> Tensor:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise ValueError(f"cannot read the picture {path}: {error.strerror}") from None
        key = hashlib.sha256(content).hexdigest()
        known = self.store.read(key)
        if known is not None:
            return known["x0"]
        x0 = self.pictures.latents(self._pixels(path)).cpu()
        self.store.write(key, {"x0": x0})
        return x0

    def _pixels(self, path: Path) -> Float[Tensor, "1 3 *media"]:
        size = (self.size.width, self.size.height)
        try:
            with Image.open(path) as opened:
                fitted = ImageOps.fit(opened.convert("RGB"), size, Image.Resampling.LANCZOS)
        except OSError as error:
            raise ValueError(f"{path} is not a picture that can be read: {error}") from None
        pixels = torch.from_numpy(np.array(fitted)).permute(2, 0, 1)[None].float() / 255
        return pixels[:, :, None] if self.video else pixels
