"""Where the pairs of a recipe come from: a preference file, or the model that is to be trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from scoreward.data.disk_rows import DiskRows, kept
from scoreward.data.holding import Held
from scoreward.data.pictures import rgb
from scoreward.data.preferences.checks import check_sizes, unlike
from scoreward.data.preferences.files import (
    Records,
    kind_of,
    read_image_binary,
    read_image_pairs,
)
from scoreward.data.preferences.records import Dropped, ImageBinary, ImagePair, Record, pictures
from scoreward.data.preferences.sorting import Listing, divided
from scoreward.data.preferences.summary import facts
from scoreward.data.store import TensorStore, address, cache_folder
from scoreward.methods.sampling import Sampling
from scoreward.methods.stored import Making, Paired
from scoreward.models.base import Model
from scoreward.rewards.base import Reward
from scoreward.training.sources.own_pairs import OwnPairs
from scoreward.training.sources.pairs import PairData
from scoreward.training.sources.stored import LabelledPictures

R = TypeVar("R", bound=Record)
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


def from_file(paired: Paired, model: Model) -> PairSplit:
    """Pairs of a preference file or folder; a share of the prompts is held out.

    Raises ValueError with file and row at what cannot be used, pictures of another size than a
    pixel model draws among them, unless that is skipped.
    """
    path = paired.pairs or Path()
    found = read_image_pairs(path, paired.skip_bad, paired.reading)
    pairs = _fitting(found, model, paired.skip_bad)
    listed = Listing.of(pairs)
    made, whole = divided(listed, paired.pairs_share), in_space(pairs, model, listed)
    told = facts(str(path), len(pairs), pairs.dropped) | {"held_out": len(made.away)}
    told |= pairs.read_of(path, paired.reading)
    train, other = whole.some(made.kept), whole.some(made.away)
    return PairSplit(train, other, told, made.count(OF_PAIRS))


def _fitting(records: Records[R], model: Model, skip_bad: bool) -> Records[R]:
    """Those that a pixel model can draw; a model with a VAE fits all."""
    if model.read is not None:
        return records
    return check_sizes(records, (model.shape[2], model.shape[1]), skip_bad)


@dataclass(frozen=True)
class Labels:
    """Single pictures to train on, couples of other prompts to measure on if there are any."""

    train: LabelledPictures
    held_out: PairData | None
    facts: Mapping[str, Any]
    held: Held


def holds_labels(paired: Paired) -> bool:
    """Whether a file has single pictures with labels, not pairs."""
    if paired.pairs is None:
        return False
    return kind_of(paired.pairs, paired.reading, (ImagePair, ImageBinary)) is ImageBinary


def labels(paired: Paired, model: Model) -> Labels:
    """Labelled pictures of a file; a share of the prompts is held out.  Raises as `from_file`."""
    path = paired.pairs or Path()
    known = read_image_binary(path, paired.skip_bad, paired.reading)
    found = _fitting(known, model, paired.skip_bad)
    listed = Listing.of(found)
    made, whole = divided(listed, paired.pairs_share), on_disk(found, model, listed)
    wanted, prompts = [value == 1.0 for value in listed.values], listed.keys
    couples = coupled(made.away, prompts, wanted)
    winners, losers = ([both[side] for both in couples] for side in (0, 1))
    asked = [prompts[i] for i in winners]
    told = facts(str(path), len(found), found.dropped) | {"held_out": len(made.away)}
    return Labels(
        LabelledPictures(
            whole.some(made.kept),
            torch.tensor([wanted[i] for i in made.kept], dtype=torch.bool),
            [prompts[i] for i in made.kept],
        ),
        PairData(whole.some(winners), whole.some(losers), asked) if couples else None,
        told | found.read_of(path, paired.reading),
        made.count("prompts of labelled pictures", len(set(asked))),
    )


def coupled(
    places: Sequence[int], prompts: Sequence[str], wanted: Sequence[bool]
) -> list[tuple[int, int]]:
    """Each wanted picture with an unwanted one of its prompt, as far as there are both."""
    by_prompt: dict[str, tuple[list[int], list[int]]] = {}
    for i in places:
        by_prompt.setdefault(prompts[i], ([], []))[not wanted[i]].append(i)
    return [both for sides in by_prompt.values() for both in zip(*sides)]


def in_space(pairs: Sequence[ImagePair], model: Model, listed: Listing | None = None) -> PairData:
    """Pictures of records as x0, on disk: pixels of a pixel model, latents of a diffusers model."""
    listed = listed or Listing.of(pairs)
    rows = on_disk(pairs, model, listed)
    gaps = [gap for gap in listed.values if gap is not None]
    return PairData(
        winner=rows.some(range(0, len(rows), 2)),
        loser=rows.some(range(1, len(rows), 2)),
        prompts=listed.keys,
        gap=torch.tensor(gaps) if len(gaps) == len(rows) // 2 else None,
    )


def on_disk(
    records: Sequence[ImagePair] | Sequence[ImageBinary], model: Model, listed: Listing
) -> DiskRows:
    """x0 of all pictures of records in their order, computed one by one and once for a model."""
    marks = [mark for marks in listed.marks for mark in marks]
    salt = f"pixels {model.shape}" if model.read is None else getattr(model.read, "salt", "")
    content = f"{salt}\n{sha256(b''.join(marks)).hexdigest()}"
    name = address(cache_folder() / "x0", content, ".npy") if salt else None
    rows = (x0_of(image, model) for record in records for image in pictures(record))
    return kept(name, rows, len(marks))


@torch.no_grad()
def x0_of(image: Image.Image, model: Model) -> torch.Tensor:
    """One picture as a row: latents, or the bytes of a pixel model."""
    if model.read is not None:
        return model.read([image])[0]
    size = (model.shape[2], model.shape[1])
    if image.size != size:
        raise ValueError(unlike(image.size, size))
    return torch.from_numpy(np.array(rgb(image))).permute(2, 0, 1)
