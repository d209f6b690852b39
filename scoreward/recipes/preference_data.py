"""Where the pairs of a recipe come from: a preference file, or the model that is to be trained."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from scoreward.data import portraits as data
from scoreward.data.prompts import share_of
from scoreward.models.base import Model
from scoreward.models.cached import cache_folder
from scoreward.models.diffusers.text import Store
from scoreward.preferences.records import ImagePair
from scoreward.recipes.portraits import verifier
from scoreward.recipes.sampling import Sampling
from scoreward.rewards.portraits import ShareRight
from scoreward.training.own_pairs import OwnPairs, content
from scoreward.training.preferences import PairData


@dataclass(frozen=True)
class Split:
    """Pairs to train on, and pairs of other prompts to measure on."""

    train: PairData
    held_out: PairData


@dataclass(frozen=True)
class Making:
    """How the portraits model makes pairs of itself, judged by verifier A."""

    prompts: int = 1024  # training prompts; those whose samples all earn the same give no pair
    group: int = 6  # samples per prompt
    steps: int = 10  # of the ODE
    seed: int = 0  # of the noise, not of training
    held_out: int = 128  # prompts to measure implicit rewards on, never trained on
    cache: bool = True  # keep them on disk ($SCOREWARD_CACHE)

    def split(self, model: Model, held_out: str) -> Split:
        """Pairs of training prompts, and of prompts of the split that is measured."""
        train, other = (data.load(name).captions for name in ("train", held_out))
        return Split(
            self._own(self.seed).make(model, distinct(train, self.prompts)),
            self._own(self.seed + 1).make(model, distinct(other, self.held_out)),
        )

    def _own(self, seed: int) -> OwnPairs:
        judge = verifier("a")
        store = Store(cache_folder() / "pairs", "own pairs 1") if self.cache else None
        return OwnPairs(
            sampler=Sampling(steps=self.steps).sampler(),
            reward=ShareRight(judge),
            group=self.group,
            seed=seed,
            batch=192,
            judged=f"ShareRight {content(judge)}",
            store=store,
        )


def distinct(prompts: Sequence[str], count: int) -> list[str]:
    """The first prompts, each once."""
    return list(dict.fromkeys(prompts))[:count]


def from_file(path: Path, model: Model, skip_bad: bool, share: float = 0.1) -> Split:
    """Pairs of a preference file or folder; a share of the prompts is held out.

    Raises ValueError for pictures of another size than a pixel model's, and for too few pairs.
    """
    from scoreward.preferences.files import read_image_pairs

    pairs = list(read_image_pairs(path, skip_bad=skip_bad))
    if not pairs:
        raise ValueError(f"{path} holds no pairs to learn from; ties do not count")
    train = [p for p in pairs if share_of(p.prompt) >= share] or pairs
    held_out = [p for p in pairs if share_of(p.prompt) < share] or pairs[:1]
    return Split(in_space(train, model), in_space(held_out, model))


def in_space(pairs: Sequence[ImagePair], model: Model) -> PairData:
    """Pictures of records as x0: pixels of a pixel model, latents of a diffusers model."""
    gaps = [
        None if p.score_w is None or p.score_l is None else p.score_w - p.score_l for p in pairs
    ]
    known = [gap for gap in gaps if gap is not None]
    return PairData(
        winner=pictures([p.winner for p in pairs], model),
        loser=pictures([p.loser for p in pairs], model),
        prompts=[p.prompt for p in pairs],
        gap=torch.tensor(known) if len(known) == len(pairs) else None,
    )


def pictures(images: Sequence[Image.Image], model: Model) -> torch.Tensor:
    """x0 of pictures."""
    if model.read is not None:
        return model.read([stored(image) for image in images])
    size = (model.shape[2], model.shape[1])
    for image in images:
        if image.size != size:
            raise ValueError(
                f"a picture of the pairs has {image.size[0]} x {image.size[1]} pixels and this "
                f"model draws {size[0]} x {size[1]}; resize the pictures of the file first"
            )
    pixels = np.stack([np.array(image.convert("RGB")) for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def stored(image: Image.Image) -> Path:
    """A file of the picture, named by its content, for models that read files."""
    whole = image.convert("RGB")
    name = hashlib.sha256(f"{whole.size}".encode() + whole.tobytes()).hexdigest()
    path = cache_folder() / "pictures" / name[:2] / f"{name}.png"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_suffix(".writing")
        whole.save(aside, "PNG")
        aside.replace(path)
    return path
