"""A run built again from its folder, and the model it trained."""

from pathlib import Path

import torch
from torch import Tensor

from scoreward.commands.train import build, command_of
from scoreward.core.denoiser import PRECISIONS
from scoreward.models.base import Model
from scoreward.models.weights import Weights
from scoreward.training.checkpoint import CheckpointError, newest, read_snapshot
from scoreward.training.folder import RunFolder
from scoreward.training.run import Run

Precision = torch.dtype | None  # of autocast; None: that of the weights


def built(folder: RunFolder, instead: str) -> Run:
    """The run that a folder describes, with its model as it was before training.

    Raises RunFolderError, which says what to do `instead`, where no command line can build it.
    """
    return build(*command_of(folder, instead), "scoreward")[0]


def trained(folder: Path, which: str = "ema") -> tuple[Model, Precision]:
    """The model of a run with its newest weights, adapters included, and what it computes in."""
    home, path = RunFolder(folder), newest(folder / "checkpoints")
    if path is None:
        raise CheckpointError(f"{folder} has no checkpoint yet")
    run = built(home, "load its weights there")
    if not isinstance(run.model, Model):
        raise ValueError(f"{folder} is a run on texts; its report shows what it wrote")
    weights, tensors = Weights(run.model.network), read_snapshot(path, which)
    fit(weights, tensors, path, home.told().recipe)
    weights.load(tensors)
    return run.model, PRECISIONS.get(run.mixed_precision)


def fit(weights: Weights, tensors: dict[str, Tensor], path: Path, recipe: str) -> None:
    """Raise CheckpointError for weights of another model."""
    ours = {name: p.shape for name, p in weights.parameters.items()}
    if ours != {name: t.shape for name, t in tensors.items()}:
        raise CheckpointError(f"{path} does not fit the model of the run {recipe!r}")
