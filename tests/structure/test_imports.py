"""`import scoreward` is quick and pulls in nothing that only some users need."""

import importlib
import json
import subprocess
import sys
import tomllib
from functools import cache
from pkgutil import walk_packages

import scoreward
from scoreward import __version__
from tests.structure.source import ROOT

HEAVY = {"accelerate", "diffusers", "jinja2", "matplotlib", "pandas", "peft", "PIL", "scipy"}
HEAVY |= {"transformers", "tyro"}
PROBE = """
import json, sys, time
import torch
before, start = set(sys.modules), time.perf_counter()
import scoreward
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "modules": sorted(set(sys.modules) - before)}))
"""
MODULES = [module.name for module in walk_packages(scoreward.__path__, "scoreward.")]


def test_every_module_imports_with_shape_checks_on() -> None:
    for name in MODULES:
        importlib.import_module(name)


@cache
def probe(run: int) -> dict:
    """What `import scoreward` adds to `import torch`, in a fresh interpreter."""
    command = [sys.executable, "-c", PROBE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_import_leaves_heavy_packages_alone() -> None:
    assert not HEAVY & {module.split(".")[0] for module in probe(0)["modules"]}


def test_import_takes_less_than_half_a_second_beyond_torch() -> None:
    """The quickest of three: the first one compiles, and other processes share the cores."""
    assert min(probe(run)["seconds"] for run in range(3)) < 0.5


def test_the_version_is_written_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert __version__ == project["version"]
