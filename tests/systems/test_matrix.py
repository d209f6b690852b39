"""Every method on every task: settings everywhere, a round where it is cheap, a page of it all."""

import math
from pathlib import Path

import pytest

from scoreward.commands.train import build
from scoreward.recipes import Recipe, every, recipe
from scoreward.tasks import PLACES
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer
from tests.support.matrix import mostly_long
from tests.support.small import words_of
from tools.matrix_page import PAGE, page

EVERY = {pair.name: pair for pair in every()}
TRIED = ("digits_compressed", "sd15", "sd35", "flux", "kontext", "wan")


def one_round(pair: Recipe, folder: Path) -> dict[str, float]:
    run, own = build(pair.name, [*words_of(pair, folder), "--folder", str(folder / "run")], "test")
    optimizer = run.optimizer.planned(2, run.source.geometry.updates, False)
    made = Trainer(run.model, run.objective, run.source, optimizer, Team(), guidance=run.guidance)
    assert own.folder == folder / "run"
    return made.step().metrics


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("matrix")


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n, p in EVERY.items() if p.task.name == "toy"])
def test_a_round_on_the_toy(name: str, folder: Path) -> None:
    metrics = one_round(EVERY[name], folder)
    assert all(math.isfinite(v) for v in metrics.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", mostly_long([n for n, p in EVERY.items() if p.task.name in TRIED], [])
)
def test_a_round_on_other_tasks(name: str, folder: Path) -> None:
    metrics = one_round(EVERY[name], folder)
    assert all(math.isfinite(v) for v in metrics.values())


def test_every_pair_has_settings_and_says_where_they_are_from() -> None:
    assert len(EVERY) > 600
    for pair in EVERY.values():
        assert pair.settings
        assert pair.source.startswith("settings: ")


def test_every_refusal_says_why_and_what_would_do() -> None:
    seen = set()
    for place in PLACES:
        for one in ("vgrpo", "refl", "pnapo", "flow_dpo", "pretrain", "few_step", "sft", "dpo"):
            said = recipe(one, on=place).refusal
            if said is not None:
                seen.add(said)
                assert place in said
                assert any(word in said for word in (" use ", " choose ", "scoreward "))
    assert len(seen) > 20


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run make pages"
