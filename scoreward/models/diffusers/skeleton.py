"""A pipeline without its weights: shapes and sizes from the configuration alone.

Inside `without_weights()` everything that `load` builds is made of fake tensors, which know their
shape and precision and take no memory. A forward and backward pass of them allocates, on paper,
what the real one does.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from scoreward.models.diffusers.family import Family, Upstream
from scoreward.models.diffusers.text import Text

_ON_PAPER: ContextVar[FakeTensorMode | None] = ContextVar("without weights", default=None)
CONFIGURATION = ["*.json", "*.txt", "*.model", "*.jinja"]


@contextmanager
def without_weights() -> Iterator[FakeTensorMode]:
    """`load` builds models on paper here."""
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    token = _ON_PAPER.set(mode)
    try:
        yield mode
    finally:
        _ON_PAPER.reset(token)


def on_paper() -> FakeTensorMode | None:
    """The mode in which fakes are made, if models are to be built on paper."""
    return _ON_PAPER.get()


def configured(
    folder: Path, index: dict[str, Any], pipeline: Any, dtype: torch.dtype, unused: Sequence[str]
) -> Any:
    """The pipeline with parts built from their configuration; readers of prompts included."""
    parts: dict[str, Any] = {}
    for name, entry in index.items():
        if name.startswith("_"):
            continue
        if not isinstance(entry, list):
            parts[name] = entry  # a setting of the pipeline
        elif name in unused:
            parts[name] = None
        else:
            parts[name] = _part(folder / name, entry[0], entry[1], dtype)
    return pipeline(**parts)


def _part(folder: Path, library: str | None, name: str | None, dtype: torch.dtype) -> Any:
    """One part; tokenizers and processors read their files, which are small."""
    import diffusers
    import transformers

    if library is None or name is None:
        return None
    owner = diffusers if library == "diffusers" else transformers
    kind = getattr(owner, name, None)
    if kind is None or not isinstance(kind, type):
        return None
    if not issubclass(kind, torch.nn.Module):
        return kind.from_pretrained(folder)  # pyright: ignore
    precision = torch.float32 if folder.name == "vae" else dtype
    with torch.device("meta"):
        if library == "diffusers":
            made = kind.from_config(kind.load_config(folder))  # pyright: ignore
        else:
            made = kind(kind.config_class.from_pretrained(folder))  # pyright: ignore
    return made.to(precision)


def faked(module: torch.nn.Module, mode: FakeTensorMode) -> None:
    """Replace the tensors of a module on the meta device by fakes that claim to be on the CPU.

    Of meta tensors attention is computed the long way, of fakes as on a real device.
    """

    made: dict[int, torch.nn.Parameter] = {}  # tied weights stay one
    kept: list[torch.nn.Parameter] = []  # so that no number is given twice

    def fake(tensor: torch.Tensor) -> torch.Tensor:
        with mode:
            return torch.empty(tensor.shape, dtype=tensor.dtype, device="cpu")

    for inner in module.modules():
        for name, parameter in inner._parameters.items():
            if parameter is not None and parameter.is_meta:
                if id(parameter) not in made:
                    made[id(parameter)] = torch.nn.Parameter(
                        fake(parameter), requires_grad=parameter.requires_grad
                    )
                    kept.append(parameter)
                inner._parameters[name] = made[id(parameter)]
        for name, buffer in inner._buffers.items():
            if buffer is not None and buffer.is_meta:
                inner._buffers[name] = fake(buffer)
        for name, value in vars(inner).items():
            if isinstance(value, torch.Tensor) and value.is_meta:
                object.__setattr__(inner, name, fake(value))


def text_on_paper(family: Family, pipe: Upstream, tokens: int) -> Text:
    """The shape of what the encoders say of one prompt.

    Encoders that look at the values of their own answer cannot run on paper; then every token is
    taken to be used.
    """
    try:
        with torch.no_grad():
            return family.text(pipe, ["a prompt"], tokens)
    except Exception:
        config = pipe.text_encoder.config
        width = getattr(config, "text_config", config).hidden_size
        return Text(torch.zeros(1, tokens, width))
