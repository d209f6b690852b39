"""Guidance leads away from a prompt's negative prompt, as in each upstream pipeline."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scoreward.core.denoiser import Guided
from scoreward.core.rows import join
from scoreward.data.prompts import Prompt
from scoreward.models.diffusers import load
from scoreward.models.diffusers.text import Text
from scoreward.tasks.base import Goal
from tests.families import tiny, upstream
from tests.families.test_upstream import GUIDED, STEPS, both, ours
from tests.support.matrix import mostly_long

AWAY = ["grey fog", "an old dog on a hill"]


def told() -> list[str]:
    return [Prompt(p, {"negative_prompt": n}) for p, n in zip(upstream.PROMPTS, AWAY, strict=True)]


TAKING = [n for n in GUIDED if n != "flux2_klein"]  # whose pipeline takes no negative prompt


@pytest.mark.parametrize("name", mostly_long(TAKING, [n for n in tiny.FEW if n in TAKING]))
def test_the_same_pictures_with_negative_prompts(
    name: str, saved: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe, model = both(name, saved(name))
    z, usual = upstream.noise(model.shape), upstream.guidance

    def away(name: str, scale: float) -> dict[str, Any]:
        return usual(name, scale) | {"negative_prompt": AWAY}

    monkeypatch.setattr(upstream, "guidance", away)
    theirs = upstream.drawn(name, pipe, z, STEPS, 3.0, tmp_path)
    guide = Guided(model.denoiser, 3.0, model.null)
    guided = ours(model, guide, z, told(), STEPS)
    assert (guided - theirs).abs().max() < 3e-4
    assert (guided - ours(model, guide, z, upstream.PROMPTS, STEPS)).abs().max() > 1e-3


def test_prompts_without_one_are_led_away_from_nothing(saved: Callable[[str], Path]) -> None:
    """Beside prompts that have one; and the words themselves do not change."""
    model = load(saved("sd3"), tiny.loading("sd3"))
    first, second = told()
    mixed = model.encode([first, str(second), second])
    plain = model.encode([str(first), str(second), str(second)])
    assert isinstance(mixed, Text)
    assert isinstance(plain, Text)
    assert torch.equal(mixed.states, plain.states)
    away, nothing = model.null(mixed), model.null(plain)
    assert isinstance(away, Text)
    assert isinstance(nothing, Text)
    assert torch.equal(away.states[1], nothing.states[1])
    assert not torch.equal(away.states[0], nothing.states[0])
    said = model.encode(AWAY)
    assert isinstance(said, Text)
    assert torch.equal(away.states[[0, 2]], said.states)
    assert len(join([mixed, away])) == 6


@pytest.mark.parametrize("guided", [True, False])
def test_a_file_with_negative_prompts_is_for_models_with_guidance(
    tmp_path: Path, guided: bool
) -> None:
    file = tmp_path / "prompts.jsonl"
    row = '{"prompt": "a cat %d", "negative_prompt": "fog"}\n'
    file.write_text("".join(row % i for i in range(20)) + '{"prompt": "a dog"}\n')
    goal = Goal(str(file))
    if guided:
        found = goal.read(True)
        assert len(found.train) + len(found.held_out) == 21
        return
    with pytest.raises(
        ValueError, match=r"20 prompts of .* have a negative_prompt, such as 'a cat"
    ):
        goal.read()
    file.write_text('{"prompt": "a cat", "negative_prompt": 3}\n{"prompt": "a dog"}\n')
    with pytest.raises(
        ValueError, match=r"negative_prompt of the prompt 'a cat' .* is 3; expected"
    ):
        goal.read(True)
