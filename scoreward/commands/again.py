"""A run built again from its folder, or only the model it trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scoreward.commands.recipes import find, read_settings, renewed
from scoreward.commands.train import Options, build, command_of, where_started
from scoreward.core.denoiser import PRECISIONS
from scoreward.models.base import Model
from scoreward.models.weights import Weights
from scoreward.training.checkpoint import CheckpointError, newest, read_snapshot
from scoreward.training.folder import RunFolder
from scoreward.training.run import Run

Precision = torch.dtype | None  # of autocast; None: that of the weights


@dataclass(frozen=True)
class Reopened:
    """The model of a run, without its prompts, pairs and rewards, and how the run uses it."""

    model: Any
    guidance: float = 1.0
    steps: int = 10  # by which its pictures are drawn where they are measured
    precision: Precision = None
    device: str = "auto"


def built(folder: RunFolder, instead: str, more: Sequence[str] = ()) -> Run:
    """The run that a folder describes, with its model as it was before training.

    `more` are options behind its own. Raises RunFolderError, which says what to do `instead`, where
    no command line can build it.
    """
    recipe, words = command_of(folder, instead)
    with where_started(folder):
        return build(recipe, [*words, *more], "scoreward")[0]


def reopened(folder: RunFolder, instead: str, more: Sequence[str] = ()) -> Reopened:
    """The model of a run as it was before training.  Raises as `built`."""
    recipe, words = command_of(folder, instead)
    command, rest = find([recipe, *words, *more])
    with where_started(folder):
        if command.model is None:
            run = build(recipe, [*words, *more], "scoreward")[0]
            return Reopened(run.model, run.guidance, 10, PRECISIONS.get(run.mixed_precision))
        words = renewed(rest, command.renamed)
        settings = read_settings(command.settings, command.about, Options, words, "scoreward")[1]
        model = command.model(**settings)
    said = folder.told().settings
    precision, guidance = str(said.get("mixed_precision", "no")), said.get("guidance", 1.0)
    measured = settings.get("measured", settings.get("held_out"))
    return Reopened(
        model,
        float(guidance) if isinstance(guidance, int | float) else 1.0,
        getattr(measured, "steps", Reopened.steps),
        PRECISIONS.get(precision),
        str(said.get("device", "auto")),
    )


def trained(folder: Path, which: str = "ema") -> Reopened:
    """The model of a run with its newest weights, adapters included, and what it computes in."""
    home, path = RunFolder(folder), newest(folder / "checkpoints")
    if path is None:
        raise CheckpointError(f"{folder} has no checkpoint yet")
    found = reopened(home, "load its weights there")
    if not isinstance(found.model, Model):
        raise ValueError(f"{folder} is a run on texts; its report shows what it wrote")
    put(read_snapshot(path, which), found.model, path, home.told().recipe)
    return found


def put(tensors: dict[str, Tensor], model: Any, path: Path, recipe: str) -> None:
    """The weights of a checkpoint in the model.  Raises CheckpointError as `fit`."""
    weights = Weights(model.network)
    fit(weights, tensors, path, recipe)
    weights.load(tensors)


def fit(weights: Weights, tensors: dict[str, Tensor], path: Path, recipe: str) -> None:
    """Raise CheckpointError for weights of another model."""
    ours = {name: p.shape for name, p in weights.parameters.items()}
    if ours != {name: t.shape for name, t in tensors.items()}:
        raise CheckpointError(f"{path} does not fit the model of the run {recipe!r}")
