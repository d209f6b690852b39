"""Trained weights in the formats of the ecosystem: LoRA files and whole pipelines."""

import re
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
VARIANT = re.compile(
    r"\.(?!index\b|safetensors\b|bin\b)([a-z]\w*)(-\d+-of-\d+)?\.(?:safetensors|bin)$"
)
"""The variant in the name of a file of weights: model.fp16.safetensors, …fp16-00001-of-00002…"""


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
        variant = variant_of(folder / name)
        kind: Any = type(network.parts[name])
        fresh = kind.from_pretrained(folder / name, variant=variant)
        own = dict(fresh.named_parameters())
        with torch.no_grad():
            for at, change in (merged(tensors, scale) if scale else tensors).items():
                own[at].copy_(own[at] + change.to(own[at]) if scale else change)
        as_stored(fresh, stored_kinds(folder / name, variant))
        fresh.save_pretrained(target / name, variant=variant)


def variant_of(folder: Path) -> str | None:
    """What stands before the suffix of all weights in a folder, such as "fp16"; None if nothing.

    A folder that has weights without it is read without it.
    """
    names = [p.name for p in folder.glob("*") if p.name.endswith((".safetensors", ".bin"))]
    found = [VARIANT.search(name) for name in names]
    if not names or None in found:
        return None
    return sorted(match[1] for match in found if match)[0]


def stored_kinds(folder: Path, variant: str | None = None) -> dict[str, torch.dtype]:
    """Names and kinds of number of the weights in a part's folder, of this variant alone."""
    kinds: dict[str, torch.dtype] = {}
    for file in sorted(folder.glob("*.safetensors")):
        match = VARIANT.search(file.name)
        if (match and match[1]) != variant:
            continue
        with safe_open(file, "pt") as stored:
            for name in stored.keys():  # noqa: SIM118
                kinds[name] = KINDS.get(stored.get_slice(name).get_dtype(), torch.float32)
    if not kinds:
        for file in sorted(folder.glob("*.bin" if variant is None else f"*.{variant}*.bin")):
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
    """(α/r) B A by the name of the weight that it is added to; of convolutions B is 1 x 1.

    Raises ExportError for convolutions in groups, whose B does not see all of A.
    """
    changes: dict[str, Tensor] = {}
    for name, down in adapters.items():
        if ".lora_A." not in name:
            continue
        up, at = adapters[name.replace(".lora_A.", ".lora_B.")], name.partition(".lora_A.")[0]
        if up[0].numel() != len(down):
            raise ExportError(
                f"{at} is a convolution in groups, and adapters on it cannot be merged; export "
                "the LoRA without --merged, or leave it out of --loading.targets"
            )
        product = up.flatten(1) @ down.flatten(1)
        changes[f"{at}.weight"] = scale * product.reshape(len(up), *down.shape[1:])
    return changes
