"""What run.json says of a run: its settings, where it is from, and on what it was made."""

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import scoreward
from scoreward.training.folder import git_state
from scoreward.training.held import held_out, trained_by, unread_of


def digest(run: Any) -> str:
    """What a run is made of, wherever it is kept and computed, as a short text."""
    parts = {f.name: getattr(run, f.name) for f in fields(run)}
    own = {n: v for n, v in parts.items() if n not in ("folder", "device", "origin", "name")}
    return hashlib.sha256(json.dumps(described(own)).encode()).hexdigest()[:16]


def origin_of(run: Any) -> dict[str, Any]:
    """Where a run is from.  One changed after it was made is no longer what its command says."""
    origin = dict(run.origin)
    if origin.pop("made", digest(run)) == digest(run):
        return origin
    kept = {n: v for n, v in origin.items() if n not in ("origin_recipe", "arguments", "command")}
    return kept | {"unspoken": "what was changed in Python after the run was made"}


def about(run: Any) -> dict[str, Any]:
    """run.json: all settings, versions, seed, git state."""
    return {
        "recipe": run.name,
        "arguments": [],
        **origin_of(run),
        "held_out": held_out(run),
        "rewards": trained_by(run),
        "unread": unread_of(run),
        "settings": described(run),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "scoreward": scoreward.__version__,
        },
        "threads": torch.get_num_threads(),
        "seed": run.seed,
        "git": git_state(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": "running",
        "reason": None,
    }


def described(value: Any) -> Any:
    """Settings as plain JSON: dataclasses by field, everything else by a short name."""
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    if isinstance(value, Tensor):
        return f"tensor of shape {tuple(value.shape)}"
    if isinstance(value, nn.Module):
        count = sum(p.numel() for p in value.parameters())
        return f"{type(value).__name__}, {count:,} parameters"
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: described(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): described(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        if len(value) > 64:
            return f"{len(value)} items, the first {value[0]!r}"
        return [described(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    return getattr(value, "__qualname__", type(value).__qualname__)
