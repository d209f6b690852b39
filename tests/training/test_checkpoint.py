"""Checkpoints: whole or absent, and refused in a sentence when they are not ours."""

import errno
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from scoreward.models.lora import LoRA, add_lora
from scoreward.objectives.base import Objective
from scoreward.objectives.samples.awm import AWM
from scoreward.objectives.samples.diffusion_nft import DiffusionNFT
from scoreward.tasks.toy import toy_model
from scoreward.training import checkpoint
from scoreward.training.checkpoint import CheckpointError
from scoreward.training.geometry import Geometry
from scoreward.training.trainer import Trainer
from tests.training.toys import make_trainer, means, rounds_of


def trained(rounds: int = 2) -> Trainer:
    trainer = make_trainer()
    rounds_of(trainer, rounds)
    return trainer


def saved(folder: Path, rounds: int = 2) -> tuple[Path, Trainer]:
    trainer = trained(rounds)
    return checkpoint.save(folder, trainer, 1.5), trainer


def test_everything_comes_back(tmp_path: Path) -> None:
    path, trainer = saved(tmp_path)
    fresh = make_trainer()
    state = checkpoint.load(path, fresh)
    assert (state.round, state.seconds, fresh.done) == (2, 1.5, 2)
    assert fresh.evaluations == trainer.evaluations
    assert fresh.clock.seconds == trainer.clock.seconds
    assert torch.equal(means(fresh), means(trainer))
    for name in ("reference", "ema"):
        assert torch.equal(
            fresh.weights.snapshot(name)["mean"], trainer.weights.snapshot(name)["mean"]
        )


def test_the_next_rounds_are_the_same_to_the_last_bit(tmp_path: Path) -> None:
    path, trainer = saved(tmp_path)
    fresh = make_trainer()
    checkpoint.load(path, fresh)
    ours, theirs = rounds_of(fresh, 3), rounds_of(trainer, 3)
    assert [r.metrics for r in ours] == [r.metrics for r in theirs]
    assert torch.equal(means(fresh), means(trainer))


def test_a_checkpoint_is_named_by_its_round_and_the_newest_is_found(tmp_path: Path) -> None:
    trainer = make_trainer()
    assert checkpoint.newest(tmp_path) is None
    for _ in range(11):
        trainer.step()
        if trainer.done in (2, 9, 11):
            checkpoint.save(tmp_path, trainer, 0.0)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000002", "000009", "000011"]
    assert checkpoint.newest(tmp_path) == tmp_path / "000011"
    checkpoint.prune(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000009", "000011"]


def test_saving_again_replaces(tmp_path: Path) -> None:
    path, trainer = saved(tmp_path)
    assert checkpoint.save(tmp_path, trainer, 9.0) == path
    assert json.loads((path / "state.json").read_text())["seconds"] == 9.0
    assert [p.name for p in tmp_path.iterdir()] == ["000002"]


@pytest.mark.parametrize(
    ("objective", "kept"),
    [
        (DiffusionNFT(), {"old": 1, "slow": 0}),
        (DiffusionNFT(schedule="copy"), {"old": 0, "slow": 0}),
        (AWM(), {"old": 0, "slow": 1}),
    ],
)
def test_a_policy_that_lags_is_part_of_a_checkpoint_and_a_copy_is_not(
    tmp_path: Path, objective: Objective, kept: dict[str, int]
) -> None:
    """And it comes back: the rounds after it are those of a run that never stopped."""

    def made() -> Trainer:
        return make_trainer(Geometry(prompts=2, group=4), objective=objective)

    trainer, fresh = made(), made()
    rounds_of(trainer, 3)
    path = checkpoint.save(tmp_path, trainer, 0.0)
    assert {name: len(checkpoint.read_snapshot(path, name)) for name in kept} == kept
    checkpoint.load(path, fresh)
    assert [r.metrics for r in rounds_of(fresh, 2)] == [r.metrics for r in rounds_of(trainer, 2)]
    for name in trainer.weights.names():
        ours, theirs = (t.weights.snapshot(name)["mean"] for t in (fresh, trainer))
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_full_disk_leaves_the_earlier_checkpoint_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """The disk fills while the first, the second or the third file is written."""
    path, trainer = saved(tmp_path)
    trainer.step()
    calls = iter(range(1, 9))

    def full(tensors: dict, target: Path) -> None:
        if next(calls) == call:
            target.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        save_file(tensors, target)

    def full_text(target: Path, text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    if call == 3:
        monkeypatch.setattr(Path, "write_text", full_text)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(tmp_path, trainer, 0.0)
    assert [p.name for p in tmp_path.iterdir()] == ["000002"]
    assert checkpoint.load(path, make_trainer()).round == 2


@pytest.mark.parametrize("file", ["weights.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize("length", [0, 5, 100])
def test_a_truncated_file_is_refused_and_says_what_to_do(
    tmp_path: Path, file: str, length: int
) -> None:
    path, _ = saved(tmp_path)
    (path / file).write_bytes((path / file).read_bytes()[:length])
    fresh = make_trainer()
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path, fresh)
    assert str(caught.value).startswith(f"{path / file} is not a readable safetensors file")
    assert str(caught.value).endswith(f"delete {path} to resume from the one before")
    assert torch.equal(means(fresh), torch.zeros(4, 2))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    path, _ = saved(tmp_path)
    (path / "optimizer.safetensors").unlink()
    with pytest.raises(
        CheckpointError, match=r"^there is no file .*/000002/optimizer.safetensors; del"
    ):
        checkpoint.load(path, make_trainer())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"round": 2}',
        '{"round": "x"}',
        '{"round": 2, "seconds": 0, "evaluations": {}}',
    ],
)
def test_a_damaged_state_is_refused(tmp_path: Path, text: str) -> None:
    path, _ = saved(tmp_path)
    (path / "state.json").write_text(text)
    fresh = make_trainer()
    with pytest.raises(
        CheckpointError, match=r"^000002/state.json is damaged \(.*deleting this one$"
    ):
        checkpoint.load(path, fresh)
    assert fresh.done == 0


