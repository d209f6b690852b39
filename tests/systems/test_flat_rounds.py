"""Rounds whose rewards have no spread end well: finite numbers, and a team does what one does."""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module
from math import isfinite
from typing import Any

import pytest
import torch

import scoreward.objectives
from scoreward.methods.texts import trained
from scoreward.objectives.base import Objective
from tests.objectives.texts import named
from tests.systems.flat import (
    CASES,
    IN_TEAMS,
    PAIRED,
    PATHS,
    ROUNDS,
    SAMPLES,
    SIZES,
    STARTS,
    STEPWISE,
    TEXTS,
    everything,
)
from tests.systems.launch import team

pytestmark = [pytest.mark.slow, pytest.mark.long]

OWN = {"weights/disagreement", "gradient/signal_to_noise"}  # of teams, of one process
MOVES = ("dpok", "score_as_action")  # the advantage is not that of a group but R − V

Outcomes = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    torch.set_num_threads(1)
    return everything(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Outcomes]:
    folder = tmp_path_factory.mktemp("two")
    team(2, ["-m", "tests.systems.flat", str(folder)])
    return [torch.load(folder / f"rank{r}.pt") for r in range(2)]


def concrete(kind: type) -> Iterator[type]:
    for child in kind.__subclasses__():
        yield from concrete(child)
        if not inspect.isabstract(child) and child.__module__.startswith("scoreward."):
            yield child


def test_every_objective_there_is_has_a_flat_round() -> None:
    for module in pkgutil.iter_modules(scoreward.objectives.__path__):
        import_module(f"scoreward.objectives.{module.name}")
    tried = {type(o) for some in (PATHS, SAMPLES, PAIRED, STARTS, STEPWISE) for o in some.values()}
    tried |= {type(trained(named(name))) for name in TEXTS}
    rest = {c.__name__ for c in concrete(Objective)} - {c.__name__ for c in tried}
    assert rest == {"BranchGRPO", "Denoising", "FewStep"}  # which have cases of their own
    assert {"branch_grpo-flat-two", "denoising-1", "few_step-3"} <= CASES.keys()


@pytest.mark.parametrize("name", CASES)
def test_a_round_that_teaches_nothing_ends_with_finite_numbers(alone: Outcomes, name: str) -> None:
    found = alone[name]
    assert "error" not in found, found.get("error")
    assert len(found["metrics"]) == ROUNDS
    assert all(isfinite(v) for metrics in found["metrics"] for v in metrics.values())
    assert torch.isfinite(found["live"]).all()


@pytest.mark.parametrize("name", [n for n in CASES if "-flat-" in n and not n.startswith(MOVES)])
def test_equal_rewards_move_no_weight(alone: Outcomes, name: str) -> None:
    """From the first model, where an anchor and a KL have no gradient either."""
    assert float(alone[name]["live"].abs().max()) == 0


@pytest.mark.parametrize("name", [n for n in CASES if "-mixed-" in n])
def test_rounds_of_which_a_part_is_flat_do_learn(alone: Outcomes, name: str) -> None:
    """Or the rounds above would prove nothing."""
    assert float(alone[name]["live"].abs().max()) > 1e-3


@pytest.mark.parametrize("size", SIZES)
def test_an_update_without_rows_is_skipped_and_counted(alone: Outcomes, size: str) -> None:
    found = alone[f"flow_grpo-flat-{size}"]["metrics"]
    assert [m["updates/skipped"] for m in found] == [SIZES[size].minibatches] * ROUNDS
    assert not any({"loss", "gradient/norm", "first/ratio/max"} & m.keys() for m in found)
    full = alone[f"flow_grpo_plain-mixed-{size}"]["metrics"]
    assert any("loss" in m for m in full)


def test_momentum_and_weight_decay_rest_while_there_is_nothing_to_learn(alone: Outcomes) -> None:
    """Of the rounds of one prompt each, some are flat; the others leave moments behind."""
    found = alone["flow_grpo-mixed-one"]["metrics"]
    assert {m.get("updates/skipped", 0.0) for m in found} == {0.0, 1.0}


@pytest.mark.parametrize("name", IN_TEAMS)
def test_two_processes_end_a_flat_round_as_one_does(
    alone: Outcomes, two: list[Outcomes], name: str
) -> None:
    """Weights, what is remembered and all metrics, also where a process has no row at all.

    float32 and Adam: a gradient that is rounding away from another is a step of another size.
    """
    single = alone[name]
    for rank in two:
        ours = rank[name]
        assert "error" not in ours, ours.get("error")
        torch.testing.assert_close(ours["live"], single["live"], rtol=1e-4, atol=2e-5)
        assert ours["memory"].keys() == single["memory"].keys()
        for key, value in ours["memory"].items():
            torch.testing.assert_close(
                value, single["memory"][key], rtol=1e-4, atol=1e-4, equal_nan=True
            )
        for mine, one in zip(ours["metrics"], single["metrics"], strict=True):
            assert mine.keys() - OWN == one.keys() - OWN
            both = {k: v for k, v in mine.items() if k in one}
            assert both == pytest.approx({k: one[k] for k in both}, rel=1e-4, abs=1e-4)
    first, second = (rank[name]["live"] for rank in two)
    assert torch.equal(first, second)
