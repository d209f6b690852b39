"""Trained weights in the formats of the ecosystem: LoRA files and whole pipelines."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from scoreward.models.base import Save
from scoreward.models.diffusers.family import Network, Upstream
from scoreward.models.lora import LoRA

KINDS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
WEIGHTS = (".safetensors", ".bin", ".index.json")


class ExportError(ValueError):
    """A model whose weights cannot be written as asked."""


def saver(folder: Path, pipe: Upstream, network: Network, lora: LoRA, adapters: bool) -> Save:
    """A function that writes weights of this model for plain diffusers."""

    def save(weights: Mapping[str, Tensor], target: Path, merged: bool) -> None:
        parts = split(weights, network)
        scale = lora.scale
        if adapters and not merged:
            write_lora(type(pipe), parts, target, scale)
        else:
            write_whole(folder, network, parts, target, scale if adapters else None)

    return save


def split(weights: Mapping[str, Tensor], network: Network) -> dict[str, dict[str, Tensor]]:
    """Weights by part of the pipeline, names as that part has them."""
    return {
        part: {
            name.removeprefix(f"parts.{part}."): tensor
            for name, tensor in weights.items()
            if name.startswith(f"parts.{part}.")
        }
        for part in network.parts
    }


def write_lora(
    pipeline: Any, parts: Mapping[str, Mapping[str, Tensor]], target: Path, scale: float
) -> None:
    """A folder that `pipe.load_lora_weights` takes; a second denoiser gets one of its own.

    α/r is multiplied into B, so that a loader that knows no α (older diffusers, other programs)
    reads the same weights.
    """
    write = getattr(pipeline, "save_lora_weights", None)
    if write is None:
        raise ExportError(
            f"diffusers has no LoRA files for {pipeline.__name__}; export the whole model instead, "
            "with --merged"
        )
    for number, (part, tensors) in enumerate(parts.items()):
        layers = {
            name.replace(".default", ""): (t * scale if "lora_B" in name else t).contiguous()
            for name, t in tensors.items()
        }
        argument = "unet_lora_layers" if part == "unet" else "transformer_lora_layers"
        inside = target if number == 0 else target / part
        inside.mkdir(parents=True, exist_ok=True)
        write(inside, **{argument: layers})


def write_whole(
    folder: Path,
    network: Network,
    parts: Mapping[str, Mapping[str, Tensor]],
    target: Path,
    scale: float | None,
) -> None:
    """A copy of the pipeline's folder with its denoiser replaced.

    Adapters (`scale` is their α/r) are added to the original weights, read anew, so that a base
    that was loaded in few bits is written in full. Sums are float32; each weight is written as the
    kind of number that the folder has it in.
    """

    def unwanted(at: str, names: list[str]) -> list[str]:
        if Path(at).name in parts and Path(at).parent == folder:
            return [n for n in names if n.endswith(WEIGHTS)]
        return []

    shutil.copytree(folder, target, ignore=unwanted, dirs_exist_ok=True)
    for name, tensors in parts.items():
        fresh: Any = type(network.parts[name]).from_pretrained(folder / name)  # pyright: ignore
        own = dict(fresh.named_parameters())
        with torch.no_grad():
            for at, change in (merged(tensors, scale) if scale else tensors).items():
                own[at].copy_(own[at] + change.to(own[at]) if scale else change)
        as_stored(fresh, stored_kinds(folder / name))
        fresh.save_pretrained(target / name)


def stored_kinds(folder: Path) -> dict[str, torch.dtype]:
    """Names and kinds of number of the weights in a part's folder, variants left out."""
    kinds: dict[str, torch.dtype] = {}
    for file in sorted(folder.glob("*.safetensors")):
        if "." in file.name.removesuffix(".safetensors"):  # a variant, such as …fp16.safetensors
            continue
        with safe_open(file, "pt") as stored:
            for name in stored.keys():  # noqa: SIM118
                kinds[name] = KINDS.get(stored.get_slice(name).get_dtype(), torch.float32)
    if not kinds:
        for file in sorted(folder.glob("*.bin")):
            tensors = torch.load(file, "meta", weights_only=True)
            kinds |= {name: tensor.dtype for name, tensor in tensors.items()}
    return kinds


def as_stored(network: nn.Module, kinds: Mapping[str, torch.dtype]) -> None:
    """Turn a network's weights into the kinds of number they had; unknown ones into the usual."""
    every = list(kinds.values()) or [torch.float32]
    usual = max(set(every), key=every.count)
    for name, parameter in network.named_parameters():
        if parameter.is_floating_point():
            parameter.data = parameter.data.to(kinds.get(name, usual))


def merged(adapters: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """(α/r) B A by the name of the weight that it is added to."""
    down = {n: t for n, t in adapters.items() if ".lora_A." in n}
    return {
        name.replace(".lora_A.default.weight", ".weight"): scale
        * (adapters[name.replace(".lora_A.", ".lora_B.")] @ a)
        for name, a in down.items()
    }
