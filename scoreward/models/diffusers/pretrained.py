"""From a diffusers pipeline, on disk or on the hub, to a `Model`.

The text encoders are loaded when a prompt is met that the cache does not know, and may be dropped
again; the VAE decodes and may wait on the CPU; of the denoiser only adapters or all weights train.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from scoreward.data.pictures import Fit
from scoreward.data.store import TensorStore, cache_folder
from scoreward.made_of import note
from scoreward.models.base import Model
from scoreward.models.diffusers.export import saver, variant_of
from scoreward.models.diffusers.families import family_of, pipeline_class
from scoreward.models.diffusers.family import Family, Network, Size, Upstream
from scoreward.models.diffusers.prompts import PictureFiles, Pictures, Prompts
from scoreward.models.diffusers.skeleton import CONFIGURATION, configured, faked, on_paper
from scoreward.models.diffusers.text import Remembered, fingerprint
from scoreward.models.diffusers.understood import check
from scoreward.models.diffusers.versions import check_diffusers, quietly
from scoreward.models.lora import LoRA, add_lora

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
TEXT = ("text_encoder", "tokenizer", "text_processor")  # how parts that read prompts are called
UNUSED = ("safety_checker", "feature_extractor", "image_encoder")
ROUNDED = {"no": 1.0, "int8": 0.51, "nf4": 0.28}  # of 16 bits, with scales; ours


class PretrainedError(ValueError):
    """A path or an identifier that is not a pipeline."""


@dataclass(frozen=True)
class Loading:
    """How a pretrained model is put into memory and what of it trains."""

    height: int | None = None  # pixels; default: what the model was made for
    width: int | None = None
    frames: int | None = None  # of a video
    dtype: Literal["float32", "bf16", "fp16"] = "float32"  # of frozen weights
    quantise: Literal["no", "int8", "nf4"] = "no"  # of frozen weights; needs bitsandbytes
    lora: bool = True  # train low-rank adapters; otherwise all weights of the denoiser
    rank: int = 32  # of the adapters
    alpha: float | None = None  # of the adapters; default: `alpha_per_rank` times the rank
    alpha_per_rank: float = 2.0  # of the adapters: their scale, which another rank keeps
    targets: tuple[str, ...] = ()  # layers with adapters; default: the family's
    tokens: int | None = None  # of text; default: the family's
    guidance_input: float | None = None  # of a model that takes its guidance as an input
    checkpointing: bool = False  # compute activations twice instead of keeping them
    decode: int = 4  # pictures or videos decoded at once; memory only
    fit: Fit = "crop"  # pictures of another shape: cut to that of the run, or white beside them
    tiling: bool = False  # decode large pictures in tiles, one picture at a time
    offload: bool = False  # VAE on the CPU between uses, text encoders dropped after use
    cache: bool = True  # keep prompt embeddings on disk ($SCOREWARD_CACHE)

    def __post_init__(self) -> None:
        if not self.lora and self.quantise != "no":
            raise ValueError("quantised weights cannot train; keep `lora` or set quantise to 'no'")
        if self.decode < 1:
            raise ValueError(f"`decode` must be at least 1, got {self.decode}")
        if not self.lora and self.dtype == "fp16":
            raise ValueError(
                "weights in fp16 lose small updates; train all weights in float32 (with bf16 "
                "autocast if memory is short), or train adapters with `lora`"
            )

    @property
    def precision(self) -> Literal["no", "bf16", "fp16"]:
        """What the network computes in: `mixed_precision` of a run."""
        return "no" if self.dtype == "float32" else self.dtype

    def adapters(self, targets: Sequence[str] = LoRA.targets) -> LoRA:
        """The adapters' settings, for layers of these names."""
        return LoRA(self.rank, self.alpha, targets, self.alpha_per_rank)


def load(path: str | Path, loading: Loading = Loading(), family: Family | None = None) -> Model:
    """The model in a folder, or on the hub under an identifier.

    `family` is an adapter of your own, for a pipeline that has none here. Raises PretrainedError,
    UnsupportedPipeline, ImportError.
    """
    check_diffusers()
    folder = found(path)
    name = class_name(folder)
    adapter = family or family_of(name)
    check_diffusers(adapter.since)
    pipe = opened(folder, name, loading)
    if family is None:
        check(pipe, adapter)
    size = wanted(adapter, pipe, loading)
    shape = adapter.shape(pipe, size)
    network = trainable(adapter, pipe, size, loading)
    if mode := on_paper():
        for part in (network, *(p for p in pipe.components.values() if isinstance(p, nn.Module))):
            faked(part, mode)
    model = assembled(Opened(folder, pipe, adapter), network, size, shape, loading)
    return replace(model, name=str(path))


