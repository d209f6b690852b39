"""The public face: its names, that each is found, and that each has an example that runs."""

import ast
import doctest
import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
import torch
import tyro

import scoreward as sw
from tests.structure.source import text

NAMES = [
    "Advantages",
    "Budget",
    "CheckpointError",
    "Denoiser",
    "DiffusionPolicy",
    "Diverged",
    "Drawn",
    "Evaluation",
    "Gaussian",
    "Geometry",
    "Goal",
    "Guards",
    "HeldOut",
    "Keeping",
    "Kernel",
    "Key",
    "Method",
    "Model",
    "Moment",
    "Needs",
    "Noisy",
    "Objective",
    "Offline",
    "Online",
    "Optimizer",
    "Policy",
    "Prediction",
    "Process",
    "Recipe",
    "RectifiedFlow",
    "Reward",
    "RewardError",
    "Run",
    "RunFolderError",
    "Sampler",
    "Samples",
    "Sampling",
    "Source",
    "Task",
    "Trainer",
    "Transitions",
    "draw",
    "load",
    "methods",
    "recipe",
    "resumed",
    "reward",
    "tasks",
    "time_grid",
]
MODULES = sorted({*sw.PUBLIC.values(), *sw.LISTS})
TAG = re.compile(r"  \[[\w+-]+\] \([^)]*\)$")  # of a paper and an equation, behind the sentence


def path(name: str) -> str:
    """The file that a public name is written in."""
    place = f"{name}.__init__" if name in sw.LISTS else sw.PUBLIC[name]
    return f"scoreward/{place.replace('.', '/')}.py"


def documentation(name: str) -> str:
    """A docstring as it is written: a type alias has its own behind it, not in `__doc__`."""
    tree = ast.parse(text(path(name)) or "")
    if name in sw.LISTS:
        return ast.get_docstring(tree) or ""
    for node, after in zip(tree.body, [*tree.body[1:], None]):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return ast.get_docstring(node) or ""
        assigned = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name
        if assigned and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            return inspect.cleandoc(str(after.value.value))
    return ""


def sentence(name: str) -> str:
    """What a docstring begins with: up to an empty line, in one line, without the tag."""
    return TAG.sub("", " ".join(documentation(name).split("\n\n")[0].split("\n")))


def is_sentence(said: str) -> bool:
    """Of five words or more, from a capital to a full stop."""
    whole = said[:1].isupper() and said.endswith(".") and ">>>" not in said
    return whole and len(said.split()) >= 5


def faults(name: str, said: str) -> list[str]:
    """What the examples of a docstring print that they do not say."""
    found: list[str] = []
    test = doctest.DocTestParser().get_doctest(said, {}, name, path(name), 0)
    doctest.DocTestRunner(verbose=False).run(test, out=found.append)
    return found


def settings() -> Iterator[type]:
    """Public dataclasses whose docstrings are on the command line's help."""
    for method in ("vgrpo", "flow_grpo"):
        for setting in sw.recipe(method, on="toy").settings.values():
            values = [setting.default]
            if setting.flat:
                values += [getattr(setting.default, f.name) for f in fields(setting.default)]
            yield from (type(value) for value in values if type(value).__name__ in NAMES)


def test_the_public_names_are_these() -> None:
    assert sorted([*sw.PUBLIC, *sw.LISTS]) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_name_stays_what_it_is_when_modules_have_been_imported(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(vars(sw), name, raising=False)  # as if no module had been imported yet
    first = getattr(sw, name)
    monkeypatch.undo()
    loaded = {module: import_module(f"scoreward.{module}") for module in MODULES}
    written = loaded[name] if name in sw.LISTS else getattr(loaded[sw.PUBLIC[name]], name)
    assert first is getattr(sw, name) is written


def test_no_name_is_that_of_a_module_which_would_hide_it() -> None:
    assert not {module.name for module in iter_modules(sw.__path__)} & set(sw.PUBLIC)


def test_names_are_listed() -> None:
    assert set(NAMES) <= set(dir(sw))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'scoreward' has no attribute 'recipee'"):
        _ = sw.recipee


def test_editors_see_the_names_that_there_are() -> None:
    """The imports for type checkers and the table say the same."""
    imported = {
        name.asname: f"{node.module}.{name.name}"
        for node in ast.walk(ast.parse(text("scoreward/__init__.py") or ""))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("scoreward.")
        for name in node.names
    }
    assert imported == {name: f"scoreward.{at}.{name}" for name, at in sw.PUBLIC.items()}


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_a_name_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an empty folder, for some of them train."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    said = documentation(name)
    assert ">>> " in said
    assert not faults(name, said)


def test_an_example_that_prints_something_else_is_a_fault() -> None:
    assert not faults("recipe", ">>> 1 + 1\n2\n")
    assert faults("recipe", ">>> 1 + 1\n3\n")
    assert faults("recipe", ">>> sw\n")  # nothing is there that an example has not imported


def test_the_docstring_of_a_dataclass_begins_with_a_sentence() -> None:
    said = {name: sentence(name) for name in NAMES if is_dataclass(getattr(sw, name))}
    assert len(said) > 20
    assert not is_sentence("Solver, number of steps.")
    assert not is_sentence("α = 1 − t, with σ = t.")
    assert not {name: each for name, each in said.items() if not is_sentence(each)}


def test_help_of_settings_leaves_their_examples_out(capsys: pytest.CaptureFixture) -> None:
    """Docstrings of settings stand on the command line, which takes no Python."""
    for made in sorted(set(settings()), key=lambda made: made.__name__):
        with pytest.raises(SystemExit):
            tyro.cli(made, args=["--help"])
        shown = capsys.readouterr().out
        assert sentence(made.__name__).split()[0] in shown
        assert ">>>" not in shown, made.__name__
