"""What cannot run fails before the first evaluation and makes room; what can run is not moved."""

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import scoreward as sw
from scoreward.rewards.base import RewardError
from scoreward.tasks.toy import closeness
from scoreward.training.evaluations.pictures import Evaluation
from scoreward.training.folder import RunFolderError
from scoreward.training.guards import Guards
from scoreward.training.preflight import preflight, smallest
from scoreward.training.run import Run, Session
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer
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
)

TRIED = Guards()
METHODS = ("vgrpo", "flow_grpo", "diffusion_nft", "draft", "mixgrpo", "dgpo", "diffusion_dpo")


def failing(media: Tensor, prompts: Sequence[str]) -> Tensor:
    raise ConnectionError("the server is gone")


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often anything was evaluated or a round was made."""
    seen: list[int] = []
    monkeypatch.setattr(Evaluation, "measure", lambda *given: seen.append(1))
    monkeypatch.setattr(Trainer, "step", lambda *given: seen.append(1))
    return seen


def built(method: str, folder: Path, guards: Guards) -> Run:
    held_out = sw.HeldOut(prompts=8, every=2)
    sizes: dict[str, Any] = (
        {"geometry": sw.Geometry(prompts=2, group=2)} if method == "diffusion_dpo" else {}
    )
    run = sw.recipe(method, on="toy").run(budget=sw.Budget(rounds=2), held_out=held_out, **sizes)
    return replace(run, folder=folder, guards=guards)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_that_was_tried_has_the_same_bits(tmp_path: Path, method: str) -> None:
    """Weights, every logged number, every evaluation; and where chance stood after the first."""
    ended = []
    for guards in (TRIED, replace(TRIED, preflight=False)):
        run = built(method, tmp_path / str(guards.preflight), guards)
        moments = run.start()
        torch.manual_seed(5)
        np.random.seed(5)  # Python's own is moved by the checks of types in tests
        first = next(moments)
        numpy_stood: Any = np.random.get_state()
        stood = torch.get_rng_state().tolist(), numpy_stood[1].tolist()
        numbers = [(m.metrics, m.evaluation, m.evaluations) for m in (first, *moments)]
        lines = records(run.folder, "round") + records(run.folder, "evaluation")
        ended.append((stood, numbers, lines, live_after(run).tolist()))
    assert ended[0] == ended[1]


def test_a_session_that_was_tried_holds_what_it_held(tmp_path: Path) -> None:
    sessions = []
    for guards in (TRIED, replace(TRIED, preflight=False)):
        session = Session(built("diffusion_nft", tmp_path / str(guards.preflight), guards))
        session.begin()
        if session.untried:
            preflight(session.run.evaluation, session.trainer)
        sessions.append(session.trainer)
    tried, fresh = sessions
    assert tried.memory == fresh.memory == {}
    assert tried.clock.seconds == fresh.clock.seconds
    assert (tried.done, tried.evaluations, tried.between_rounds) == (0, fresh.evaluations, True)
    assert all(p.grad is None for p in tried.weights.parameters.values())
    assert not tried.torch_optimizer.state
    for name in fresh.weights.names():
        for key, value in fresh.weights.snapshot(name).items():
            assert torch.equal(tried.weights.snapshot(name)[key], value)


def test_a_reward_that_draws_numbers_moves_no_generator(tmp_path: Path) -> None:
    def drawing(media: Tensor, prompts: Sequence[str]) -> Tensor:
        noise = torch.rand(len(prompts)) + float(np.random.rand()) + random.random()
        return closeness(media, prompts) + noise

    session = Session(rewarded(toy(tmp_path / "run"), drawing))
    before = (torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate())
    preflight(session.run.evaluation, session.trainer)
    after = (torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate())
    assert before == after


def test_a_reward_that_cannot_answer_is_refused_before_anything(
    tmp_path: Path, unmeasured: list[int]
) -> None:
    run = rewarded(toy(tmp_path / "run", guards=TRIED), failing)
    with pytest.raises(RewardError, match="reward 'mine' raised ConnectionError: the server is go"):
        finish(run)
    assert not unmeasured
    assert about(run)["status"] == "failed"
    assert "the server is gone" in about(run)["reason"]


def test_the_same_folder_takes_the_repaired_run(tmp_path: Path) -> None:
    with pytest.raises(RewardError):
        finish(rewarded(toy(tmp_path / "run", guards=TRIED), failing))
    run = rewarded(toy(tmp_path / "run", rounds=1, guards=TRIED), closeness)
    session = Session(run)
    session.begin()
    assert not saved_rounds(run)  # of the one that failed
    list(session.moments())
    assert about(run)["status"] == "finished"
    assert about(run)["reason"] is None


def test_a_judge_that_cannot_answer_is_refused_too(tmp_path: Path, unmeasured: list[int]) -> None:
    run = toy(tmp_path / "run", guards=TRIED)
    assert run.evaluation is not None
    run = replace(run, evaluation=replace(run.evaluation, scorers={"judge": failing}))
    with pytest.raises(RewardError, match="reward 'judge' raised ConnectionError"):
        finish(run)
    assert not unmeasured


def test_an_objective_that_cannot_learn_from_it_is_refused(
    tmp_path: Path, unmeasured: list[int]
) -> None:
    class Unable(BrokenLater):
        def loss(self, *given: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            raise ValueError("these rows are not for me")

    objective = Unable(broken_at(1).inner, 1)
    run = toy(tmp_path / "run", guards=TRIED, objective=objective)
    with pytest.raises(ValueError, match="these rows are not for me"):
        finish(run)
    assert not unmeasured


def test_each_reward_is_asked_about_two_pictures_and_a_small_round(tmp_path: Path) -> None:
    asked: list[int] = []

    def counted(media: Tensor, prompts: Sequence[str]) -> Tensor:
        asked.append(len(prompts))
        return closeness(media, prompts)

    geometry = sw.Geometry(prompts=40, group=4, micro_batch=6, minibatches=5, epochs=2)
    run = rewarded(toy(tmp_path / "run", geometry=geometry, guards=TRIED), counted)
    assert run.evaluation is not None
    run = replace(run, evaluation=replace(run.evaluation, scorers={"mine": counted}))
    next(run.start())
    assert asked[:2] == [2, 8]  # two groups fill a micro-batch of six


def test_a_round_is_not_shrunk_below_a_sample_for_each_process(tmp_path: Path) -> None:
    geometry = sw.Geometry(prompts=40, group=4, micro_batch=1)
    source = toy(tmp_path, geometry=geometry).source

    class Three(Team):
        size = 3  # pyright: ignore

    small = smallest(source, Three())
    assert small is not None
    assert (small.geometry.prompts, small.geometry.group) == (3, 4)


def test_a_folder_that_holds_a_run_is_refused_before_anything_is_tried(tmp_path: Path) -> None:
    run = toy(tmp_path / "run", rounds=1)
    finish(run)
    with pytest.raises(RunFolderError, match="already holds a finished run"):
        rewarded(replace(run, guards=TRIED), failing).start()


def test_nothing_is_tried_on_resuming_nor_where_it_is_turned_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[int] = []
    monkeypatch.setattr(Trainer, "rehearse", lambda *given: tried.append(1))
    run = toy(tmp_path / "run", guards=TRIED)
    for moment in run.start():
        if moment.round == 1:
            break
    assert len(tried) == 1
    list(toy(tmp_path / "run", guards=TRIED).resume())
    finish(toy(tmp_path / "other", rounds=1))
    assert len(tried) == 1
