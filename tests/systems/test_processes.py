"""Two and three real processes make the run of one.

A team of each size is started once and does everything; the tests read what it left behind.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from scoreward.records.reading import read_run
from scoreward.training.folder import RunFolder
from scoreward.training.geometry import Geometry
from scoreward.verdict.causes import diagnose
from scoreward.verdict.evidence import evidence_of
from tests.support.matrix import long
from tests.systems.cases import GEOMETRIES, PAIRED, measured, outcome, weights
from tests.systems.launch import team

pytestmark = pytest.mark.slow

SAME = [*GEOMETRIES, *PAIRED, "remembered", "valued", "branched"]
OF_TEAMS, ALONE = {"weights/disagreement"}, {"gradient/signal_to_noise"}

Team = tuple[Path, list[dict[str, Any]]]


@pytest.fixture(scope="module", params=[2, long(3)])
def several(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Team:
    """The folder of a team and what each of its processes answered."""
    folder = tmp_path_factory.mktemp(f"team{request.param}")
    team(request.param, ["-m", "tests.systems.worker", str(folder)])
    return folder, [torch.load(folder / f"rank{r}.pt") for r in range(request.param)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("alone")
    return folder, {name: outcome(name, folder / name) for name in SAME}


def holdings(geometry: Geometry, size: int) -> list[int]:
    return [len(geometry.share(rank, size)) for rank in range(size)]


def test_the_geometries_are_the_awkward_ones() -> None:
    """Uneven shares; minibatches of one sample; a process that has none at all."""
    assert holdings(GEOMETRIES["uneven"], 3) == [6, 7, 7]
    assert GEOMETRIES["one_sample_minibatches"].samples == 6
    assert GEOMETRIES["one_sample_minibatches"].minibatches == 6
    assert holdings(GEOMETRIES["fewer_samples_than_processes"], 3) == [0, 1, 1]


def test_the_processes_know_each_other(several: Team) -> None:
    assert [answers["size"] for answers in several[1]] == [len(several[1])] * len(several[1])


def test_no_thread_of_the_group_is_left_to_the_interpreter(several: Team) -> None:
    """One that is wakes up while the interpreter ends, now and then, and aborts the process."""
    folder, answers = several
    for rank in range(len(answers)):
        left = (folder / f"rank{rank}.threads").read_text().split()
        assert left
        assert not [name for name in left if "gloo" in name]


@pytest.mark.parametrize("name", [*GEOMETRIES, *PAIRED])
def test_a_team_trains_as_one_process_does(
    several: Team, alone: tuple[Path, dict[str, Any]], name: str
) -> None:
    """Float64: after 3 rounds weights differ by the order of sums; metrics, also, by float32."""
    ours, theirs = weights(several[0] / name), weights(alone[0] / name)
    assert ours["live"].dtype == torch.float64
    assert float(ours["live"].abs().max()) > 0.01
    for snapshot, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[snapshot], rtol=1e-11, atol=1e-12)
    for answers in several[1]:
        pairs = zip(answers[name]["metrics"], alone[1][name]["metrics"], strict=True)
        for mine, single in pairs:
            assert mine.keys() - OF_TEAMS == single.keys() - ALONE
            both = {k: v for k, v in mine.items() if k in single}
            assert both == pytest.approx({k: single[k] for k in both}, rel=1e-6, abs=1e-6)
            assert mine.get("weights/disagreement", 0) == 0


@pytest.mark.parametrize("name", SAME)
def test_all_processes_hold_the_same_weights_to_the_last_bit(several: Team, name: str) -> None:
    first, *rest = [answers[name]["live"] for answers in several[1]]
    assert all(torch.equal(a, b) for other in rest for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize("name", SAME)
def test_a_team_counts_all_evaluations(
    several: Team, alone: tuple[Path, dict[str, Any]], name: str
) -> None:
    ours, theirs = (RunFolder(f / name).records("round")[-1] for f in (several[0], alone[0]))
    assert ours["evaluations"] == theirs["evaluations"]


def test_a_team_measures_what_one_process_measures(several: Team, tmp_path: Path) -> None:
    """Numbers, a table that is no mean, scores in the order of the prompts, and their pictures."""
    single = measured(tmp_path / "single")
    for answers in several[1]:
        ours = answers["measured"]
        for sampler in ("ode", "sde"):
            mine, one = ours["numbers"][sampler], single["numbers"][sampler]
            assert mine["corners"]["seen"] == 7
            assert mine["corners"] == pytest.approx(one["corners"], abs=1e-6)
            for name in ("reward", "diversity"):
                assert mine[name] == pytest.approx(one[name], abs=1e-6)
            torch.testing.assert_close(
                ours["pictures"][sampler], single["pictures"][sampler], rtol=0, atol=1e-6
            )
            assert ours["scores"][sampler]["reward"] == pytest.approx(
                single["scores"][sampler]["reward"], abs=1e-6
            )


def test_remembered_rollouts_of_a_team_train_as_one_process_does(
    several: Team, alone: tuple[Path, dict[str, Any]]
) -> None:
    ours, theirs = weights(several[0] / "remembered"), weights(alone[0] / "remembered")
    assert float((theirs["live"] - theirs["reference"]).abs().max()) > 0.01
    torch.testing.assert_close(ours["live"], theirs["live"], rtol=1e-4, atol=1e-5)


def test_a_value_function_of_a_team_is_that_of_one_process(
    several: Team, alone: tuple[Path, dict[str, Any]]
) -> None:
    """Its fit, its unit and the advantages' spread are sums over all; Adam amplifies rounding."""
    ours, theirs = weights(several[0] / "valued"), weights(alone[0] / "valued")
    assert float((theirs["live"] - theirs["reference"]).abs().max()) > 0.01
    torch.testing.assert_close(ours["live"], theirs["live"], rtol=1e-6, atol=1e-7)


