"""Prompts to conditions, latents to media and picture files to latents, by a pipeline's parts."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from scoreward.core.denoiser import Cond
from scoreward.core.rows import join
from scoreward.data.pictures import Fit, fitted, picture, rgb
from scoreward.data.prompts import NEGATIVE, Instruction
from scoreward.data.store import TensorStore
from scoreward.data.unread import Tokens, unread
from scoreward.models.diffusers.family import VAE, Family, Size, Upstream
from scoreward.models.diffusers.text import Extent, Remembered, Text
from scoreward.models.diffusers.versions import quietly


@dataclass(frozen=True)
class Pictures:
    """Latents to media in [0, 1] by the VAE, which may wait on the CPU between calls."""

    pipe: Upstream
    family: Family
    offload: bool = False
    at_once: int = 4
    rounded: float = 1.0  # what quantisation leaves of the bytes of frozen weights, for a plan

    def __call__(self, x0: Float[Tensor, "batch *latent"]) -> Float[Tensor, "batch 3 *media"]:
        vae = self._vae(x0.device)
        pieces = x0.split(self.at_once)
        media = torch.cat([self.family.decode(self.pipe, z).float() for z in pieces])
        self._rest(vae)
        return (media / 2 + 0.5).clamp(0, 1)

    def _vae(self, device: torch.device) -> VAE:
        vae = self.pipe.vae
        return vae if vae.device == device else vae.to(device)

    def _rest(self, vae: VAE) -> None:
        if self.offload and vae.device.type != "cpu":
            vae.to("cpu")

    @torch.no_grad()
    def latents(self, media: Float[Tensor, "batch 3 *media"]) -> Float[Tensor, "batch *latent"]:
        """The inverse, as far as a VAE has one: media in [0, 1]."""
        vae = self._vae(media.device)
        z = self.family.latents(self.pipe, media * 2 - 1).float()
        self._rest(vae)
        return z


@dataclass(frozen=True)
class Prompts:
    """Prompts to `Text`; encoders are loaded for prompts that the cache does not know."""

    pipe: Upstream
    family: Family
    folder: Path
    tokens: int
    known: Remembered
    pictures: Pictures
    size: Size
    offload: bool = False
    dtype: torch.dtype = torch.float32  # of the encoders

    def __call__(self, prompts: Sequence[str]) -> Text:
        """One row a prompt.  An editing model wants `Instruction`s."""
        if not prompts:
            return self._nothing[:0]
        if self.family.edits:
            for prompt in prompts:
                if not isinstance(prompt, Instruction):
                    raise TypeError(
                        "this model edits pictures, so a prompt must say which one, got "
                        f"{prompt!r}; use a prompts file with an `image` for each line, or "
                        "Instruction(text, path)"
                    )
        text, away = self._texts(prompts), [negative(prompt) for prompt in prompts]
        if not any(away):
            return text
        nothing = self._nothing[torch.zeros(len(prompts), dtype=torch.long)]
        told = [i for i, said in enumerate(away) if said]
        rows = self._texts([said for said in away if said], away=True)
        places = torch.arange(len(prompts))
        places[told] = torch.arange(len(told)) + len(prompts)
        other = join([replace(nothing, image=text.image, extent=text.extent), rows])[places]
        return replace(
            text, away_states=other.states, away_pooled=other.pooled, away_mask=other.mask
        )

    def _texts(self, prompts: Sequence[str], away: bool = False) -> Text:
        keys = [f"away from {key_of(p)}" if away else key_of(p) for p in prompts]
        return self.known(keys, lambda places: self._made([prompts[i] for i in places], away))

    def unread(self, prompts: Sequence[str]) -> str:
        """What the text encoders do not see of these prompts, in a sentence; "" if they see all."""
        return unread(prompts, list(map(self._reader, self.tokenizers))).sentence("the model")

    @cached_property
    def tokenizers(self) -> list[str]:
        """The names of the parts that make tokens."""
        return [name for name in self.reading if name.startswith("tokenizer")]

    def _reader(self, name: str) -> tuple[Tokens, int]:
        """Tokens of one of them, and how many its encoder takes."""
        from transformers import AutoTokenizer

        made: Any = AutoTokenizer.from_pretrained(self.folder / name)
        clip = "CLIP" in type(made).__name__
        limit = int(made.model_max_length) if clip or not self.tokens else self.tokens
        return lambda texts: made(list(texts), verbose=False).input_ids, limit

    def null(self, cond: Cond) -> Text:
        """The condition of guidance; a picture to edit stays what it is."""
        if not isinstance(cond, Text):
            raise TypeError("the condition of a diffusers model is made by its `encode`")
        if cond.away_states is not None:
            away = cond.away_states, cond.away_pooled, cond.away_mask
            return replace(cond, states=away[0], pooled=away[1], mask=away[2])
        device = cond.states.device
        if device not in self._empty:
            self._empty[device] = self._nothing.to(device)
        empty = self._empty[device][torch.zeros(len(cond), dtype=torch.long, device=device)]
        return replace(empty, image=cond.image, extent=cond.extent)

    @cached_property
    def _empty(self) -> dict[torch.device, Text]:
        """What says nothing, brought to each device once."""
        return {}

    @cached_property
    def _nothing(self) -> Text:
        return self.known(["nothing"], lambda places: self._read(None))

    def _made(self, prompts: list[str], away: bool) -> Text:
        text = self._read(prompts, away)
        if not self.family.edits:
            return text
        pictures = [self._reference(p.image) for p in prompts if isinstance(p, Instruction)]
        images, extents = zip(*pictures, strict=True)
        device = text.states.device
        extent = Extent.of(torch.tensor(extents)).to(device)
        return replace(text, image=torch.cat(images).to(device), extent=extent)

    def _reference(self, path: Path) -> tuple[Float[Tensor, "1 places deep"], tuple[int, int]]:
        """A picture to edit in its own shape and at most the area of the run, as tokens."""
        image, side = picture(path), self.family.token(self.pipe)
        room = self.size.height * self.size.width // side**2
        rows, columns = own_shape(image.size, room)
        media = as_media(fitted(image, (columns * side, rows * side))).to(self._device())
        tokens = self.family.reference(self.pipe, self.pictures.latents(media))
        return pad(tokens, (0, 0, 0, room - tokens.shape[1])), (rows, columns)

    @torch.no_grad()
    def _read(self, prompts: list[str] | None, away: bool = False) -> Text:
        """What the encoders say; None asks for the condition without a prompt."""
        self._load()
        if prompts is None:
            text = self.family.nothing(self.pipe, self.tokens)
        else:
            read = self.family.away if away else self.family.text
            text = read(self.pipe, prompts, self.tokens)
        if self.offload:
            self.pipe.register_modules(**dict.fromkeys(self.reading))
        return text

    def _load(self) -> None:
        """Bring the encoders into memory, on the device of the network."""
        parts, device = self.reading, self._device()
        there = {name: getattr(self.pipe, name, None) for name in parts}
        if all(part is not None for part in there.values()):
            self._placed(there, device)
            return
        others = {n: None for n in self.pipe.components if n not in parts}
        kept = {n: self.pipe.components[n] for n in ("scheduler",)}
        from scoreward.models.diffusers.pretrained import variant

        with quietly():
            whole = type(self.pipe).from_pretrained(
                self.folder,
                torch_dtype=self.dtype,
                variant=variant(self.folder),
                **{**others, **kept},
            )
        modules = {name: getattr(whole, name) for name in parts}
        self._placed(modules, device)
        self.pipe.register_modules(**modules)

    def _placed(self, parts: Mapping[str, object], device: torch.device) -> None:
        """Encoders, frozen, on a device; tokenizers stay what they are."""
        for part in parts.values():
            if isinstance(part, torch.nn.Module):
                part.requires_grad_(False).eval().to(device)

    def _device(self) -> torch.device:
        part = getattr(self.pipe, self.family.parts[0])
        return next(part.parameters()).device

    @cached_property
    def reading(self) -> list[str]:
        from scoreward.models.diffusers.pretrained import reading_parts

        return reading_parts(self.folder)


def negative(prompt: str) -> str:
    """What the row of a prompt says that guidance is to lead away from; "" for nothing."""
    said = getattr(prompt, "fields", {}).get(NEGATIVE) or ""
    return Instruction(said, prompt.image) if said and isinstance(prompt, Instruction) else said


def own_shape(size: tuple[int, int], room: int) -> tuple[int, int]:
    """(rows, columns) of at most `room` tokens, as near as may be to the shape (width, height)."""
    aspect = size[0] / size[1]
    near = min(max(int((room * aspect) ** 0.5), 1), room)
    wide = [c for c in (near, near + 1) if c <= room]
    both = [(r, c) for c in wide for r in (int(c / aspect), int(c / aspect) + 1, room // c)]
    fitting = [(r, c) for r, c in both if 0 < r * c <= room]
    return min(fitting, key=lambda one: (abs(log(one[1] / one[0] / aspect)), -one[0] * one[1]))


def key_of(prompt: str) -> str:
    """Under what a prompt is remembered: its text, and the content of its picture."""
    if not isinstance(prompt, Instruction):
        return f"prompt {prompt}"
    content = hashlib.sha256(prompt.image.read_bytes()).hexdigest()
    return f"prompt {prompt}\nimage {content}"


def as_media(image: Image.Image) -> Float[Tensor, "1 3 height width"]:
    """A picture as media in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255


