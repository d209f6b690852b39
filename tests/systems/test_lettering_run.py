"""Methods of the portraits, moved to lettering: one round on the command line, and a report."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from scoreward.cli import main
from scoreward.commands.train import build
from scoreward.recipes import recipe
from scoreward.report.run.samples import cut
from scoreward.rewards.ocr import Confidence, Legible
from scoreward.rewards.rules import Variety
from scoreward.tasks.lettering import nearest_picture
from scoreward.training.run import Run
from scoreward.training.sources.online import Online
from tests.support.recipes import MOVED

TINY = ["--geometry.prompts", "2", "--geometry.group", "4", "--held-out.prompts", "8"]


def rewards(run: Run) -> dict[str, object]:
    assert isinstance(run.source, Online)
    return dict(run.source.rewards)


@pytest.mark.parametrize("name", sorted(n for n in MOVED if n.startswith("lettering_")))
def test_a_method_has_the_settings_that_it_has_on_the_portraits(name: str) -> None:
    assert recipe(name).settings == recipe(name.replace("lettering", "portraits")).settings
    assert recipe(name).source == "settings: as chosen on the portraits"


def test_the_reward_is_what_an_ocr_reads_and_other_rewards_stay() -> None:
    run, _ = build("lettering_vgrpo", [], "test")
    assert (run.name, run.model.shape) == ("lettering_vgrpo", (1, 32, 64))
    assert {n: type(r) for n, r in rewards(run).items()} == {"legible": Legible}
    run, _ = build("lettering_swift", ["--variety", "0.7"], "test")
    assert {n: type(r) for n, r in rewards(run).items()} == {"legible": Legible, "variety": Variety}
    assert isinstance(run.source, Online)
    assert run.source.weights == {"variety": 0.7}
    run, _ = build("lettering_fdfo", ["--geometry.prompts", "3", "--geometry.group", "2"], "test")
    assert {n: type(r) for n, r in rewards(run).items()} == {"confidence": Confidence}


def test_a_method_that_differentiates_its_reward_is_refused() -> None:
    with pytest.raises(ValueError, match="differentiates its reward, and the OCR of lettering"):
        recipe("refl", on="lettering").run()
    with pytest.raises(ValueError, match="lettering has no gradient; choose another method"):
        build("lettering_refl", [], "test")


def test_a_drawn_picture_is_at_distance_0_of_the_drawn_ones() -> None:
    from scoreward.data import lettering as data

    images = data.load("train", 2).images[:2]
    media = (images / 2 + 0.5).expand(-1, 3, -1, -1)
    assert float(nearest_picture(media, ["a", "b"]).max()) < 0.1
    assert float(nearest_picture(torch.rand(2, 3, 32, 64), ["a", "b"]).min()) > 5


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.tesseract
def test_a_run_is_trained_judged_reported_evaluated_and_sampled(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    folder = tmp_path / "run"
    few = ["--budget.rounds", "1", "--held-out.every", "1", "--sampling.steps", "4"]
    assert main(["train", "lettering_vgrpo", *TINY, *few, "--folder", str(folder)]) == 0
    summary = json.loads((folder / "summary.json").read_text())
    names = {"reward", "judge", "strict", "diversity", "nearest", "drift"}
    assert names <= set(summary["after"]["ode"])
    index = json.loads((folder / "samples" / "index.json").read_text())
    assert (index["height"], index["tile"]) == (32, 64)
    tiles = cut(folder / "samples" / "000001_ode.png", (64, 32), 8, [])
    assert len(tiles) == 8
    assert (
        "legible" in json.loads((folder / "run.json").read_text())["settings"]["source"]["rewards"]
    )
    assert (folder / "report.html").exists()
    small = ["--held-out.prompts", "4", "--held-out.steps", "3"]
    assert main(["evaluate", "--run", str(folder), *small]) == 0
    assert main(["evaluate", "--built-in", "lettering", *small]) == 0
    out = tmp_path / "cat.png"
    words = ["cat", "--run", str(folder), "--count", "2", "--scale", "2", "--out", str(out)]
    assert main(["sample", *words]) == 0
    assert Image.open(out).size == (8 * 128, 64)