LAYOUT = 2  # of what is kept on disk, and how pictures are read for it


@dataclass(frozen=True)
class Opened:
    """A pipeline without its text encoders, where it came from and who speaks for it."""

    folder: Path
    pipe: Upstream
    family: Family

    @cached_property
    def reading(self) -> list[str]:
        """The names of the parts that read prompts."""
        return reading_parts(self.folder)

    def content(self, parts: list[str]) -> str:
        """A hash of what these parts are."""
        return fingerprint(self.folder, parts)


def assembled(
    opened: Opened, network: Network, size: Size, shape: tuple[int, ...], loading: Loading
) -> Model:
    """Everything around a network."""
    pipe, family = opened.pipe, opened.family
    tokens = loading.tokens or family.tokens
    salt = f"{LAYOUT} {type(family).__name__} {tokens} {size} {loading.dtype}"
    folder = cache_folder() if loading.cache else None
    texts, seen = (
        TensorStore(
            folder and folder / kind, "" if on_paper() else f"{salt} {opened.content(parts)}"
        )
        for kind, parts in (("prompts", opened.reading), ("latents", ["vae"]))
    )
    known = Remembered(texts)
    pictures = Pictures(pipe, family, loading.offload, loading.decode, rounded(loading))
    where, dtype = opened.folder, DTYPES[loading.dtype]
    prompts = Prompts(pipe, family, where, tokens, known, pictures, size, loading.offload, dtype)
    return Model(
        network=network,
        process=family.process(pipe),
        kind=family.kind(pipe),
        shape=shape,
        encode=prompts,
        decode=pictures,
        null=prompts.null,
        grid=lambda steps: family.grid(pipe, steps, size),
        read=PictureFiles(pictures, size, seen, len(shape) == 4, loading.fit),
        save=saver(opened.folder, pipe, network, loading.adapters(), loading.lora),
    )


def found(path: str | Path) -> Path:
    """The folder of a pipeline; an identifier is downloaded.  Raises PretrainedError."""
    folder = Path(path)
    if (folder / "model_index.json").is_file():
        note(folder)
        return folder.resolve()  # its encoders are read later
    if folder.exists():
        what = "a single file" if folder.is_file() else "a folder without model_index.json"
        raise PretrainedError(
            f"{path} is {what}, not a diffusers pipeline; convert it with diffusers "
            "(from_single_file, then save_pretrained) and name the folder that makes"
        )
    from huggingface_hub import snapshot_download

    try:
        if on_paper():
            return Path(snapshot_download(str(path), allow_patterns=CONFIGURATION))
        return Path(pipeline_class("DiffusionPipeline").download(str(path)))
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PretrainedError(
            f"{str(path)!r} is neither a folder with a diffusers pipeline nor a model that can be "
            f"fetched from the hub ({reason}); give the path of a folder with model_index.json, or "
            "log in and check the name if the model is gated"
        ) from error


def index_of(folder: Path) -> dict[str, Any]:
    """model_index.json.  Raises PretrainedError where it is damaged."""
    try:
        return json.loads((folder / "model_index.json").read_text())
    except (OSError, ValueError) as error:
        raise PretrainedError(f"{folder / 'model_index.json'} cannot be read: {error}") from None


def class_name(folder: Path) -> str:
    """The pipeline class of a folder."""
    return str(index_of(folder).get("_class_name", "an unnamed pipeline"))


def reading_parts(folder: Path) -> list[str]:
    """Names of the text encoders, tokenizers and processors that the folder has."""
    entries = index_of(folder).items()
    return [
        name
        for name, entry in entries
        if name.startswith(TEXT) and isinstance(entry, list) and entry[0] is not None
    ]