@dataclass(frozen=True)
class PictureFiles:
    """x0 of picture files: fitted to the size of the run, the mean of the VAE's latents."""

    pictures: Pictures
    size: Size
    store: TensorStore
    video: bool = False  # whether the model takes frames; a picture is then a video of one
    fit: Fit = "crop"  # what happens to pictures of another shape than that of the run

    @property
    def salt(self) -> str:
        """What besides a picture decides its row; "" if nothing is to be kept."""
        kept = self.store.folder is not None and self.store.salt
        return f"{self.store.salt} {self.fit}" if kept else ""

    def __call__(self, paths: Sequence[Path | Image.Image]) -> Float[Tensor, "n *latent"]:
        """One row a file or an open picture, which is not kept.  ValueError if it is none."""
        found = []
        for path in paths:
            if isinstance(path, Image.Image):
                found.append(self.pictures.latents(self._pixels(path)).cpu())
                continue
            try:
                content = path.read_bytes()
            except OSError as error:
                raise ValueError(f"cannot read the picture {path}: {error.strerror}") from None
            key = f"{self.fit} {hashlib.sha256(content).hexdigest()}"
            known = self.store.read(key)
            if known is None:
                known = {"x0": self.pictures.latents(self._pixels(path)).cpu()}
                self.store.write(key, known)
            found.append(known["x0"])
        return torch.cat(found)

    def _pixels(self, source: Path | Image.Image) -> Float[Tensor, "1 3 *media"]:
        image = picture(source) if isinstance(source, Path) else rgb(source)
        pixels = as_media(fitted(image, (self.size.width, self.size.height), self.fit))
        return pixels[:, :, None] if self.video else pixels
