"""Every recipe and every command that draws, on a device that is not the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.structure.source import ROOT
from tests.support import fake_device
from tests.support.recipes import BUILT_IN
from tests.systems.on_device import EVERY, PRETRAINED_NAMES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(fake_device.compiler() is None, reason="no C++ compiler for the device"),
]


def on_device(module: str, *words: str) -> list[dict[str, str]]:
    """The lines of JSON that a process of its own says: a device is named once in a process."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.systems.{module}", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


OURS = tuple(name for name in BUILT_IN if name not in PRETRAINED_NAMES)
HALVES = {"float32": OURS, "float64": tuple(name for name in EVERY if name not in OURS)}
"""What a device without float64 (MPS) tries, and what one with it does (CUDA).

diffusers asks for float64 wherever the device is not called MPS.
"""


FEW = ("portraits_vgrpo", "portraits_flow_grpo", "tiny_llama_dpo", "digits_compressed_vgrpo")


def test_some_recipes_train_are_measured_and_resumed(tmp_path: Path) -> None:
    said = on_device("on_device", "float32", str(tmp_path), *FEW)
    assert [one["recipe"] for one in said] == list(FEW)
    assert not {one["recipe"]: one["error"] for one in said if one["error"]}


@pytest.mark.long
@pytest.mark.parametrize("wide", HALVES)
def test_every_recipe_trains_is_measured_and_resumed(wide: str, tmp_path: Path) -> None:
    said = on_device("on_device", wide, str(tmp_path), *HALVES[wide])
    assert [one["recipe"] for one in said] == list(HALVES[wide])
    assert not {one["recipe"]: one["error"] for one in said if one["error"]}


@pytest.mark.long
def test_every_command_that_draws_does_so_there(tmp_path: Path) -> None:
    said = on_device("on_device_commands", "commands", "float32", str(tmp_path))
    drawing = {"train", "resume", "pretrain", "sample", "evaluate", "gap", "diagnose", "export"}
    assert {one["command"] for one in said} >= drawing | {"curate", "plan", "serve-reward"}
    assert not {one["command"]: one["error"] for one in said if one["error"]}


@pytest.mark.long
def test_a_rollout_waits_for_the_device_as_often_whatever_its_steps(tmp_path: Path) -> None:
    """A chain never; a round for its rewards; a clock once a round, when it is read."""
    said = on_device("on_device_commands", "waits", "float64", str(tmp_path))
    asked = {one["sampler"] for one in said}
    assert asked >= {"ode", "sde", "heun", "dpm", "flow_sde", "clock", "sdxl_ddpo", "kontext_vgrpo"}
    assert not [one for one in said if one["few"] != one["many"]]
    assert not [one for one in said if one["few"] and one["sampler"] in ("ode", "sde", "heun")]


def test_what_a_card_refuses_is_refused(tmp_path: Path) -> None:
    """Else the tests above would show nothing."""
    said = on_device("on_device_commands", "refusals", "float32", str(tmp_path))
    assert len(said) == 7
    assert not [one["mixed"] for one in said if not one["error"]]
