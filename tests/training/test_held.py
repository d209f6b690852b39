"""Run, live view, model card and report say what is held out, also where nothing is."""

from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from scoreward.commands.live import say_held_out
from scoreward.data.holding import Held
from scoreward.records.reading import read_run
from scoreward.report.run.card import model_card
from scoreward.report.run.tables import facts
from scoreward.tasks.base import told
from scoreward.tasks.toy import CORNERS
from scoreward.training.held import held_out
from scoreward.training.run import Budget, Run
from scoreward.verdict.outcome import ends, verdict
from tests.training.toys import about, finish, online, toy

TRAINING = "Nothing is held out of 4 prompts: what is measured is measured on training prompts"


def apart(run: Run) -> Run:
    """Trained on one corner, measured on the other three."""
    words = list(CORNERS)
    assert run.evaluation is not None
    source = replace(online(run.source.geometry), prompts=words[:1])
    return replace(run, source=source, evaluation=replace(run.evaluation, prompts=words[1:]))


def said(run: Run) -> str:
    console = Console(record=True, width=300)
    say_held_out(run, console)
    return console.export_text()


def test_a_toy_that_is_measured_on_its_own_prompts_says_so_everywhere(tmp_path: Path) -> None:
    run = toy(tmp_path / "run", 1)
    finish(run)
    assert about(run)["held_out"][0]["sentence"].startswith(TRAINING)
    assert TRAINING in said(run)
    found = read_run(run.folder)
    assert found.measured_on == "training prompts"
    assert any(s.startswith(TRAINING) for s in verdict(found, ends(found, "ode")))
    assert any(name == "Held out" and s.startswith(TRAINING) for name, s in facts(found))
    (tmp_path / "card").mkdir()
    card = model_card(run.folder, tmp_path / "card", "weights")
    assert "training prompts" in card
    assert "held-out prompts" not in card


def test_prompts_that_are_apart_are_held_out_and_few_are_named(tmp_path: Path) -> None:
    run = apart(toy(tmp_path / "run", budget=Budget(rounds=1)))
    (one,) = held_out(run)
    assert (one["held"], one["of"], one["few"]) == (3, 4, True)
    assert "standard error of 0.58" in said(run)


@pytest.mark.parametrize("spelling", ["North  East", "north east"])
def test_a_prompt_in_another_spelling_is_not_held_out(tmp_path: Path, spelling: str) -> None:
    run = apart(toy(tmp_path / "run"))
    assert run.evaluation is not None
    run = replace(run, evaluation=replace(run.evaluation, prompts=[spelling, *list(CORNERS)[1:]]))
    (one,) = held_out(run)
    assert (one["held"], one["trained"], one["few"]) == (3, 1, True)


def test_spellings_of_one_prompt_are_one_prompt(tmp_path: Path) -> None:
    run = apart(toy(tmp_path / "run"))
    words = list(CORNERS)
    assert run.evaluation is not None
    source = replace(online(run.source.geometry), prompts=[words[0], words[0].upper()])
    twice = replace(run.evaluation, prompts=[words[1], words[1].upper(), words[2]])
    (one,) = held_out(replace(run, source=source, evaluation=twice))
    assert (one["held"], one["of"], one["measured"], one["trained"]) == (2, 3, 2, 0)


def test_what_a_recipe_says_goes_before(tmp_path: Path) -> None:
    run = replace(toy(tmp_path / "run"), origin=told(Held("captions", 20, 200, 20), None))
    assert [one["sentence"] for one in held_out(run)] == ["20 of 200 captions are held out."]
    assert held_out(replace(toy(tmp_path / "other"), evaluation=None)) == []
