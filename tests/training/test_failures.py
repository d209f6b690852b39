"""Runs that fail, are left or fill the disk: what is said, what is kept, how they go on."""

import errno
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from scoreward.rewards.base import Reward, RewardError
from scoreward.tasks.toy import closeness, toy_model
from scoreward.training import checkpoint
from scoreward.training.checkpoint import CheckpointError
from scoreward.training.folder import RunFolderError
from scoreward.training.geometry import Geometry
from scoreward.training.guards import Diverged
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Keeping
from tests.training.toys import (
    BrokenLater,
    about,
    broken_at,
    finish,
    live_after,
    records,
    rewarded,
    saved_rounds,
    toy,
    wrong_at,
)


def nan_reward(media: Tensor, prompts: Sequence[str]) -> Tensor:
    return media[:, 0] * float("nan")


def flat_reward(media: Tensor, prompts: Sequence[str]) -> Tensor:
    return media


def raising_reward(media: Tensor, prompts: Sequence[str]) -> Tensor:
    raise ConnectionError("the server is gone")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (nan_reward, "reward 'mine' returned nan for prompt '"),
        (flat_reward, "reward 'mine' returned shape (16, 2) for 16 samples; expected (16,), one n"),
        (raising_reward, "reward 'mine' raised ConnectionError: the server is gone; the round was"),
    ],
)
def test_a_failing_reward_saves_stops_and_can_be_resumed(
    tmp_path: Path, wrong: Reward, sentence: str
) -> None:
    """It fails in round 3 of 5; the repaired run ends as if nothing had happened."""
    run = rewarded(toy(tmp_path / "run", rounds=5), wrong_at(3, wrong))
    with pytest.raises(RewardError) as caught:
        finish(run)
    assert str(caught.value).startswith(sentence)
    assert (about(run)["status"], about(run)["reason"]) == ("failed", str(caught.value))
    assert saved_rounds(run) == ["000002"]
    assert [m.round for m in rewarded(run, closeness).resume()] == [3, 4, 5]
    whole = rewarded(toy(tmp_path / "whole", rounds=5), closeness)
    finish(whole)
    assert records(run.folder) == records(whole.folder)
    assert about(run)["status"] == "finished"
    assert about(run)["reason"] is None


def test_a_judge_that_fails_at_the_end_is_asked_again_on_resume(tmp_path: Path) -> None:
    """Its call at the end of round 3 fails; resuming measures the same weights and finishes."""
    whole = toy(tmp_path / "whole", rounds=3)
    finish(whole)
    run = toy(tmp_path / "run", rounds=3)
    assert run.evaluation is not None
    broken = replace(run.evaluation, scorers={"reward": wrong_at(3, nan_reward)})
    with pytest.raises(RewardError):
        finish(replace(run, evaluation=broken))
    assert saved_rounds(run) == ["000003"]
    assert [m.round for m in run.resume()] == [3]
    assert records(run.folder, "evaluation") == records(whole.folder, "evaluation")
    assert about(run)["status"] == "finished"


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_broken_loss_stops_with_the_last_good_state_kept(tmp_path: Path, factor: float) -> None:
    objective = BrokenLater(broken_at(1).inner, 3, factor)
    run = toy(tmp_path / "run", rounds=5, objective=objective)
    with pytest.raises(Diverged, match=r"^loss became -?(nan|inf) in round 3; lower the learning"):
        finish(run)
    assert about(run)["status"] == "failed"
    assert about(run)["reason"].startswith("loss became")
    assert saved_rounds(run) == ["000002"]
    good = toy(tmp_path / "good", rounds=2)
    finish(good)
    assert torch.equal(live_after(run), live_after(good))
    assert live_after(run).abs().sum() > 0
    assert [line["round"] for line in records(run.folder, "round")] == [1, 2]


def test_an_exploding_ratio_keeps_the_checkpoint_before_its_round(tmp_path: Path) -> None:
    """Several updates a round: the second is refused, the first cannot be taken back."""
    geometry = Geometry(prompts=4, group=4, minibatches=4)
    settings = Optimizer(lr=30.0, warmup=24)
    keeping = Keeping(every=1, last=3)
    run = toy(tmp_path / "run", 9, geometry, optimizer=settings, keeping=keeping)
    with pytest.raises(Diverged, match=r"^the likelihood ratio exploded in round"):
        finish(run)
    assert "the likelihood ratio exploded" in about(run)["reason"]
    done = records(run.folder, "round")[-1]["round"]
    assert saved_rounds(run)[-1] == f"{done:06d}"
    good = toy(tmp_path / "good", done, geometry, optimizer=settings)
    finish(good)
    assert torch.equal(live_after(run), live_after(good))
    assert live_after(run).isfinite().all()


