"""What is planned on paper is what a round takes."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scoreward import cli
from scoreward.commands.plan import on_paper, verdict
from scoreward.commands.train import build
from scoreward.models.diffusers.prompts import Pictures, Prompts
from scoreward.models.measuring import bytes_of, living
from scoreward.training.run import Run
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer
from tests.families.test_recipes import TINY, prompts, words_of
from tests.support.matrix import mostly_long

assert prompts  # a fixture, used by name
CASES = [
    "sd35_vgrpo",
    "sd35_diffusion_nft",
    "sd35_flow_grpo",
    "sd35_mixgrpo",
    "sd35_temp_flow",
    "flux_vgrpo",
    "sd15_ddpo",
    "sdxl_ddpo",
    "wan_flow_grpo",
    "wan_vgrpo",
]
FEW = ("flux_vgrpo", "sd35_flow_grpo")


def measured(run: Run) -> tuple[int, tuple[int, int], Trainer]:
    """Bytes of a second round: at most living then, with all that stays; evaluations of it."""
    trainer = Trainer(
        run.model, run.objective, run.source, run.optimizer, Team(), guidance=run.guidance
    )
    trainer.step()
    pictures, words = run.model.decode, run.model.encode
    assert isinstance(pictures, Pictures)
    assert isinstance(words, Prompts)
    readers = [p for p in pictures.pipe.components.values() if isinstance(p, torch.nn.Module)]
    modules = {id(m): m for m in (run.model.network, *readers)}
    for part in run.model.network.parts.values():  # pyright: ignore
        modules.pop(id(part), None)
    stays = sum(bytes_of(m) for m in modules.values())
    moments = trainer.torch_optimizer.state_dict()["state"].values()
    stays += sum(t.numel() * t.element_size() for state in moments for t in state.values())
    copies = [trainer.weights.snapshot(n) for n in trainer.weights.names()]
    stays += sum(t.numel() * t.element_size() for copy in copies for t in copy.values())
    before = replace(trainer.evaluations)
    with living(*modules.values()) as counted:
        trainer.step()
    after = trainer.evaluations
    behaviour = after.behaviour - before.behaviour
    trained = after.training_forward - before.training_forward
    return stays + counted.peak, (behaviour, trained), trainer


@pytest.mark.slow
@pytest.mark.parametrize("recipe", mostly_long(CASES, FEW))
def test_the_planned_peak_is_the_measured_one(
    recipe: str, saved: Callable[[str], Path], prompts: Path
) -> None:
    folder = saved(TINY.get(recipe.partition("_")[0], "wan21"))
    mean = prompts.with_name("reward.py")  # takes no memory, which a plan does not count
    mean.write_text("def mean(media, prompts):\n    return media.flatten(1).mean(1)\n")
    words = [*words_of(recipe, folder, prompts), "--loading.decode", "1"]
    words += ["--task.reward", f"{mean}:mean"]
    words += ["--geometry.rollout-batch", "2", "--geometry.micro-batch", "4"]
    run, _ = build(recipe, words, "test")
    peak, evaluations, trainer = measured(run)
    _, memory, cost = on_paper(recipe, words)
    assert memory.peak == pytest.approx(peak, rel=0.15)
    assert memory.trainable == sum(p.numel() for p in trainer.weights.parameters.values())
    assert evaluations == (cost.behaviour, cost.trained)


def test_what_stays_is_counted_to_the_byte(saved: Callable[[str], Path], prompts: Path) -> None:
    """On tiny models activations hide these parts, on real ones they are most of a card."""
    words = words_of("sd35_vgrpo", saved("sd3"), prompts)
    run, _ = build("sd35_vgrpo", words, "test")
    trainer = Trainer(run.model, run.objective, run.source, run.optimizer, Team())
    trainer.step()
    pictures = run.model.decode
    assert isinstance(pictures, Pictures)
    _, memory, _ = on_paper("sd35_vgrpo", words)
    trained = bytes_of(run.model.network, trainable=True)
    readers = [getattr(pictures.pipe, f"text_encoder{n}") for n in ("", "_2", "_3")]
    moments = [v for s in trainer.torch_optimizer.state.values() for v in s.values() if v.ndim]
    assert memory.resident["denoiser, trained"] == trained
    assert memory.resident["denoiser, frozen"] == bytes_of(run.model.network) - trained
    assert memory.resident["snapshots"] == len(trainer.weights.names()) * trained
    assert memory.resident["optimiser"] == sum(v.numel() * v.element_size() for v in moments)
    assert memory.resident["VAE"] == bytes_of(pictures.pipe.vae)
    assert memory.resident["text encoders"] == sum(bytes_of(r) for r in readers)


def test_the_verdict_names_a_card_or_what_to_do() -> None:
    assert verdict(10 * 2**30) == "computed to fit a card of 12 GB; not measured on one."
    assert "card of 80 GB" in verdict(78 * 2**30)
    assert "lower geometry.micro_batch" in verdict(90 * 2**30)


def test_a_model_that_is_no_pipeline_is_refused_in_a_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.main(["plan", "toy_vgrpo"]) == 2
    assert "only models loaded from a diffusers pipeline" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["plan", "train"])
def test_prompts_that_the_reward_cannot_judge_are_named_before_anything_is_made(
    saved: Callable[[str], Path], tmp_path: Path, command: str
) -> None:
    file = tmp_path / "signs.txt"
    file.write_text('a sign "!!!"\na sign "$$$"\na sign ""\nein Schild „…“\na sign «OUI»\na cat\n')
    words = words_of("sd35_vgrpo", saved("sd3"), file)
    words[words.index("colorfulness")] = "legible"

    def make(recipe: str, words: list[str]) -> None:
        _ = (
            on_paper(recipe, words)
            if command == "plan"
            else build(recipe, words, "scoreward train")
        )

    with pytest.raises(ValueError, match=r"'legible' can say nothing of 4 of the prompts, such as"):
        make("sd35_vgrpo", [*words, "--task.share", "0"])
    file.write_text("a sign «OUI»\nein Schild „STOP“\na poster 「HELLO」\na plain cat\n")
    make("sd35_vgrpo", words)
