"""Every number of an evaluation is the same for one, two and three processes."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.systems.evaluated import everything
from tests.systems.launch import team

pytestmark = [pytest.mark.slow, pytest.mark.long]

Outcomes = dict[str, dict[str, Any]]
NAMES = ["pictures_many", "pictures_one_prompt", "pictures_two_prompts", "labels_2", "labels_5"]
NAMES += [f"{m}_{n}" for m in ("dpo", "rainbow_po", "aot") for n in (1, 7)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    torch.set_num_threads(1)
    return everything(tmp_path_factory.mktemp("alone"))


@pytest.fixture(scope="module", params=[2, 3])
def several(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[Outcomes]:
    folder = tmp_path_factory.mktemp(f"team{request.param}")
    team(request.param, ["-m", "tests.systems.evaluated", str(folder)])
    return [torch.load(folder / f"rank{r}.pt") for r in range(request.param)]


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every number and word of nested records, by its place."""
    match value:
        case dict():
            for key, inside in value.items():
                yield from leaves(inside, f"{name}/{key}")
        case list() | tuple():
            for i, inside in enumerate(value):
                yield from leaves(inside, f"{name}/{i}")
        case Tensor():
            yield from leaves(value.flatten().tolist(), name)
        case _:
            yield name, value


def parted(value: Any) -> tuple[dict[str, float], dict[str, str]]:
    """Numbers and words."""
    found = dict(leaves(value))
    words = {k: v for k, v in found.items() if isinstance(v, str)}
    return {k: v for k, v in found.items() if k not in words}, words


def test_the_names_are_all_there_are(alone: Outcomes) -> None:
    assert alone.keys() == set(NAMES)


def test_something_of_every_kind_is_measured(alone: Outcomes) -> None:
    """And is not nothing, or equality would be cheap."""
    numbers = alone["pictures_many"]["numbers"]
    assert {"ode", "sde", "gap", "probes"} == numbers.keys()
    for sampler in ("ode", "sde"):
        assert {"reward", "judge", "corners", "diversity", "drift"} == numbers[sampler].keys()
        assert min(numbers[sampler][name] for name in ("diversity", "drift")) > 0.01
    assert len(alone["pictures_many"]["gaps"]) == 6
    assert {"pairs/accuracy", "pairs/winner_ratio"} <= numbers["probes"].keys()
    held = alone["dpo_7"]["numbers"]["held_out"]
    assert {"accuracy", "margin", "loss", "length", "written_length"} <= held.keys()
    twice = [t for t, p in zip(alone["dpo_7"]["texts"], alone["dpo_7"]["prompts"]) if "say" in p]
    assert len(set(twice)) == len(twice) == 5


@pytest.mark.parametrize("name", NAMES)
def test_a_team_measures_what_one_process_measures(
    alone: Outcomes, several: list[Outcomes], name: str
) -> None:
    """On every process, also on one that has no prompt; up to the rounding of batches."""
    single, words = parted(alone[name])
    assert len(single) >= 5
    for rank in several:
        ours, said = parted(rank[name])
        assert ours == pytest.approx(single, rel=1e-5, abs=1e-5)
        assert said == words