def test_an_unexpected_error_is_recorded_too(tmp_path: Path) -> None:
    run = toy(tmp_path / "run")

    def broken(prompts: Sequence[str]) -> Tensor:
        raise MemoryError

    run = replace(run, model=replace(run.model, encode=broken), evaluation=None)
    with pytest.raises(MemoryError):
        finish(run)
    assert (about(run)["status"], about(run)["reason"]) == ("failed", "MemoryError")


@pytest.mark.parametrize("left", [0, 4, 5])
def test_leaving_the_loop_saves_and_resuming_gives_the_same_bits(tmp_path: Path, left: int) -> None:
    """Left at the start, between evaluations, and right after one, which is not made again."""
    run, whole = toy(tmp_path / "run", rounds=7), toy(tmp_path / "whole", rounds=7)
    finish(whole)
    for moment in run.start():
        if moment.round == left:
            break
    assert about(run)["status"] == "stopped"
    assert saved_rounds(run)[-1] == f"{left:06d}"
    # a fresh model, as another process would have
    again = toy(tmp_path / "run", rounds=7).resume()
    assert (about(run)["status"], about(run)["reason"]) == ("running", None)
    assert [m.round for m in again] == list(range(left + 1, 8))
    assert records(run.folder) == records(whole.folder)
    assert torch.equal(live_after(run), live_after(whole))


def test_a_line_cut_off_by_a_kill_is_forgotten(tmp_path: Path) -> None:
    run, whole = toy(tmp_path / "run", rounds=4), toy(tmp_path / "whole", rounds=4)
    finish(whole)
    for moment in run.start():
        if moment.round == 2:
            break
    with (run.folder / "metrics.jsonl").open("a") as stream:
        stream.write('{"kind": "round", "round": 3, "evalua')
    list(toy(tmp_path / "run", rounds=4).resume())
    assert records(run.folder) == records(whole.folder)
    lines = (run.folder / "metrics.jsonl").read_text().splitlines()
    assert all(json.loads(line) for line in lines)


def test_a_full_disk_names_itself_and_keeps_the_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second checkpoint does not fit; with room again the run ends as an unbroken one."""
    run = toy(tmp_path / "run", rounds=5, keeping=Keeping(every=2))
    whole = toy(tmp_path / "whole", rounds=5, keeping=Keeping(every=2))
    finish(whole)
    calls = iter(range(1, 9))
    real = checkpoint.save_file

    def full(tensors: dict[str, Tensor], target: Path) -> None:
        if next(calls) > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(tensors, target)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(
        RunFolderError, match=r"^could not write a checkpoint .*No space left .*intact"
    ):
        finish(run)
    assert saved_rounds(run) == ["000002"]
    assert "No space left" in about(run)["reason"]
    monkeypatch.setattr(checkpoint, "save_file", real)
    list(toy(tmp_path / "run", rounds=5, keeping=Keeping(every=2)).resume())
    assert records(run.folder) == records(whole.folder)
    assert torch.equal(live_after(run), live_after(whole))


def test_metrics_that_do_not_fit_stop_the_run_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = toy(tmp_path / "run", rounds=5, keeping=Keeping(every=1))
    real = Path.open

    def full(self: Path, mode: str = "r", **more):  # noqa: ANN003, ANN202
        if self.name == "metrics.jsonl" and mode == "a" and saved_rounds(run)[-1:] == ["000003"]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(self, mode, **more)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(RunFolderError) as caught:
        finish(run)
    assert str(caught.value) == (
        f"could not append to metrics.jsonl in {run.folder}: No space left on device; checkpoints "
        "already written are intact, so free space or fix permissions and resume"
    )
    assert about(run)["reason"] == str(caught.value)
    assert saved_rounds(run) == ["000002", "000003"]


def test_a_foreign_checkpoint_is_refused_and_nothing_is_lost(tmp_path: Path) -> None:
    """The run was of another dimension: its lines and its state stay as they were."""
    run = toy(tmp_path / "run", rounds=5)
    for moment in run.start():
        if moment.round == 2:
            break
    before = {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}
    other = replace(run, model=toy_model(dim=3))
    with pytest.raises(CheckpointError, match=r"^checkpoint 000002 is of another model: 1 param"):
        other.resume()
    assert before == {p: p.read_bytes() for p in run.folder.rglob("*") if p.is_file()}
