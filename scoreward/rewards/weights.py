"""Finding the weights of rewards: a folder or file of yours, or an identifier on the hub.

What is missing or does not fit is one sentence that names the identifier and how to get it.
transformers is imported when weights are read, not before.
"""

import re
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

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


def pretrained(reward: str, kind: str, where: str, dtype: torch.dtype) -> Any:
    """A frozen model of transformers whose class is called `kind`, with every weight found."""
    needs(reward, "transformers", "rewards")
    import transformers

    build = getattr(transformers, kind)
    try:
        model, info = build.from_pretrained(where, output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise missing(reward, where, first_line(error)) from error
    absent = sorted(info["missing_keys"])
    if absent:
        raise ValueError(
            f"reward {reward!r}: the weights in {where!r} have no {absent[0]!r} "
            f"({len(absent)} are absent); expected those of a {kind}"
        )
    return frozen(model.to(dtype))


def tokenizer(reward: str, where: str) -> Any:
    """The tokenizer that the model was trained with."""
    needs(reward, "transformers", "rewards")
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(where)
    except (OSError, ValueError, ImportError, TypeError, AttributeError) as error:
        raise missing(reward, where, f"no tokenizer ({first_line(error)})") from error


def preprocessor(reward: str, where: str) -> Mapping[str, Any]:
    """The content of its preprocessor_config.json."""
    needs(reward, "transformers", "rewards")
    from transformers.image_processing_base import ImageProcessingMixin

    try:
        return ImageProcessingMixin.get_image_processor_dict(where)[0]
    except (OSError, ValueError) as error:
        raise missing(
            reward, where, f"no preprocessor_config.json ({first_line(error)})"
        ) from error


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
    own = model.state_dict()
    _complain(reward, source, own.keys() - state.keys(), "has no")
    _complain(reward, source, state.keys() - own.keys(), "has an unknown")
    for key, value in state.items():
        if value.shape != own[key].shape:
            raise ValueError(
                f"reward {reward!r}: {key!r} in {source!r} has shape {tuple(value.shape)}; "
                f"expected {tuple(own[key].shape)}"
            )
    model.load_state_dict(dict(state))


def _complain(reward: str, source: str, keys: Iterable[str], what: str) -> None:
    if keys := sorted(keys):
        raise ValueError(
            f"reward {reward!r}: {source!r} {what} {keys[0]!r} ({len(keys)} such); it is not the "
            "checkpoint that this reward reads"
        )


def frozen(model: Any) -> Any:
    return model.eval().requires_grad_(False)


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
