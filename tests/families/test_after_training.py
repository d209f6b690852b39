"""Commands that look at a run afterwards ask its network in the precision it was trained in."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from scoreward import cli
from scoreward.core.denoiser import InPrecision
from scoreward.core.keys import Key
from scoreward.models.diffusers import load
from tests.families import tiny
from tests.support.matrix import mostly_long

KINDS = [("lora", "bf16"), ("lora", "fp16"), ("no-lora", "bf16")]
PROMPTS = "a red cat\na blue dog\na green bird\na white cow\n"


@pytest.fixture
def trained(
    saved: Callable[[str], Path], tmp_path: Path, request: pytest.FixtureRequest
) -> tuple[Path, str]:
    """A round of a tiny video model, and what it computed in."""
    weights, dtype = request.param
    (tmp_path / "prompts.txt").write_text(PROMPTS)
    size = [w for k, v in tiny.size_of("wan21").items() for w in (f"--loading.{k}", str(v))]
    words = [
        *("train", "wan_vgrpo", "--model", str(saved("wan21")), *size, "--device", "cpu"),
        *("--loading.dtype", dtype, f"--loading.{weights}", "--loading.tokens", "32"),
        *("--task.reward", "contrast", "--task.prompts", str(tmp_path / "prompts.txt")),
        *("--geometry.prompts", "2", "--geometry.group", "2", "--geometry.minibatches", "1"),
        *("--measured.steps", "2", "--measured.prompts", "2", "--sampling.steps", "4"),
        *("--task.share", "0.5", "--budget.rounds", "1", "--folder", str(tmp_path / "run")),
    ]
    assert cli.main(words) == 0
    return tmp_path / "run", dtype


@pytest.mark.parametrize("trained", mostly_long(KINDS, [("lora", "bf16")]), indirect=True)
def test_a_run_is_looked_at_in_its_own_precision(
    trained: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Adapters in float32 on a base in bf16 are no network without autocast."""
    folder, dtype = trained
    wanted = {"bf16": torch.bfloat16, "fp16": torch.float16}[dtype]
    asked, ask = [], InPrecision.__call__

    def noted(self: InPrecision, *given: object) -> object:
        asked.append(self.dtype)
        return ask(self, *given)  # pyright: ignore

    monkeypatch.setattr(InPrecision, "__call__", noted)
    few = ["--etas", "1", "--steps", "1", "--converged", "2", "--prompts", "2", "--noises", "1"]
    assert cli.main(["gap", str(folder), *few]) == 0
    assert set(asked) == {wanted}
    lines = [json.loads(line) for line in (folder / "gap.jsonl").read_text().splitlines()]
    assert {line["round"] for line in lines} == {0, 1}
    asked.clear()
    run = ["--run", str(folder), "--device", "cpu"]
    picture = ["--sampling.steps", "1", "--count", "1", "--out", str(folder / "drawn.png")]
    assert cli.main(["sample", "a red cat", *run, *picture]) in (0, 2)
    assert set(asked) == {wanted}


def test_linear_attention_is_exact_under_autocast(saved: Callable[[str], Path]) -> None:
    """In fp16 its sums overflow and the floor under its division is 0."""
    answers = []
    for dtype, precision in (("fp16", torch.float16), ("float32", None)):
        model = load(saved("sana"), tiny.loading("sana", dtype=dtype, cache=False))
        x = Key(("x",)).normal(2, *model.shape).float()
        cond = model.encode(["a cat", "a red dog"])
        with torch.no_grad():
            ask = InPrecision(model.denoiser, precision)
            answers.append(ask(x, torch.tensor([0.9, 0.4]), cond).x0)
    half, full = answers
    assert (half - full).abs().max() < 0.02 * full.abs().max()
