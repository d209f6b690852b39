"""The recipes on pretrained models, on tiny ones: a round, a run, what it leaves behind."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import diffusers
import pytest
import torch
from PIL import Image

from scoreward import cli
from scoreward.commands.train import build
from scoreward.data.prompts import PromptsError, from_file, listed, read, share_of
from scoreward.tasks.base import Goal
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer
from tests.families import tiny, upstream
from tests.support.matrix import mostly_long
from tests.support.recipes import FROM_FILES, PRETRAINED

RECIPES = [name for name in PRETRAINED if name not in FROM_FILES]  # which have tests of their own
FEW = ("sd35_vgrpo", "flux_mixgrpo", "sd15_ddpo", "kontext_vgrpo", "wan_flow_grpo")
TINY = {
    "sd35": "sd3",
    "flux": "flux_dev",
    "kontext": "flux_kontext",
    "sd15": "sd15",
    "sdxl": "sdxl",
}
STEPS = {
    "sampling": ["--sampling.steps", "8"],
    "window": ["--rollout.noise.steps", "6"],
    "rollout": ["--rollout.steps", "4"],
}
WINDOWS = ("mixgrpo", "flow_grpo_fast")
SAMPLING = ("vgrpo", "diffusion_nft", "awm", "epg", "pepg", "par")


def words_of(recipe: str, folder: Path, prompts: Path) -> list[str]:
    """Options that make a recipe tiny."""
    name = TINY.get(recipe.partition("_")[0], "wan21")
    size = [w for k, v in tiny.size_of(name).items() for w in (f"--loading.{k}", str(v))]
    method = recipe.partition("_")[2]
    kind = "window" if method in WINDOWS else "rollout"
    kind = "sampling" if method.startswith(SAMPLING) else kind
    return [
        *("--model", str(folder), *size, "--loading.dtype", "float32", "--loading.rank", "2"),
        *(
            "--loading.tokens",
            "32",
            "--task.reward",
            "colorfulness",
            "--task.prompts",
            str(prompts),
        ),
        *("--geometry.prompts", "2", "--geometry.group", "2", "--geometry.minibatches", "1"),
        *("--measured.steps", "2", "--measured.prompts", "2", "--measured.every", "2"),
        *STEPS[kind],
    ]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """Instructions about one picture; other models read them as prompts."""
    upstream.picture(tmp_path)
    lines = [{"prompt": f"make it {c}", "image": "picture.png"} for c in ["red", "blue", "green"]]
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("recipe", mostly_long(RECIPES, FEW))
def test_a_recipe_makes_a_round(recipe: str, saved: Callable[[str], Path], prompts: Path) -> None:
    name = TINY.get(recipe.partition("_")[0], "wan21")
    run, _ = build(recipe, words_of(recipe, saved(name), prompts), "test")
    assert run.name == recipe
    trainer = Trainer(
        run.model, run.objective, run.source, run.optimizer, Team(), guidance=run.guidance
    )
    metrics = trainer.step().metrics
    assert all(math.isfinite(v) for v in metrics.values())
    assert metrics["gradient/norm"] > 0


@pytest.mark.slow
def test_a_run_is_measured_resumed_and_exported(
    saved: Callable[[str], Path], prompts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = words_of("wan_vgrpo", saved("wan21"), prompts)
    run, to = tmp_path / "run", tmp_path / "lora"
    more = ["--budget.rounds", "2", "--folder", str(run), "--optimizer.lr", "0.01"]
    assert cli.main(["train", "wan_vgrpo", *words, *more]) == 0
    summary = json.loads((run / "summary.json").read_text())
    assert summary["after"]["ode"]["drift"] > 0
    grid = Image.open(run / "samples" / "000002_ode.png")
    assert grid.size == (8 * 48, 32)  # the middle frames
    assert cli.main(["export", str(run), "--to", str(to)]) == 0
    card = (to / "README.md").read_text()
    assert "pipe.load_lora_weights" in card
    assert "| ode | reward |" in card
    assert (to / "samples.png").is_file()
    pipe = diffusers.DiffusionPipeline.from_pretrained(saved("wan21"))
    pipe.load_lora_weights(to)
    assert cli.main(["export", str(run), "--to", str(to)]) == 2
    assert "is not empty" in capsys.readouterr().err


def test_prompts_are_read_held_out_and_told_what_is_wrong(tmp_path: Path) -> None:
    assert "an owl" in listed("animals")
    assert 'a neon sign that says "CAFE"' in listed("signs")
    both = read("animals", 0.2)
    assert set(both.train).isdisjoint(both.held_out)
    assert sorted(both.train + both.held_out) == sorted(listed("animals"))
    assert all(share_of(p) < 0.2 for p in both.held_out)
    plain = tmp_path / "prompts.txt"
    plain.write_text("a fox\n\n a bird \na fox\n")
    assert from_file(plain) == ["a fox", "a bird"]
    with pytest.raises(PromptsError, match=r"no file 'nowhere.txt'.*animals, signs"):
        read("nowhere.txt")
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"prompt": "a"}\n{"text": "b"}\n')
    with pytest.raises(PromptsError, match=r'line 2 of .*broken.jsonl has no "prompt"; it has'):
        read(str(broken))
    broken.write_text('{"prompt": "a", "image": "gone.png"}\n')
    with pytest.raises(PromptsError, match=r"line 1 of .* names a picture that is not there"):
        read(str(broken))
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(PromptsError, match="is empty"):
        read(str(tmp_path / "empty.txt"))


def test_what_trains_is_measured_as_reward_and_the_first_judge_as_judge() -> None:
    """Health's alarm and the report look for these two names."""
    one = Goal(reward=("contrast",), judge=("symmetry", "saturation"))
    assert [*one.measured(), *one.judges()] == ["reward", "judge", "judge_saturation"]
    two = Goal(reward=("contrast", "symmetry"), weights=(2.0, 0.5))
    media, said = torch.rand(3, 3, 8, 8), two.measured()
    assert list(said) == ["reward", "contrast", "symmetry"]
    contrast, symmetry = (said[n](media, [""] * 3) for n in ("contrast", "symmetry"))
    assert torch.allclose(said["reward"](media, [""] * 3), 2 * contrast + 0.5 * symmetry)


def test_settings_of_a_task_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "sd35_vgrpo", "--task.weights", "1", "2"]) == 2
    said = "scoreward: 1 rewards need as many weights, got (1.0, 2.0)\n"
    assert capsys.readouterr().err == said
