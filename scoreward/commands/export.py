"""Command `export`: the trained weights of a run in the format that others load."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from safetensors.torch import save_file

from scoreward.commands.again import fit, reopened
from scoreward.commands.talk import console
from scoreward.core.device import chosen
from scoreward.models.weights import Weights
from scoreward.report.run.card import model_card
from scoreward.training.checkpoint import CheckpointError, newest, read_snapshot
from scoreward.training.folder import RunFolder, RunFolderError


@dataclass(frozen=True)
class ExportOptions:
    """Write a run's weights as a LoRA or a whole pipeline that plain diffusers loads."""

    run: Annotated[Path, tyro.conf.Positional]  # the run folder
    to: Path  # a folder that does not exist yet
    merged: bool = False  # a whole pipeline, adapters added to its weights
    which: Literal["ema", "live"] = "ema"  # the average that was measured, or the last weights
    device: str = "cpu"  # where adapters are added to the weights
    model: str | None = None  # where the pretrained model lies now, if not where it was trained


def export(words: list[str]) -> int:
    """scoreward export RUN --to FOLDER"""
    options = tyro.cli(ExportOptions, args=words, prog="scoreward export")
    folder = RunFolder(options.run)
    last = newest(folder.checkpoints)
    if last is None:
        raise CheckpointError(f"{options.run} has no checkpoint yet")
    if options.to.exists() and any(options.to.iterdir()):
        raise RunFolderError(f"{options.to} is not empty; name a folder that does not exist yet")
    more = [] if options.model is None else ["--model", options.model]
    model = reopened(folder, "call run.model.save(weights, folder, merged)", more).model
    aside = options.to.with_name(f".{options.to.name}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        kind = write(model, folder, last, options, aside)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    (aside / "README.md").write_text(model_card(options.run, aside, kind), encoding="utf-8")
    if options.to.exists():
        options.to.rmdir()
    aside.rename(options.to)
    console.print(f"{kind} of round {int(last.name)}: {options.to}")
    return 0


def write(model: Any, folder: RunFolder, last: Path, options: ExportOptions, target: Path) -> str:
    """The weights; returns what they are: "lora", "pipeline" or "weights"."""
    tensors, recipe = read_snapshot(last, options.which), folder.told().recipe
    fit(Weights(model.network), tensors, last, recipe)
    if model.save is None:
        if options.merged:
            raise ValueError(f"{recipe} trains a built-in model; leave out --merged")
        save_file(tensors, target / "model.safetensors")
        return "weights"
    model.network.to(chosen(options.device))
    model.save(tensors, target, options.merged)
    if (target / "model.safetensors").exists():
        return "weights"
    whole = options.merged or not any(".lora_" in name for name in tensors)
    return "pipeline" if whole else "lora"