def test_branches_of_a_team_train_as_those_of_one_process_do(
    several: Team, alone: tuple[Path, dict[str, Any]]
) -> None:
    """A process holds whole starts, so that no trunk is drawn twice; states are float32."""
    ours, theirs = weights(several[0] / "branched"), weights(alone[0] / "branched")
    assert float((theirs["live"] - theirs["reference"]).abs().max()) > 0.01
    torch.testing.assert_close(ours["live"], theirs["live"], rtol=1e-5, atol=1e-6)


def test_processes_that_do_not_share_gradients_are_named(several: Team) -> None:
    """A planted fault of docs/diagnose.md."""
    assert several[1][0]["unsynced"]["metrics"][0]["weights/disagreement"] > 1e-4
    causes = diagnose(evidence_of(read_run(several[0] / "unsynced")))
    assert causes[0].name == "unsynced"


def ending(folder: Path) -> tuple[str, str | None]:
    told = json.loads((folder / "run.json").read_text())
    return told["status"], told["reason"]


def test_a_budget_in_seconds_ends_all_processes_in_the_same_round(several: Team) -> None:
    folder, answers = several
    rounds = {len(a["by_seconds"]["metrics"]) for a in answers}
    assert len(rounds) == 1
    assert ending(folder / "by_seconds") == ("finished", None)


def test_one_interrupted_process_stops_all_and_their_state_is_saved(several: Team) -> None:
    folder, answers = several
    assert {len(a["interrupted"]["metrics"]) for a in answers} == {2}
    assert ending(folder / "interrupted") == ("stopped", "interrupted by the user")
    assert weights(folder / "interrupted")["live"].shape == (4, 2)


def test_a_reward_that_fails_in_one_process_stops_all_with_its_sentence(several: Team) -> None:
    folder, answers = several
    sentence = "reward 'mine' raised ConnectionError: the server is gone; the round was not used"
    assert {a["failing"]["error"] for a in answers} == {sentence}
    assert ending(folder / "failing") == ("failed", sentence)
    first, *rest = [a["failing"]["live"][0] for a in answers]
    assert all(torch.equal(first, other) for other in rest)
