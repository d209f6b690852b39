"""Methods of the portraits, moved to emoji: settings, one training run of each kind, sampling."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from scoreward.cli import main
from scoreward.commands.train import build
from scoreward.data import emoji as data
from scoreward.recipes import recipe
from scoreward.rewards.emoji import EmojiMatch
from scoreward.rewards.rules import Variety
from scoreward.tasks.emoji import nearest_picture
from scoreward.training.run import Run
from scoreward.training.sources.online import Online
from tests.support.matrix import long
from tests.support.recipes import MOVED

OURS = sorted(name for name in MOVED if name.startswith("emoji_"))


def online(run: Run) -> Online:
    assert isinstance(run.source, Online)
    return run.source


@pytest.mark.parametrize("name", OURS)
def test_a_method_has_the_settings_that_it_has_on_the_portraits(name: str) -> None:
    assert recipe(name).settings == recipe(name.replace("emoji", "portraits")).settings


def test_methods_that_differentiate_their_reward_are_here() -> None:
    wanted = {"vgrpo", "diffusion_nft", "mixgrpo", "draft", "refl", "align_prop", "swift_direct"}
    assert {f"emoji_{method}" for method in wanted} <= set(OURS)


def test_the_reward_is_the_image_text_model_and_other_rewards_stay() -> None:
    run, _ = build("emoji_draft", [], "test")
    source = online(run)
    assert (run.name, run.model.shape) == ("emoji_draft", (3, 32, 32))
    assert {n: type(r) for n, r in source.rewards.items()} == {"match": EmojiMatch}
    assert set(source.prompts) == set(data.captions("train"))
    assert run.evaluation is not None
    assert set(run.evaluation.prompts) == set(data.captions("test"))
    assert len(run.evaluation.prompts) == 256
    source = online(build("emoji_swift", ["--variety", "0.7"], "test")[0])
    assert {n: type(r) for n, r in source.rewards.items()} == {
        "match": EmojiMatch,
        "variety": Variety,
    }
    assert source.weights == {"variety": 0.7}


def test_a_drawn_picture_is_at_distance_0_of_the_drawn_ones() -> None:
    media = (data.load("train", ["fluent"]).images[:2] + 1) / 2
    assert float(nearest_picture(media, ["a", "b"]).max()) < 0.1
    assert float(nearest_picture(torch.rand(2, 3, 32, 32), ["a", "b"]).min()) > 5


@pytest.mark.slow
@pytest.mark.parametrize("method", [long("vgrpo"), "draft"])
def test_a_run_is_trained_judged_reported_and_sampled(method: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    folder = tmp_path / "run"
    few = ["--budget.rounds", "1", "--held-out.every", "1", "--sampling.steps", "4"]
    few += ["--geometry.prompts", "2", "--geometry.group", "2", "--held-out.prompts", "4"]
    few += ["--held-out.steps", "2"]
    assert main(["train", f"emoji_{method}", *few, "--folder", str(folder)]) == 0
    summary = json.loads((folder / "summary.json").read_text())
    names = {"reward", "judge", "strict", "likeness", "diversity", "nearest", "drift"}
    assert names <= set(summary["after"]["ode"])
    assert summary["after"]["ode"]["drift"] > 0
    assert (folder / "report.html").exists()
    if method == "draft":
        return
    small = ["--held-out.prompts", "4", "--held-out.steps", "2"]
    assert main(["evaluate", "--run", str(folder), *small]) == 0
    out = tmp_path / "panda.png"
    words = ["panda", "--run", str(folder), "--count", "2", "--scale", "2", "--out", str(out)]
    assert main(["sample", *words, "--sampling.steps", "2"]) == 0
    assert Image.open(out).size == (8 * 64, 64)
