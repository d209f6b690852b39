"""Recipes on pairs: every one trains, from own pairs or from pictures of a file."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from datasets import config
from PIL import Image

from scoreward.commands.train import build
from scoreward.data import portraits
from scoreward.data.preferences.files import write
from scoreward.data.preferences.records import ImagePair
from scoreward.methods.stored import Making, Paired
from scoreward.models.builtin import portraits as builtin
from scoreward.tasks.pairs import from_file, in_space, own_pairs
from scoreward.tasks.portraits import PORTRAITS
from scoreward.training.sources.pairs import HeldOutPairs, Preferences
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer
from tests.support.matrix import mostly_long
from tests.support.recipes import ON_PAIRS

FEW = ("diffusion_dpo", "diffusion_kto", "pnapo", "curriculum_dpo")
TINY = ["--making.prompts", "10", "--making.group", "3", "--making.held-out", "4"]
SMALL = ["--geometry.prompts", "3"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOREWARD_CACHE", str(tmp_path_factory.getbasetemp() / "pairs cache"))
    monkeypatch.setattr(config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets"))


def portrait_pairs(count: int = 6, size: tuple[int, int] = (16, 16)) -> list[ImagePair]:
    """Data against its neighbour; every other one has scores."""
    data = portraits.load("train")
    pixels = ((data.images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    images = [
        Image.fromarray(p).resize(size, Image.Resampling.NEAREST) for p in pixels[: 2 * count]
    ]
    return [
        ImagePair(data.captions[2 * i], images[2 * i], images[2 * i + 1], 0.5 + i, 0.25)
        for i in range(count)
    ]


def trained(recipe: str, words: Sequence[str], rounds: int = 2) -> Trainer:
    run, _ = build(recipe, list(words), "test")
    trainer = Trainer(run.model, run.objective, run.source, run.optimizer, Team())
    before = {n: p.detach().clone() for n, p in trainer.weights.parameters.items()}
    for _ in range(rounds):
        metrics = trainer.step().metrics
        assert all(math.isfinite(v) for v in metrics.values())
        assert metrics["gradient/norm"] > 0
    moved = [not torch.equal(p, before[n]) for n, p in trainer.weights.parameters.items()]
    assert sum(moved) > 0.9 * len(moved)
    return trainer


@pytest.mark.slow
@pytest.mark.parametrize("method", mostly_long(ON_PAIRS, FEW))
def test_a_recipe_makes_its_pairs_and_trains_on_them(method: str) -> None:
    torch.set_num_threads(1)
    trainer = trained(f"portraits_{method}", [*TINY, *SMALL])
    assert isinstance(trainer.source, Preferences)
    train = set(portraits.load("train").captions)
    assert set(trainer.source.data.prompts) <= train


def test_held_out_pairs_are_of_other_prompts() -> None:
    run, _ = build("portraits_diffusion_dpo", [*TINY, *SMALL], "test")
    assert run.evaluation is not None
    probe = run.evaluation.probes["pairs"]
    assert isinstance(probe, HeldOutPairs)
    assert isinstance(run.source, Preferences)
    assert set(probe.data.prompts) <= set(portraits.load("test").captions)
    assert set(probe.data.prompts).isdisjoint(portraits.load("train").captions)
    tuned, _ = build(
        "portraits_diffusion_dpo", [*TINY, *SMALL, "--held-out.split", "validation"], "test"
    )
    assert tuned.evaluation is not None
    other = tuned.evaluation.probes["pairs"]
    assert isinstance(other, HeldOutPairs)
    assert set(other.data.prompts) <= set(portraits.load("validation").captions)


def test_own_pairs_are_the_same_from_the_disk() -> None:
    model, making = builtin.portraits(), Making(prompts=10, group=3, held_out=4)
    asked = portraits.load("train").captions, portraits.load("test").captions
    reward, judged = PORTRAITS.reward(False)["attributes"], "a judge"
    once, again = (own_pairs(making, model, asked, reward, judged) for _ in range(2))
    rows = range(len(once.train))
    assert torch.equal(once.train.winner[rows], again.train.winner[rows])
    assert list(once.held_out.prompts) == list(again.held_out.prompts)


def test_a_recipe_trains_on_the_pictures_of_a_file(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    pairs = portrait_pairs()
    write(tmp_path / "mine.parquet", pairs)
    words = ["--pairs", str(tmp_path / "mine.parquet"), *SMALL]
    trainer = trained("portraits_diffusion_dpo", words, rounds=1)
    assert isinstance(trainer.source, Preferences)
    data = trainer.source.data
    places = [[p.prompt for p in pairs].index(prompt) for prompt in data.prompts]
    images = portraits.load("train").images
    everything = range(len(data))
    winners, losers = data.winner[everything], data.loser[everything]
    torch.testing.assert_close(winners, images[[2 * i for i in places]], rtol=0, atol=0.005)
    torch.testing.assert_close(losers, images[[2 * i + 1 for i in places]], rtol=0, atol=0.005)
    assert data.gap is not None
    assert data.gap.tolist() == [0.25 + i for i in places]


def test_a_share_of_the_prompts_of_a_file_is_held_out(tmp_path: Path) -> None:
    write(tmp_path / "many.parquet", portrait_pairs(60))
    paired = Paired(tmp_path / "many.parquet", pairs_share=0.3)
    found = from_file(paired, builtin.portraits())
    assert set(found.train.prompts).isdisjoint(found.held_out.prompts)
    assert len(found.train) + len(found.held_out) == 60
    assert 5 < len(found.held_out) < 35
    assert found.facts["used"] == 60
    assert found.facts["held_out"] == len(found.held_out)


def test_pictures_of_another_size_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="has 32 x 24 pixels and this model draws 16 x 16"):
        in_space(portrait_pairs(2, (32, 24)), builtin.portraits())
    one = portrait_pairs(2)
    bare = [one[0], ImagePair(one[1].prompt, one[1].winner, one[1].loser)]
    assert in_space(bare, builtin.portraits()).gap is None
