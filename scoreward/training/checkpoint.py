"""Checkpoints: everything a run needs to go on as if it had never stopped.

Random numbers have addresses, so no generator state is kept: weights, snapshots, optimiser moments
and counters are the whole state. Files are safetensors and JSON, written aside and renamed, so
that a checkpoint is either whole or absent.
"""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from scoreward.core.device import placed
from scoreward.made_of import note
from scoreward.training.optimizer import updates_made
from scoreward.training.trainer import Evaluations, Trainer

LIVE = "live"


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that belongs to another model.

    >>> import scoreward as sw
    >>> try:
    ...     sw.load("runs/never_started")
    ... except (sw.CheckpointError, sw.RunFolderError) as error:
    ...     print(error)
    runs/never_started has no checkpoint yet
    """


@dataclass(frozen=True)
class Saved:
    """What is known of a checkpoint besides its tensors."""

    round: int
    seconds: float


def save(folder: Path, trainer: Trainer, seconds: float) -> Path:
    """Write `folder`/NNNNNN; returns its path.  Raises OSError (disk full, read-only)."""
    target = folder / f"{trainer.done:06d}"
    aside = folder / f".writing-{target.name}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        save_file(_weights(trainer), aside / "weights.safetensors")
        save_file(_moments(trainer), aside / "optimizer.safetensors")
        save_file(trainer.memory, aside / "memory.safetensors")
        state = {
            "round": trainer.done,
            "seconds": seconds,
            "evaluations": asdict(trainer.evaluations),
            "clock": dict(trainer.clock.seconds),
            "scaler": trainer.scaler.state_dict(),  # empty but for fp16
            "on_device": [n for n, v in trainer.memory.items() if v.device.type != "cpu"],
        }
        (aside / "state.json").write_text(json.dumps(state, indent=1))
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


def kept(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, by round."""
    return sorted(p for p in folder.glob("[0-9]*") if (p / "state.json").exists())


def newest(folder: Path) -> Path | None:
    """The last complete checkpoint of a run, or None."""
    found = kept(folder)
    return found[-1] if found else None


def prune(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints."""
    for old in sorted(folder.glob("[0-9]*"))[:-keep]:
        shutil.rmtree(old, ignore_errors=True)


def load(path: Path, trainer: Trainer) -> Saved:
    """Put a checkpoint into a fresh trainer of the same model and settings."""
    try:
        tensors = read_tensors(path / "weights.safetensors")
        moments = read_tensors(path / "optimizer.safetensors")
        memory = read_tensors(path / "memory.safetensors")
    except CheckpointError as error:
        raise CheckpointError(f"{error}; delete {path} to resume from the one before") from None
    try:
        state = json.loads((path / "state.json").read_text())
        saved = Saved(int(state["round"]), float(state["seconds"]))
        evaluations, clock = Evaluations(**state["evaluations"]), dict(state["clock"])
        scaler = dict(state.get("scaler", {}))
        away = set(state.get("on_device", ()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path.name}/state.json is damaged ({error}); resume from an earlier checkpoint "
            "by deleting this one"
        ) from None
    named: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        snapshot, _, parameter = key.partition("/")
        named.setdefault(snapshot, {})[parameter] = tensor
    check_same(path, named.get(LIVE, {}), trainer)
    trainer.weights.load(named.pop(LIVE))
    for name, snapshot in named.items():
        trainer.weights.restore(name, snapshot)
    _restore_moments(trainer, moments)
    device = trainer.team.device
    trainer.memory.update({n: placed(v, device) if n in away else v for n, v in memory.items()})
    trainer.clock.seconds.update(clock)
    if scaler and trainer.scaler.is_enabled():
        trainer.scaler.load_state_dict(scaler)
    trainer.evaluations, trainer.done = evaluations, saved.round
    return saved


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file, or CheckpointError in a sentence."""
    try:
        note(path)
        return load_file(path)
    except FileNotFoundError:
        raise CheckpointError(f"there is no file {path}") from None
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({error}); "
            "it is damaged or was made by something else"
        ) from None


def read_snapshot(path: Path, name: str) -> dict[str, Tensor]:
    """One snapshot ("ema", "live", "reference") of a checkpoint, by parameter name."""
    file = path / "weights.safetensors"
    try:
        with safe_open(file, "pt") as stored:
            keys = [k for k in stored.keys() if k.startswith(f"{name}/")]  # noqa: SIM118
            return {k.removeprefix(f"{name}/"): stored.get_tensor(k) for k in keys}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"cannot read {file.name} in {path.name}: {error}") from None


def check_same(path: Path, tensors: dict[str, Tensor], trainer: Trainer) -> None:
    """Refuse a checkpoint whose parameters are not those of this model."""
    ours = {n: tuple(p.shape) for n, p in trainer.weights.parameters.items()}
    theirs = {n: tuple(t.shape) for n, t in tensors.items()}
    if ours != theirs:
        odd = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
        raise CheckpointError(
            f"checkpoint {path.name} is of another model: {len(odd)} parameters differ, for "
            f"example {odd[0]!r} is {theirs.get(odd[0], 'absent')} there and "
            f"{ours.get(odd[0], 'absent')} here; resume with the recipe and settings it was made by"
        )


def _weights(trainer: Trainer) -> dict[str, Tensor]:
    live = {f"{LIVE}/{n}": p.detach().contiguous() for n, p in trainer.weights.parameters.items()}
    copied = trainer.objective.old_decay(updates_made(trainer.torch_optimizer)) == 0
    for name in trainer.weights.names():
        if name == "old" and copied:
            continue  # the next round makes it from the live weights
        snapshot = trainer.weights.snapshot(name)
        live |= {f"{name}/{n}": t.clone() for n, t in snapshot.items()}
    return live


def _moments(trainer: Trainer) -> dict[str, Tensor]:
    """The optimiser's state by parameter name; copies, for 8-bit moments share their tables."""
    state = trainer.torch_optimizer.state
    return {
        f"{name}/{entry}": torch.as_tensor(value).clone().contiguous()
        for name, parameter in trainer.weights.parameters.items()
        for entry, value in state.get(parameter, {}).items()
    }


def _restore_moments(trainer: Trainer, moments: dict[str, Tensor]) -> None:
    state = trainer.torch_optimizer.state
    for key, value in moments.items():
        name, _, entry = key.rpartition("/")
        parameter = trainer.weights.parameters[name]
        if entry == "step":  # torch counts in a tensor on the CPU, bitsandbytes in a number
            state[parameter][entry] = int(value) if trainer.optimizer.bits == 8 else value
        else:
            state[parameter][entry] = value.to(parameter.device)
