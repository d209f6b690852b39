"""A newcomer's jobs, done literally: a method, a reward and an equation of one's own."""

import json
from pathlib import Path

import pytest

from scoreward.cli import main
from scoreward.training.folder import RunFolder
from tests.families import tiny
from tests.mutations import run

METHOD = '''
"""Advantage-weighted regression: velocities of good samples, more of the better ones."""

from dataclasses import dataclass

import torch

import scoreward as sw
from scoreward.core.keys import normal_each
from scoreward.core.likelihood import NoisySamples, noised, squared_error
from scoreward.core.rows import Rows


@dataclass(frozen=True)
class AWRRows(Rows):
    x0: torch.Tensor
    cond: object
    pairs: NoisySamples
    weight: torch.Tensor
    sample: torch.Tensor


@dataclass(frozen=True)
class AWR(sw.Objective):
    """Regression on one's own samples, weighted by exp(advantage / temperature)."""

    temperature: float = 1.0

    def prepare(self, samples, policy, key):
        keys = [key / "awr" / i for i in samples.sample.tolist()]
        t = torch.cat([(k / "t").uniform(1) for k in keys]).to(samples.x0)[:, None]
        shape = tuple(samples.x0.shape[1:])
        eps = normal_each((k / "eps" for k in keys), shape).to(samples.x0)[:, None]
        pairs = NoisySamples(t, eps, noised(policy.process, samples.x0, t, eps))
        weight = (samples.advantage / self.temperature).clamp(max=3).exp().to(samples.x0)
        return AWRRows(samples.x0, samples.cond, pairs, weight, samples.sample)

    def loss(self, rows, policy):
        answer = policy.current(rows.pairs.x_t[:, 0], rows.pairs.t[:, 0], rows.cond).x0
        error = (answer - rows.x0).square().flatten(1).mean(1)
        loss = (rows.weight * error).mean()
        return loss, {"weight/max": rows.weight.max().detach()}
'''
REWARD = '''
def redness(media, prompts):
    """Red minus the other colours."""
    return media[:, 0].flatten(1).mean(1) - media[:, 1:].flatten(1).mean(1)
'''
SMALL = ["--geometry.prompts", "2", "--geometry.group", "4", "--budget.rounds", "2"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_method.py").write_text(METHOD)
    (tmp_path / "my_reward.py").write_text(REWARD)
    return tmp_path


def finished(folder: Path, name: str) -> dict:
    about = json.loads((folder / "runs" / name / "run.json").read_text())
    assert about["status"] == "finished"
    assert RunFolder(folder / "runs" / name).records("round")[-1]["round"] == 2
    return about


@pytest.mark.slow
def test_a_method_of_ones_own_trains_on_two_tasks(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "my_method.py:AWR", *SMALL, "--objective.temperature", "0.5"]
    assert main([*words, "--on", "toy"]) == 0
    assert main([*words, "--on", "digits_compressed", "--held-out.prompts", "10"]) == 0
    about = finished(folder, "toy_awr")
    assert about["settings"]["objective"] == {"temperature": 0.5}
    finished(folder, "digits_compressed_awr")
    assert "untuned for this pair" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["train", "my_method.py:AWR", "--help"])
    said = capsys.readouterr().out
    assert "Regression on one's own samples" in said
    assert "--objective.temperature" in said
    assert main(["resume", "runs/toy_awr"]) == 2
    assert "finished run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_reward_of_ones_own_on_a_built_in_and_a_diffusers_model(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mine = ["--reward", "my_reward.py:redness"]
    few = ["--held-out.prompts", "4", "--held-out.steps", "2", "--sampling.steps", "4"]
    assert main(["train", "vgrpo", "--on", "portraits", *mine, *few, *SMALL]) == 0
    numbers = RunFolder(folder / "runs" / "portraits_vgrpo").records("evaluation")[-1]["ode"]
    assert {"reward", "judge", "strict"} <= set(numbers)
    pipeline = tmp_path_factory.mktemp("sd3")
    tiny.build("sd3").save_pretrained(pipeline)
    size = [w for k, v in tiny.size_of("sd3").items() for w in (f"--loading.{k}", str(v))]
    model = [
        "--model",
        str(pipeline),
        *size,
        "--loading.dtype",
        "float32",
        "--loading.rank",
        "2",
    ]
    more = ["--loading.tokens", "32", "--measured.steps", "2", "--measured.prompts", "2"]
    steps = ["--sampling.steps", "4", "--measured.every", "2"]
    assert main(["train", "vgrpo", "--on", "sd35", *mine, *model, *more, *steps, *SMALL]) == 0
    about = finished(folder, "sd35_vgrpo")
    assert list(about["settings"]["source"]["rewards"]) == ["redness"]
    assert about["source"].startswith("settings: published for Stable Diffusion 3.5 medium (")


@pytest.mark.long
def test_an_equation_is_found_and_its_test_goes_red_when_it_is_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What `scoreward equations` prints leads to the line, and to the test that holds it."""
    assert main(["equations", "vgrpo"]) == 0
    (line,) = [x for x in capsys.readouterr().out.splitlines() if "the soft clip" in x]
    code, test = (word for word in line.split() if ".py:" in word)
    run.copy(tmp_path)
    path, number = tmp_path / code.partition(":")[0], int(code.partition(":")[2])
    name = test.partition(":")[0]
    assert run.status_of(tmp_path, [name]) == (0, "")
    text = path.read_text(encoding="utf-8").splitlines(keepends=True)
    near = next(i for i in range(number - 1, len(text)) if "tanh(advantage" in text[i])
    text[near] = text[near].replace("torch.tanh", "torch.sin")
    path.write_text("".join(text), encoding="utf-8")
    status, first = run.status_of(tmp_path, [name])
    assert status == run.TESTS_FAILED
    assert "soft_clip" in first
