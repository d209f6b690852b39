"""Finding the weights of rewards: a folder or file of yours, or an identifier on the hub.

What is missing or does not fit is one sentence that names the identifier and how to get it.
transformers is imported when weights are read, not before.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)
HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")


def needs(reward: str, package: str, extra: str) -> None:
    """Refuse to go on without a package."""
    if find_spec(package) is None:
        raise ModuleNotFoundError(
            f"reward {reward!r} needs the package {package}; install it with: "
            f"pip install 'scoreward[{extra}]'"
        )


def missing(reward: str, where: str, why: str) -> FileNotFoundError:
    """The error for weights that are not there."""
    if Path(where).exists():
        cause = f"cannot use {where!r}: {why}"
    elif HUB_ID.fullmatch(where):
        cause = (
            f"needs the weights {where!r}, which are no folder here and not in the hub's cache; "
            f"get them with: hf download {where}"
        )
    else:
        cause = f"needs weights, and there is no folder {where!r}"
    return FileNotFoundError(f"reward {reward!r} {cause}; or name others: {reward}=FOLDER")


@contextmanager
def reading(reward: str, where: str, lacks: str = "", *also: type[Exception]) -> Iterator[None]:
    """What transformers raises for files that are not there becomes one sentence."""
    needs(reward, "transformers", "rewards")
    try:
        yield
    except (OSError, ValueError, RuntimeError, *also) as error:
        line = first_line(error)
        raise missing(reward, where, f"no {lacks} ({line})" if lacks else line) from error


def pretrained(reward: str, kind: str, where: str, dtype: torch.dtype) -> Any:
    """A frozen model of transformers whose class is called `kind`, with every weight found."""
    with reading(reward, where):
        import transformers

        build = getattr(transformers, kind)
        model, info = build.from_pretrained(where, output_loading_info=True)
    absent = sorted(info["missing_keys"])
    if absent:
        raise ValueError(
            f"reward {reward!r}: the weights in {where!r} have no {absent[0]!r} "
            f"({len(absent)} are absent); expected those of a {kind}"
        )
    return frozen(model.to(dtype))


def tokenizer(reward: str, where: str) -> Any:
    """The tokenizer that the model was trained with."""
    with reading(reward, where, "tokenizer", ImportError, TypeError, AttributeError):
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(where)


def preprocessor(reward: str, where: str) -> Mapping[str, Any]:
    """The content of its preprocessor_config.json."""
    with reading(reward, where, "preprocessor_config.json"):
        from transformers.image_processing_base import ImageProcessingMixin

        return ImageProcessingMixin.get_image_processor_dict(where)[0]


def checkpoint(reward: str, where: str, file: str) -> dict[str, Tensor]:
    """Tensors of a checkpoint file: `where` is the file, a folder with `file`, or a hub id."""
    path = Path(where)
    path = path / file if path.is_dir() else path
    if not path.is_file():
        path = _from_hub(reward, where, file)
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling fails in many ways
        raise missing(reward, str(path), f"not a checkpoint ({first_line(error)})") from error
    for key in ("state_dict", "model"):
        content = content[key] if key in content and isinstance(content[key], dict) else content
    return content


def _from_hub(reward: str, where: str, file: str) -> Path:
    needs(reward, "huggingface_hub", "rewards")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(where, file))
    except (OSError, ValueError) as error:
        if Path(where).is_dir():
            raise missing(reward, where, f"it holds no {file}") from error
        raise FileNotFoundError(
            f"reward {reward!r} needs the file {file} of {where!r}, which is neither here nor in "
            f"the hub's cache; get it with: hf download {where} {file}; or name it: "
            f"{reward}=FOLDER or {reward}=FILE"
        ) from error


def filled(reward: str, model: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load `state` into `model`; each of its weights is found and none is left over."""
    empty = model.state_dict()
    absent, unknown = sorted(empty.keys() - state.keys()), sorted(state.keys() - empty.keys())
    for keys, fault in ((absent, "has no"), (unknown, "has an unknown")):
        if keys:
            raise ValueError(
                f"reward {reward!r}: {source!r} {fault} {keys[0]!r} ({len(keys)} such); it is not "
                "the checkpoint that this reward reads"
            )
    for key, value in state.items():
        if value.shape != empty[key].shape:
            raise ValueError(
                f"reward {reward!r}: {key!r} in {source!r} has shape {tuple(value.shape)}; "
                f"expected {tuple(empty[key].shape)}"
            )
    model.load_state_dict(dict(state))


def frozen(model: Network) -> Network:
    return model.eval().requires_grad_(False)


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
