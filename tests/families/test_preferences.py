"""Preference recipes on tiny pipelines: adapters train, the reference is the model without them."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import config
from PIL import Image

from scoreward.commands.train import build
from scoreward.core.policy import DiffusionPolicy
from scoreward.data.preferences.files import write
from scoreward.data.preferences.records import ImagePair
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer
from tests.families import tiny

RECIPES = {"sd15_diffusion_dpo": "sd15", "sdxl_diffusion_dpo": "sdxl", "sd35_flow_dpo": "sd3"}


def pairs(count: int = 5) -> list[ImagePair]:
    pixels = np.random.default_rng(0).integers(0, 256, (2 * count, 40, 56, 3), dtype=np.uint8)
    images = [Image.fromarray(p) for p in pixels]
    return [ImagePair(f"an owl {i}", images[2 * i], images[2 * i + 1]) for i in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_on_a_file_of_pictures(
    recipe: str, saved: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two rounds; the first has equal networks, so its loss is log 2.

    Micro-batches are not the batches of the reference, so errors of about 1 differ by rounding,
    1e-7, and the loss by β/4 times that.
    """
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path / "datasets")
    file, name = tmp_path / "mine.parquet", RECIPES[recipe]
    write(file, pairs())
    size = [w for k, v in tiny.size_of(name).items() for w in (f"--loading.{k}", str(v))]
    words = [
        *("--pairs", str(file), "--model", str(saved(name)), *size),
        *("--loading.dtype", "float32", "--loading.rank", "2", "--loading.tokens", "32"),
        *("--task.reward", "colorfulness", "--geometry.prompts", "3", "--optimizer.lr", "0.01"),
        *("--geometry.micro-batch", "2", "--optimizer.warmup", "0"),
    ]
    run, _ = build(recipe, words, "test")
    assert run.name == recipe
    trainer = Trainer(run.model, run.objective, run.source, run.optimizer, Team())
    first, second = (trainer.step().metrics for _ in range(2))
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert abs(second["loss"] - math.log(2)) > 2 * abs(first["loss"] - math.log(2))
    assert first["gradient/norm"] > 0
    assert run.evaluation is not None
    probe = run.evaluation.probes["pairs"]
    said = probe(trainer.reading("ema"), trainer.reading("reference"), run.model, Team())
    assert said["winner_ratio"] != 1.0
    same = probe(trainer.reading("reference"), trainer.reading("reference"), run.model, Team())
    assert same["accuracy"] == 0.5
    policy: DiffusionPolicy = trainer.work(2)[0].policy
    assert policy.kind == ("velocity" if name == "sd3" else "eps")
    assert torch.isfinite(torch.tensor(list(said.values()))).all()
