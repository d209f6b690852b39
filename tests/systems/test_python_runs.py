"""A run made in Python is as good as one from a command line: built again, or refused in words."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import scoreward as sw
from scoreward.cli import main
from scoreward.commands.train import build
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.recipes import every, recipe
from scoreward.tasks.builtin import BuiltIn
from scoreward.training.about import described
from scoreward.training.folder import RunFolder, RunFolderError
from scoreward.training.run import Run
from scoreward.words import Unspoken, words

TINY = sw.Geometry(prompts=2, group=4)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def toy(**given: object) -> Run:
    settings = {"geometry": TINY, "budget": sw.Budget(rounds=3), "folder": Path("runs/mine")}
    return sw.recipe("vgrpo", on="toy").run(**settings | given)  # pyright: ignore[reportArgumentType]


def stopped(run: Run) -> None:
    """Left after its first round."""
    for moment in run.start():
        if moment.round == 1:
            break


def test_it_is_resumed_measured_and_diagnosed_from_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    stopped(toy(seed=3, optimizer=sw.Optimizer(lr=0.05)))
    about = json.loads(Path("runs/mine/run.json").read_text())
    assert about["command"] == (
        "scoreward train toy_vgrpo --geometry.prompts 2 --geometry.group 4 --optimizer.lr 0.05 "
        "--budget.rounds 3 --seed 3"
    )
    assert about["source"] == "settings: ours for toy"
    assert main(["resume", "runs/mine"]) == 0
    assert RunFolder(Path("runs/mine")).records("round")[-1]["round"] == 3
    assert main(["diagnose", "runs/mine", "--rounds", "4"]) == 0
    few = ["--etas", "0.5", "--steps", "4", "--prompts", "4", "--noises", "2"]
    assert main(["gap", "runs/mine", *few]) == 0
    assert main(["export", "runs/mine", "--to", "weights"]) == 0
    assert sw.load("runs/mine").shape == (2,)
    assert sw.resumed("runs/mine").seed == 3
    capsys.readouterr()


def test_a_run_changed_afterwards_is_no_longer_what_its_command_says(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = toy()
    assert isinstance(run.source, sw.Online)
    other = {"spread": lambda media, prompts: media.std(1)}
    changed = replace(run.source, rewards={**run.source.rewards, **other})
    stopped(replace(run, source=changed))
    about = json.loads(Path("runs/mine/run.json").read_text())
    assert "origin_recipe" not in about
    assert main(["resume", "runs/mine"]) == 2
    assert capsys.readouterr().err == (
        "scoreward: runs/mine was started from Python, and no command line can say what was "
        "changed in Python after the run was made; resume it there with run.resume()\n"
    )
    with pytest.raises(RunFolderError, match="no command line can say what was changed"):
        sw.load("runs/mine")


def test_another_folder_is_no_change() -> None:
    stopped(replace(toy(), folder=Path("elsewhere")))
    assert json.loads(Path("elsewhere/run.json").read_text())["origin_recipe"] == "toy_vgrpo"


def test_a_setting_that_no_command_line_can_say_is_named() -> None:
    made = recipe("vgrpo")
    given = {n: s.default for n, s in made.settings.items()} | {"objective": object()}
    with pytest.raises(Unspoken, match="objective"):
        words(made.settings, given)


@pytest.mark.parametrize("name", ["toy_vgrpo", "toy_mixgrpo", "toy_ddpo", "digits_compressed_awm"])
def test_words_build_the_same_run(name: str) -> None:
    """Every field that can be moved is moved, and comes back through the command line."""
    made = recipe(name)
    shared = made.settings["shared"].default
    given = {
        "shared": replace(
            shared,
            geometry=replace(shared.geometry, prompts=3, epochs=2),
            optimizer=replace(shared.optimizer, lr=1e-3, betas=(0.8, 0.9), warmup=7),
            budget=sw.Budget(rounds=None, seconds=5.0),
        ),
        "held_out": replace(made.settings["held_out"].default, every=7),
    }
    if "window" in made.settings:
        given["window"] = replace(made.settings["window"].default, roll_back=True, end=6)
    run = made.run(**given)
    again, _ = build(made.name, list(run.origin["arguments"]), "test")
    mine, theirs = (described(replace(one, origin={}, folder=Path())) for one in (run, again))
    assert mine == theirs


def test_every_pair_says_its_defaults_in_no_words() -> None:
    for pair in every():
        given = {name: setting.default for name, setting in pair.settings.items()}
        assert words(pair.settings, given) == []


def test_a_run_json_is_a_configuration() -> None:
    """It repeats the run, with what is said behind it; the folder is another one."""
    small = ["--geometry.prompts", "2", "--geometry.group", "4", "--budget.rounds", "2"]
    assert main(["train", "vgrpo", "--on", "toy", *small, "--folder", "one"]) == 0
    more = ["--optimizer.lr", "0.5", "--folder", "two"]
    assert main(["train", "one/run.json", *more]) == 0
    one, two = (json.loads(Path(f"{n}/run.json").read_text()) for n in ("one", "two"))
    assert two["settings"]["optimizer"]["lr"] == 0.5
    assert two["settings"]["source"] == one["settings"]["source"]
    assert two["origin_recipe"] == "vgrpo"
    assert main(["train", "nowhere/run.json"]) == 2


def test_a_function_is_a_reward() -> None:
    run = toy(reward=east, folder="runs/east")
    assert isinstance(run.source, sw.Online)
    assert run.source.rewards == {"reward": east}
    assert run.evaluation.scorers["reward"] is east  # pyright: ignore[reportOptionalMemberAccess]
    stopped(run)
    about = json.loads(Path("runs/east/run.json").read_text())
    assert about["unspoken"] == "a reward that is a function"
    two = toy(reward={"east": east, "west": lambda media, prompts: -media[:, 0]})
    media = torch.ones(2, 2)
    assert isinstance(two.source, sw.Online)
    assert list(two.source.rewards) == ["east", "west"]
    assert two.evaluation is not None
    assert torch.equal(two.evaluation.scorers["reward"](media, ["", ""]), torch.zeros(2))


def test_one_s_own_of_a_known_name_is_one_s_own() -> None:
    """Rows of the tables are for what is in the tables: its objective is not put in its place."""
    mine = replace(sw.methods["vgrpo"], objective=replace(VGRPO(), pairs=2))
    made = sw.Recipe(mine, sw.tasks["toy"])
    assert made.settings["objective"].default.pairs == 2
    assert made.source.startswith("settings: untuned")
    stopped(made.run(geometry=TINY, budget=sw.Budget(rounds=3), folder="runs/own"))
    about = json.loads(Path("runs/own/run.json").read_text())
    assert about["settings"]["objective"]["pairs"] == 2
    assert "origin_recipe" not in about
    toy = sw.tasks["toy"]
    assert isinstance(toy, BuiltIn)
    other = sw.Recipe(sw.methods["vgrpo"], replace(toy, reward=lambda smooth: {"other": east}))
    assert "origin_recipe" not in other.run().origin
    assert list(other.run().source.rewards) == ["other"]  # pyright: ignore
    assert sw.recipe("vgrpo", on="toy").listed


def test_a_file_s_objective_of_a_known_name_is_what_trains(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from scoreward.objectives.samples.vgrpo import VGRPO as Base\n"
        "@dataclass(frozen=True)\nclass VGRPO(Base):\n    pairs: int = 3\n"
    )
    run, _ = build("mine.py:VGRPO", [], "test")
    assert (type(run.objective).__module__, run.objective.pairs) != (VGRPO.__module__, 4)  # pyright: ignore
    assert run.objective.pairs == 3  # pyright: ignore[reportAttributeAccessIssue]


def east(media: Tensor, prompts: object) -> Tensor:
    return media[:, 0]
