"""Where the pairs of a recipe come from: a preference file, or the model that is to be trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from scoreward.data.holding import Held
from scoreward.data.preferences.checks import check_sizes, unlike
from scoreward.data.preferences.files import kind_of, read_image_binary, read_image_pairs
from scoreward.data.preferences.records import Dropped, ImageBinary, ImagePair
from scoreward.data.preferences.sorting import divided
from scoreward.data.preferences.summary import facts
from scoreward.data.store import TensorStore, address, cache_folder, written_whole
from scoreward.methods.sampling import Sampling
from scoreward.methods.stored import Making
from scoreward.models.base import Model
from scoreward.rewards.base import Reward
from scoreward.training.sources.own_pairs import OwnPairs
from scoreward.training.sources.pairs import PairData
from scoreward.training.sources.stored import LabelledPictures

OF_PAIRS = "prompts of pairs"


@dataclass(frozen=True)
class PairSplit:
    """Pairs to train on, pairs of other prompts to measure on, and what a report says of them."""

    train: PairData
    held_out: PairData
    facts: Mapping[str, Any] = field(default_factory=dict)
    held: Held | None = None  # None: the data have splits of their own


def own_pairs(
    making: Making,
    model: Model,
    asked: tuple[Sequence[str], Sequence[str]],
    reward: Reward,
    judged: str,
) -> PairSplit:
    """Pairs of training prompts, and of prompts that are measured on.

    They are kept on disk if `judged` says what identifies the reward.
    """
    train, other = distinct(asked[0], making.prompts), distinct(asked[1], making.held_out)
    store = (
        TensorStore(cache_folder() / "pairs", "own pairs 1") if making.cache and judged else None
    )
    first = OwnPairs(
        sampler=Sampling(steps=making.steps).sampler(),
        reward=reward,
        group=making.group,
        seed=making.seed,
        batch=192,
        judged=judged,
        store=store,
    )
    mine = first.make(model, train)
    rest = replace(first, seed=making.seed + 1).make(model, other)
    used, of = len(mine) + len(rest), len(train) + len(other)
    ties = Dropped(ties=of - used)
    about = facts("the model's own samples", used, ties) | {"held_out": len(rest)}
    return PairSplit(mine, rest, about, Held(OF_PAIRS, len(other), of, len(rest)))


def distinct(prompts: Sequence[str], count: int) -> list[str]:
    """The first prompts, each once."""
    return list(dict.fromkeys(prompts))[:count]


def from_file(path: Path, model: Model, skip_bad: bool, share: float = 0.1) -> PairSplit:
    """Pairs of a preference file or folder; a share of the prompts is held out.

    Raises ValueError with file and row at what cannot be used, pictures of another size than a
    pixel model draws among them, unless that is skipped.
    """
    pairs = read_image_pairs(path, skip_bad)
    if model.read is None:
        pairs = check_sizes(pairs, (model.shape[2], model.shape[1]), skip_bad)
    made = divided(pairs, share)
    told = facts(str(path), len(pairs), pairs.dropped) | {"held_out": len(made.away)}
    train, other = ([pairs[i] for i in some] for some in (made.kept, made.away))
    return PairSplit(in_space(train, model), in_space(other, model), told, made.count(OF_PAIRS))


@dataclass(frozen=True)
class Labels:
    """Single pictures to train on, couples of other prompts to measure on if there are any."""

    train: LabelledPictures
    held_out: PairData | None
    facts: Mapping[str, Any]
    held: Held


def holds_labels(path: Path | None) -> bool:
    """Whether a file has single pictures with labels, not pairs."""
    return path is not None and kind_of(path, among=(ImagePair, ImageBinary)) is ImageBinary


def labels(path: Path, model: Model, skip_bad: bool, share: float = 0.1) -> Labels:
    """Labelled pictures of a file; a share of the prompts is held out.  Raises as `from_file`."""
    found = read_image_binary(path, skip_bad)
    if model.read is None:
        found = check_sizes(found, (model.shape[2], model.shape[1]), skip_bad)
    made = divided(found, share)
    train = [found[i] for i in made.kept]
    couples = coupled([found[i] for i in made.away])
    return Labels(
        LabelledPictures(
            pictures([r.image for r in train], model),
            torch.tensor([r.desirable for r in train], dtype=torch.bool),
            [r.prompt for r in train],
        ),
        in_space(couples, model) if couples else None,
        facts(str(path), len(found), found.dropped) | {"held_out": len(made.away)},
        made.count("prompts of labelled pictures", len({c.prompt for c in couples})),
    )


def coupled(records: Sequence[ImageBinary]) -> list[ImagePair]:
    """Each wanted picture with an unwanted one of its prompt, as far as there are both."""
    by_prompt: dict[str, tuple[list, list]] = {}
    for one in records:
        by_prompt.setdefault(one.prompt, ([], []))[not one.desirable].append(one.image)
    return [ImagePair(p, w, u) for p, both in by_prompt.items() for w, u in zip(*both)]


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
            raise ValueError(unlike(image.size, size))
    pixels = np.stack([np.array(image.convert("RGB")) for image in images])
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1


def stored(image: Image.Image) -> Path:
    """A file of the picture, named by its content, for models that read files."""
    whole = image.convert("RGB")
    content = f"{whole.size}".encode() + whole.tobytes()
    path = address(cache_folder() / "pictures", content, ".png")
    if not path.is_file():
        with written_whole(path) as aside:
            whole.save(aside, "PNG")
    return path