def test_a_folder_without_its_state_is_not_a_checkpoint(tmp_path: Path) -> None:
    path, _ = saved(tmp_path)
    (tmp_path / "000007").mkdir()
    assert checkpoint.newest(tmp_path) == path


def test_another_models_checkpoint_is_refused_with_an_example(tmp_path: Path) -> None:
    path, _ = saved(tmp_path)
    other = make_trainer(model=toy_model(dim=3))
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path, other)
    assert str(caught.value) == (
        "checkpoint 000002 is of another model: 1 parameters differ, for example 'mean' is (4, 2) "
        "there and (4, 3) here; resume with the recipe and settings it was made by"
    )
    assert torch.equal(means(other), torch.zeros(4, 3))
    assert other.done == 0


def test_a_snapshot_is_read_without_the_rest(tmp_path: Path) -> None:
    path, trainer = saved(tmp_path)
    ema = checkpoint.read_snapshot(path, "ema")
    assert list(ema) == ["mean"]
    assert torch.equal(ema["mean"], trainer.weights.snapshot("ema")["mean"])
    (path / "weights.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match=r"^cannot read weights.safetensors in 000002: "):
        checkpoint.read_snapshot(path, "ema")


class Linear(torch.nn.Module):
    """v = W x with a layer that LoRA can find."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = torch.nn.Linear(2, 2)

    def forward(self, x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        return self.qkv(x)


def lora_trainer() -> Trainer:
    torch.manual_seed(0)
    network = add_lora(Linear(), LoRA(rank=1, alpha=2.0, targets=("qkv",)))
    model = toy_model()
    return make_trainer(model=type(model)(network, *list(vars(model).values())[1:]))


def test_with_lora_only_the_adapters_are_kept_and_come_back(tmp_path: Path) -> None:
    trainer = lora_trainer()
    rounds_of(trainer, 2)
    path = checkpoint.save(tmp_path, trainer, 0.0)
    stored = checkpoint.read_snapshot(path, "live")
    assert len(stored) == 2
    assert all("lora" in name for name in stored)
    fresh = lora_trainer()
    checkpoint.load(path, fresh)
    assert [r.metrics for r in rounds_of(fresh, 2)] == [r.metrics for r in rounds_of(trainer, 2)]