def opened(folder: Path, name: str, loading: Loading) -> Upstream:
    """The pipeline without what reads prompts, everything frozen."""
    absent: dict[str, None] = dict.fromkeys(reading_parts(folder))
    absent |= {n: None for n in UNUSED if n in index_of(folder)}
    base = DTYPES[loading.dtype] if loading.lora else torch.float32
    given: dict[str, Any] = {"torch_dtype": {"default": base, "vae": torch.float32}}
    if loading.quantise != "no" and not on_paper():
        given["quantization_config"] = quantised(loading.quantise, base)
    try:
        with quietly():
            if on_paper():
                pipe = configured(folder, index_of(folder), pipeline_class(name), base, UNUSED)
            else:
                given["variant"] = variant(folder)
                pipe = pipeline_class(name).from_pretrained(folder, **given, **absent)
    except OSError as error:
        raise PretrainedError(f"{folder} cannot be loaded: {error}") from error
    for part in pipe.components.values():
        if isinstance(part, nn.Module):
            part.requires_grad_(False).eval()
    pipe.set_progress_bar_config(disable=True)
    if loading.tiling:
        pipe.vae.enable_tiling()
        pipe.vae.enable_slicing()
    return pipe


def variant(folder: Path) -> str | None:
    """The variant that a pipeline has to be read in, as some of its parts have no other weights."""
    found = {variant_of(folder / part) for part in index_of(folder) if (folder / part).is_dir()}
    return next(iter(sorted(found - {None}, key=str)), None)


def rounded(loading: Loading) -> float:
    """Bytes of frozen weights after quantisation relative to those of `dtype`."""
    share = ROUNDED[loading.quantise]
    return share / 2 if loading.quantise != "no" and loading.dtype == "float32" else share


def quantised(how: str, compute: torch.dtype) -> Any:
    """What diffusers needs to load the denoiser in 4 or 8 bits."""
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None:
        raise ImportError(
            f"quantise={how!r} needs bitsandbytes; install it with: "
            'pip install "scoreward[quantised]", or keep quantise at "no"'
        )
    if not torch.accelerator.is_available():
        raise ValueError(
            f"quantise={how!r} needs a GPU, for diffusers quantises there only, and this machine "
            'has none; keep quantise at "no"'
        )
    from diffusers import PipelineQuantizationConfig

    kind = "bitsandbytes_4bit" if how == "nf4" else "bitsandbytes_8bit"
    nf4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": compute}
    return PipelineQuantizationConfig(
        quant_backend=kind,
        quant_kwargs=nf4 if how == "nf4" else {"load_in_8bit": True},
        components_to_quantize=["transformer", "transformer_2", "unet"],
    )


def wanted(family: Family, pipe: Upstream, loading: Loading) -> Size:
    """The size of media: the model's own, where nothing else is said."""
    own = family.size(pipe)
    return Size(
        loading.height or own.height, loading.width or own.width, loading.frames or own.frames
    )


def trainable(family: Family, pipe: Upstream, size: Size, loading: Loading) -> Network:
    """The denoiser with adapters, or with all its weights ready to train."""
    parts = {name: getattr(pipe, name, None) for name in family.parts}
    kept = {name: part for name, part in parts.items() if part is not None}
    for part in kept.values():
        part.requires_grad_(not loading.lora).eval()
        if loading.lora:
            with_adapters(part, loading, loading.targets or family.targets)
        if loading.checkpointing:
            part.enable_gradient_checkpointing()
    own = loading.guidance_input
    network = Network(family, kept, size, family.guidance(pipe) if own is None else own)
    network.steps = int(pipe.scheduler.config.get("num_train_timesteps", 1000))
    return family.adjust(network, pipe)


def with_adapters(part: nn.Module, loading: Loading, targets: tuple[str, ...]) -> None:
    """Low-rank adapters in float32 on a part.  Raises ValueError if no layer has such a name."""
    names = [n for n, _ in part.named_modules()]
    present = [t for t in targets if any(n == t or n.endswith(f".{t}") for n in names)]
    if not present:
        linear = sorted(
            {n.rpartition(".")[2] for n, m in part.named_modules() if isinstance(m, nn.Linear)}
        )
        raise ValueError(
            f"no layer of {type(part).__name__} is called {', '.join(targets)}; its linear layers "
            f"are called {', '.join(linear)}: choose some with loading.targets"
        )
    add_lora(part, loading.adapters(present))
    for parameter in part.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
