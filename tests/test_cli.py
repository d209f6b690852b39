"""The command line: what it says, what it refuses, and that refusing writes nothing."""

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from scoreward.cli import COMMANDS
from scoreward.recipes import recipe
from scoreward.records.reading import read_run
from scoreward.training.folder import RunFolder
from scoreward.verdict.decisions import ends
from scoreward.verdict.outcome import headline
from tests.golden.load import golden
from tests.golden.options import agreed, fields_of
from tests.support.command_line import Cli, calling
from tests.systems.launch import command

SMALL = ["--geometry.prompts", "2", "--geometry.group", "4", "--budget.rounds", "2"]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Cli:
    """Run a command line in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return calling(capsys)


def files(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def refusal(cli: Cli, *words: str) -> str:
    """The one sentence of a refused command, which must leave the folder as it was."""
    before = files(Path.cwd())
    code, _, error = cli(*words)
    assert code != 0
    assert files(Path.cwd()) == before
    (line,) = error.strip().splitlines()
    assert line.startswith("scoreward: ")
    return line.removeprefix("scoreward: ")


def refused_option(cli: Cli, *words: str) -> str:
    """What the option parser says, in one line of text without its frame."""
    before = files(Path.cwd())
    code, out, error = cli(*words)
    assert code != 0
    assert files(Path.cwd()) == before
    assert "Traceback" not in out + error
    return re.sub(r"[\s│╭╮╰╯─]+", " ", out + error)


# What it says


def test_without_arguments_it_lists_its_commands(cli: Cli) -> None:
    for words in ([], ["--help"], ["help"]):
        code, out, _ = cli(*words)
        assert code == 0
        assert "usage: scoreward COMMAND [options]" in out
        listed = re.findall(r"^  ([\w-]+) +\w", out, re.MULTILINE)
        assert listed == list(COMMANDS)
    assert {"demo", "train", "sample", "evaluate", "report", "resume", "equations"} <= set(listed)


def test_it_knows_its_version(cli: Cli) -> None:
    code, out, _ = cli("--version")
    assert code == 0
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", out)


def test_the_help_of_a_recipe_explains_every_setting(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = cli("train", "toy_vgrpo", "--help")
    text = re.sub(r"[\s│]+", " ", out)
    assert code == 0
    assert "usage: scoreward train toy_vgrpo [-h] [OPTIONS]" in text
    assert "V-GRPO: clipped ratios of denoising errors" in text
    assert "--folder {None}|PATH run folder; default runs/TASK_METHOD" in text
    assert "--sampling.eta FLOAT 0 is the ODE, 1 the reverse SDE" in text
    assert "--budget.seconds {None}|FLOAT of training, evaluations not counted" in text
    assert (
        "--geometry.micro-batch INT rows (samples or transitions) per backward pass; memory only"
        in text
    )
    assert "--seed INT of everything random in training (default: 0)" in text


def options(cli: Cli, *words: str) -> list[str]:
    code, out, _ = cli(*words, "--help")
    assert code == 0
    return sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z0-9.-]*[a-z0-9]", out)) - {"--help"})


def test_the_settings_of_every_pair_are_the_agreed_ones() -> None:
    """A new setting becomes an option; if it is meant to, run python -m tests.golden.options."""
    assert agreed() == {name: golden("options")[name] for name in ("classes", "pairs")}


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"train", "pretrain"}))
def test_the_options_of_a_command_are_the_agreed_ones(cli: Cli, command: str) -> None:
    assert " ".join(options(cli, command)) == golden("options")["commands"][command]


@pytest.mark.parametrize("pair", ["vgrpo", "mixgrpo --on sd35", "simpo --on smollm"])
def test_settings_become_options(cli: Cli, pair: str) -> None:
    shown = options(cli, "train", *pair.split())
    for name, setting in recipe(
        pair.split()[0], on=pair.split()[-1] if "--on" in pair else None
    ).settings.items():
        head = "" if setting.flat else f"{name.replace('_', '-')}."
        inner = fields_of(setting)
        wanted = [f"--{head}{one.replace('_', '-')}" for one in inner] or [f"--{head[:-1]}"]
        for option in wanted:
            head, _, last = option.rpartition(".")
            off = f"{head}.no-{last}" if head else f"--no-{last.removeprefix('--')}"
            assert any(o in (option, off) or o.startswith(f"{option}.") for o in shown), option


def test_the_plan_is_told_and_nothing_is_made(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli("train", "toy_vgrpo", "--plan", *SMALL, "--geometry.micro-batch", "3")
    assert code == 0
    assert " ".join(out.split()) == (
        "settings: ours for toy A round is 2 prompts x 4 samples = 8 samples. It is used for 1 "
        "optimiser step(s) of 8 samples: 1 epoch(s) x 1 minibatch(es). 1 process(es) hold 8 "
        "samples, generated 8 at a time and trained 3 at a time; these only set memory, not the "
        "result. trained by 1 x closeness Nothing is held out of 4 prompts: what is measured is "
        "measured on training prompts, and says nothing of others."
    )
    assert not files(tmp_path)


def test_a_run_says_how_it_went_and_where_the_time_did(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli("train", "toy_vgrpo", *SMALL, "--profile", "--seed", "3", "--folder", "mine")
    assert code == 0
    assert "measured on training prompts, round 0  ODE: reward" in out
    assert "measured on training prompts, round 2  ODE: reward" in out
    assert "inside the network:" in out
    assert re.search(r"forward +\d+\.\d s", out)
    assert "since the start, with 95 % intervals:" in out
    saved = read_run(tmp_path / "mine")
    verdict = headline(saved, ends(saved, "ode"))[1]
    assert " ".join(out.split()).endswith(f"{verdict} report: mine/report.html")
    assert "4 prompts, 64 pictures" in verdict
    assert (saved.about.task, saved.about.method) == ("toy", "vgrpo")
    told = json.loads((tmp_path / "mine" / "run.json").read_text())
    assert told["seed"] == told["settings"]["seed"] == 3
    assert told["origin_recipe"] == "toy_vgrpo"
    assert told["command"].startswith("scoreward train toy_vgrpo --geometry.prompts 2")
    assert told["settings"]["source"]["geometry"]["group"] == 4
    share = RunFolder(tmp_path / "mine").records("profile")[-1]["share_in_network"]
    assert f"{share:.1%}" in out
    assert 0 < share < 1


def test_the_folder_of_a_run_is_named_after_its_recipe(cli: Cli, tmp_path: Path) -> None:
    assert cli("train", "toy_vgrpo", *SMALL)[0] == 0
    assert (tmp_path / "runs" / "toy_vgrpo" / "report.html").exists()


# What it refuses


def test_an_unknown_command_is_refused_with_a_suggestion(cli: Cli) -> None:
    said = refusal(cli, "trian")
    assert said.startswith("unknown command 'trian'; did you mean 'train'?; commands are demo,")


def test_an_unknown_recipe_is_refused_with_a_suggestion(cli: Cli) -> None:
    said = refusal(cli, "train", "toy_vgpo")
    assert said.startswith("unknown method 'vgpo'; the nearest are vgrpo, ")
    assert "FILE.py:NAME" in said
    assert "nearest" not in refusal(cli, "train", "zzz")
    assert "the nearest are sd35, " in refusal(cli, "train", "vgrpo", "--on", "sd35m")
    assert refusal(cli, "train", "vgrpo", "--on").startswith("--on needs a name behind it")


def test_train_without_a_recipe_says_how(cli: Cli) -> None:
    usage = "which method? usage: scoreward train METHOD [--on TASK] [options]"
    assert refusal(cli, "train").startswith(usage)
    assert refusal(cli, "train", "--plan").startswith("which method?")


def test_an_unknown_option_is_refused_with_a_suggestion(cli: Cli) -> None:
    said = refused_option(cli, "train", "toy_vgrpo", "--budget.round", "3")
    assert "Unrecognized options: --budget.round" in said
    assert "Perhaps you meant: --budget.rounds" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--sampling.eta", "-1"], "eta must not be negative, got -1.0; 0 is the ODE, 1 the rev"),
        (
            ["--sampling.solver", "heun", "--sampling.eta", "1"],
            "heun is deterministic, so eta must",
        ),
        (["--geometry.prompts", "0"], "`prompts` must be at least 1, got 0"),
        (["--geometry.minibatches", "99"], "99 minibatches cannot be made of 64 samples"),
        (["--budget.rounds", "0"], "`rounds` of a budget must be positive, got 0"),
        (["--budget.rounds", "None"], "a budget needs at least one of `rounds`, `seconds`, `eval"),
        (["--optimizer.lr", "abc"], "--optimizer.lr: could not convert string to float: 'abc'"),
        (["--optimizer.lr", "0"], "`lr` must be positive, got 0.0"),
        (["--objective.pairs", "0"], "`pairs` must be at least 1, got 0"),
    ],
)
def test_a_bad_setting_is_refused_in_a_sentence(cli: Cli, words: list[str], sentence: str) -> None:
    assert sentence in refused_option(cli, "train", "toy_vgrpo", *words)


def test_settings_that_only_together_are_wrong_are_refused(cli: Cli) -> None:
    said = refusal(cli, "train", "toy_vgrpo", "--geometry.group", "1")
    assert said.startswith("a group of 1 has no spread of rewards to learn from; use a group of")


def test_an_unknown_word_is_refused_with_its_neighbours(cli: Cli) -> None:
    said = refusal(cli, "sample", "a happy person with a sombrero")
    assert said.startswith(
        'unknown word "sombrero" in prompt "a happy person with a sombrero"; the'
    )
    assert "nearest known words are" in said


def test_weights_that_are_none_are_refused(cli: Cli, tmp_path: Path) -> None:
    prompt = "a happy person with short blond hair"
    (tmp_path / "bad.safetensors").write_bytes(b"not weights")
    said = refusal(cli, "sample", prompt, "--weights", "bad.safetensors")
    assert "bad.safetensors is not a readable safetensors file" in said
    assert refusal(cli, "sample", prompt, "--weights", "none") == "there is no file none"
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    said = refusal(cli, "sample", prompt, "--weights", "foreign.safetensors")
    assert said.startswith("foreign.safetensors does not hold weights of the built-in model")


def test_a_run_of_another_model_reads_prompts_of_its_own(cli: Cli) -> None:
    assert cli("train", "toy_vgrpo", *SMALL, "--folder", "toy")[0] == 0
    said = refusal(cli, "sample", "a happy person with short blond hair", "--run", "toy")
    assert said.startswith("unknown prompt 'a happy person with short blond hair'; the toy knows")
    assert refusal(cli, "evaluate", "--run", "nowhere").startswith("nowhere is not a run folder")


def test_pictures_are_drawn_for_a_prompt_it_knows(cli: Cli, tmp_path: Path) -> None:
    prompt = "a happy person with short blond hair"
    code, out, _ = cli("sample", prompt, "--count", "2", "--scale", "2", "--sampling.steps", "2")
    assert (code, out) == (0, "2 pictures: samples.png\n")
    assert (tmp_path / "samples.png").read_bytes()[:4] == b"\x89PNG"


def test_a_folder_that_cannot_be_written_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    said = refusal(cli, "train", "toy_vgrpo", "--folder", "file/run")
    assert said.startswith("could not start a run in file/run: Not a directory; free space")


def test_runs_that_exist_are_left_alone(cli: Cli) -> None:
    """A finished one is neither replaced nor resumed; what is no run is not resumed."""
    assert cli("train", "toy_vgrpo", *SMALL, "--folder", "done")[0] == 0
    said = refusal(cli, "train", "toy_vgrpo", *SMALL, "--folder", "done")
    assert said.startswith("done already holds a finished run; choose another folder with --folder")
    said = refusal(cli, "resume", "done")
    assert said == "done holds a finished run; there is nothing to resume"
    assert refusal(cli, "resume", "nothing").startswith(
        "nothing is not a run folder: it has no run"
    )
    assert "nothing does not exist" in refusal(cli, "report", "nothing")
    assert not Path("nothing").exists()


def test_a_demo_replaces_only_demos(cli: Cli) -> None:
    assert cli("train", "toy_vgrpo", *SMALL, "--folder", "mine")[0] == 0
    said = refusal(cli, "demo", "--folder", "mine")
    assert said.startswith(
        "mine holds a run that is not a demo; choose another folder with --folder"
    )


# Recipes of the user's own

RECIPE = '''
from dataclasses import replace
from tests.support.recipes import toy_vgrpo
from scoreward.training.geometry import Geometry
from scoreward.training.run import Budget, Run

def close_to_axis(media, prompts):
    return -media[:, 0].abs()

def run(rounds: int = 3, strength: float = 1.0) -> Run:
    """My own run."""
    base = toy_vgrpo(geometry=Geometry(2, 4), budget=Budget(rounds=rounds))
    reward = lambda media, prompts: strength * close_to_axis(media, prompts)
    return replace(base, name="mine", source=replace(base.source, rewards={"axis": reward}))

def bare(rounds=3):
    return run(rounds)

def nothing() -> Run:
    return 3

def failing() -> Run:
    base, asked = run(), []
    def reward(media, prompts):
        asked.append(len(prompts))
        return media.sum(1) * (1 if len(asked) == 1 else float("nan"))  # not before it has begun
    return replace(base, name="failing", source=replace(base.source, rewards={"axis": reward}))

A_NUMBER = 3
'''


@pytest.fixture
def own(cli: Cli, tmp_path: Path) -> Path:
    path = tmp_path / "my_recipe.py"
    path.write_text(RECIPE)
    return path


@pytest.mark.usefixtures("own")
def test_a_recipe_of_ones_own_works_as_a_built_in_one(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli("train", "my_recipe.py:run", "--help")
    assert code == 0
    assert "My own run." in out
    assert "--strength FLOAT" in out
    code, out, _ = cli("train", "my_recipe.py:run", "--rounds", "2", "--strength", "3.0")
    assert code == 0
    told = json.loads((tmp_path / "runs" / "mine" / "run.json").read_text())
    assert (told["status"], told["origin_recipe"]) == ("finished", "my_recipe.py:run")
    assert told["arguments"] == ["--rounds", "2", "--strength", "3.0"]
    assert RunFolder(tmp_path / "runs" / "mine").records("round")[-1]["round"] == 2


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("my_recipe.py:runn", "'my_recipe.py' has no function 'runn' that could be a recipe"),
        ("my_recipe.py:A_NUMBER", "'my_recipe.py' has no function 'A_NUMBER' that could be a rec"),
        ("my_recipe.py:bare", "setting 'rounds' of the recipe has no type, so it cannot become an"),
        ("my_recipe.py:nothing", "the recipe returned a int; it must return a Run"),
        ("other.py:run", "there is no file 'other.py'; a recipe is written FILE.py:FUNCTION"),
        ("my_recipe.py", "unknown method 'my_recipe.py'"),
    ],
)
def test_a_file_without_that_recipe_is_refused(cli: Cli, name: str, sentence: str) -> None:
    assert refusal(cli, "train", name).startswith(sentence)


def test_a_file_that_is_not_python_is_refused(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    said = refusal(cli, "train", "notes.txt:run")
    assert said == "'notes.txt' is not a Python file; a recipe is written FILE.py:FUNCTION"


@pytest.mark.usefixtures("own")
def test_a_failing_reward_ends_the_command_with_its_sentence(cli: Cli, tmp_path: Path) -> None:
    code, _, error = cli("train", "my_recipe.py:failing")
    assert code == 2
    assert error.startswith("scoreward: reward 'axis' returned nan for prompt '")
    assert len(error.strip().splitlines()) == 1
    told = json.loads((tmp_path / "runs" / "failing" / "run.json").read_text())
    assert (told["status"], f"scoreward: {told['reason']}\n") == ("failed", error)


@pytest.mark.usefixtures("own")
def test_a_damaged_checkpoint_is_refused_and_nothing_is_lost(cli: Cli, tmp_path: Path) -> None:
    cli("train", "my_recipe.py:failing")
    weights = tmp_path / "runs" / "failing" / "checkpoints" / "000000" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])
    said = refusal(cli, "resume", "runs/failing")
    assert said.startswith(f"{weights.relative_to(tmp_path)} is not a readable safetensors file")
    assert said.endswith("; delete runs/failing/checkpoints/000000 to resume from the one before")


def test_a_run_started_from_python_is_resumed_there(cli: Cli, tmp_path: Path) -> None:
    RunFolder(tmp_path / "mine").create({"status": "running"})
    said = refusal(cli, "resume", "mine")
    assert said == (
        "mine was started from Python, and no command line can say which method and task it is; "
        "resume it there with run.resume()"
    )


@pytest.mark.slow
def test_a_refusal_is_an_exit_code_for_the_shell(tmp_path: Path) -> None:
    code, said = command(["train", "toy_vgpo"], tmp_path)
    assert code == 2
    assert said.startswith("scoreward: unknown method 'vgpo'; the nearest are vgrpo, ")
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())
