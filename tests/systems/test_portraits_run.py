"""The built-in model goes through the whole machinery: two rounds of eight samples."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from scoreward.cli import main
from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.data import portraits as data
from scoreward.methods.sampling import Sampling
from scoreward.models.builtin import portraits as builtin
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.training.clock import Clock
from scoreward.training.folder import RunFolder
from scoreward.training.geometry import Geometry
from scoreward.training.sources.online import Online, Work
from scoreward.training.team import Team

pytestmark = pytest.mark.slow

TINY = [
    "--geometry.prompts",
    "2",
    "--geometry.group",
    "4",
    "--budget.rounds",
    "2",
    "--held-out.prompts",
    "8",
]
FEW = ["--held-out.steps", "3", "--held-out.every", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("portraits") / "run"
    steps = ["--sampling.steps", "4", "--folder", str(folder)]
    assert main(["train", "portraits_vgrpo", *TINY, *FEW, *steps]) == 0
    return folder


def test_before_and_after_are_told_for_both_samplers(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    for when in ("before", "after"):
        assert set(summary[when]) == {"ode", "sde"}
        for numbers in summary[when].values():
            assert {"reward", "judge", "strict", "diversity", "nearest"} <= set(numbers)
    # 8 samples, 4 steps, 4 pairs: the anchor's 32 each round, the old policy's 32 in the first
    assert summary["evaluations"] == {"behaviour": 2 * (32 + 32) + 32, "training": 2 * 3 * 32}


def test_the_panel_the_tables_and_the_pictures_are_there(run: Path) -> None:
    folder = RunFolder(run)
    last = folder.records("evaluation")[-1]
    assert {"hair", "glasses"} & {name.split("_")[0] for name in last["ode"]["attributes"]}
    checks = {line["check"]: line["level"] for line in folder.records("health")}
    assert checks["ratio"] == checks["replay"] == "ok"
    assert "reward_vs_judge" in checks
    assert {p.name for p in (run / "samples").glob("*.png")} == {
        f"{round:06d}_{sampler}.png" for round in range(3) for sampler in ("ode", "sde")
    }
    assert (run / "report.html").stat().st_size > 10_000


def test_its_weights_can_be_sampled_and_measured(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "samples.png"
    prompt = data.load("test").captions[0]
    words = ["--run", str(run), "--count", "1", "--sampling.steps", "2", "--out", str(out)]
    assert main(["sample", prompt, *words]) == 0
    assert out.exists()
    words = ["--run", str(run), "--held-out.prompts", "4", "--held-out.steps", "2"]
    assert main(["evaluate", *words]) == 0
    said = capsys.readouterr().out
    assert "judge" in said
    assert "diversity" in said


@pytest.mark.long
def test_pretraining_ends_with_a_weights_file_that_loads(tmp_path: Path) -> None:
    folder = tmp_path / "pre"
    sizes = "--geometry.prompts 8 --geometry.minibatches 2 --budget.rounds 1 --optimizer.total 2"
    words = [*sizes.split(), *TINY[-2:], *FEW, f"--folder={folder}"]
    assert main(["pretrain", *words]) == 0
    weights = load_file(folder / "model.safetensors")
    assert weights.keys() == builtin.portraits.shipped().keys()
    builtin.portraits(weights)


def test_the_rollout_batch_changes_no_picture() -> None:
    """Sums inside the network may differ by their order; the noise does not, see test_source.py."""
    torch.set_num_threads(1)
    model, sampler = builtin.portraits(), Sampling(steps=4, eta=1.0).sampler()
    model.network.eval()
    reading = model.denoiser
    policy = DiffusionPolicy(reading, reading, reading, model.process, sampler)
    work = Work(model, policy, Team(), Clock(), VGRPO().needs)
    x0 = [
        Online(
            prompts=data.load("train").captions[:50],
            rewards={"red": lambda media, prompts: media[:, 0].mean((1, 2))},
            rollout=sampler,
            geometry=Geometry(prompts=2, group=4, rollout_batch=batch),
        )
        .collect(0, Key(("scoreward", 0)), work)
        .samples.x0
        for batch in (8, 3)
    ]
    torch.testing.assert_close(x0[0], x0[1], rtol=0, atol=1e-4)
