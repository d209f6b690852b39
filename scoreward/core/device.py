"""Which device a word means: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`, or another that torch has.

Asked once per process, by `training.team.Team` and by the commands that draw; everything else
follows the tensors it is given.
"""

import os
from functools import cache

import torch
from torch import Tensor


def chosen(name: str = "auto") -> torch.device:
    """The device of this process, with its index.  Raises ValueError in a sentence.

    `auto` is the accelerator that torch sees, else the CPU. A device without an index is this
    process's own card: of several processes on a machine each gets another.
    """
    seen, count = _seen()
    if name == "auto":
        return _own(seen, count) if count else torch.device("cpu")
    try:
        asked = torch.device(name)
    except RuntimeError:
        raise ValueError(
            f"torch knows no device {name!r}; expected auto, cpu, or an accelerator such as cuda, "
            "cuda:1 or mps"
        ) from None
    if asked.type == "cpu":
        return torch.device("cpu")
    if asked.type != seen or not count or (asked.index or 0) >= count:
        raise ValueError(f"device {name!r} was asked for and torch sees {_told(seen, count)}")
    return _own(seen, count) if asked.index is None else asked


def _seen() -> tuple[str, int]:
    """The kind of accelerator that torch can use now, and how many of it there are."""
    if not torch.accelerator.is_available():
        return "", 0
    found = torch.accelerator.current_accelerator()
    return ("", 0) if found is None else (found.type, torch.accelerator.device_count())


def _own(kind: str, count: int) -> torch.device:
    """Of several processes' cards this process's; alone, the one that is current."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return torch.device(kind, int(os.environ.get("LOCAL_RANK", "0")) % count)
    return torch.device(kind, torch.accelerator.current_device_index())


def _told(kind: str, count: int) -> str:
    if not count:
        return "no accelerator; use cpu or auto"
    devices = " or ".join(f"{kind}:{i}" for i in range(min(count, 4)))
    more = "" if count <= 4 else " and so on"
    return f"{count} {kind} device(s); use {devices}{more}, cpu or auto"


@cache
def widest(device: torch.device) -> torch.dtype:
    """float64, or float32 on a device that has nothing wider (MPS)."""
    try:
        torch.zeros((), dtype=torch.float64, device=device)
    except TypeError:
        return torch.float32
    return torch.float64


def wide(x: Tensor) -> Tensor:
    """In the widest type of its device: for sums and tables that stay there."""
    return x.to(widest(x.device))


def placed(x: Tensor, device: "torch.device | str") -> Tensor:
    """On a device, in float32 where float64 is not to be had there.

    The host waits for a copy to the CPU only: nothing that is read there may be half written.
    """
    device = torch.device(device)
    dtype = widest(device) if x.dtype == torch.float64 else x.dtype
    # MPS reads the source when it gets there, by when it may be gone
    return x.to(device, dtype, non_blocking=device.type not in ("cpu", "mps"))
