"""Run by test_devices.py in a process of its own: recipes on a device that is not the CPU.

    python -m tests.systems.on_device float64|float32 FOLDER RECIPE…

Every recipe is measured, makes a round, is left and resumed from its checkpoint for another round,
and is measured again. A line of JSON for each says what went wrong, if anything.
"""

import json
import math
import os
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from scoreward.commands.train import build
from scoreward.models.builtin.transformer import PatchTransformer
from scoreward.rewards.base import Reward
from scoreward.training.evaluations.gap import Gap
from scoreward.training.evaluations.pictures import Evaluation
from scoreward.training.run import Keeping, Run, Session
from scoreward.training.sources.online import Online
from tests.support import fake_device
from tests.support.recipes import BUILT_IN, LANGUAGE, MOVED, ON_PAIRS, PRETRAINED

WINDOWS = ("mixgrpo", "flow_grpo_fast", "mixgrpo_flash")
SAMPLING = ("vgrpo", "diffusion_nft", "awm", "epg", "pepg", "par")
TINY = {
    "sd35": "sd3",
    "flux": "flux_dev",
    "kontext": "flux_kontext",
    "sd15": "sd15",
    "sdxl": "sdxl",
    "wan": "wan21",
}
REFUSED = tuple(f"lettering_{m}" for m in ("refl", "draft", "align_prop", "swift_direct"))
PRETRAINED_NAMES = PRETRAINED
EVERY = tuple(name for name in (*BUILT_IN, *MOVED) if name not in REFUSED)


def words_of(recipe: str, folder: Path) -> list[str]:
    """Options that make a recipe small."""
    task, _, method = recipe.partition("_")
    if recipe in PRETRAINED_NAMES:
        return _of_pipelines(recipe, folder)
    if recipe in LANGUAGE:
        return _of_texts(recipe, folder)
    words = ["--geometry.prompts", "2"]
    if method in ON_PAIRS:
        words += ["--making.prompts", "6", "--making.group", "3", "--making.held-out", "2"]
        if method == "diffusion_kto":
            words += ["--pairs", str(_pictures(folder, 16))]
    elif "pretrain" not in method and method != "few_step":
        words += ["--geometry.group", "8" if method == "branch_grpo" else "2"]
    if method == "branch_grpo":
        words[1] = "1"
    if method == "lpo":  # any two candidates are a pair, however alike
        words += ["--objective.bounds", "0", "0"]
    if method == "spo":
        words += ["--objective.least", "0"]
    if method == "score_as_action":
        words += ["--objective.value.first-passes", "1", "--objective.value.passes", "1"]
    if "pretrain" in method:
        words += ["--geometry.minibatches", "1"]
    if task == "digits":
        return [*words, "--held-out.prompts", "10", "--checked.steps", "2"]
    return words if task == "toy" else [*words, "--held-out.prompts", "2", "--held-out.steps", "2"]


def _of_pipelines(recipe: str, folder: Path) -> list[str]:
    from tests.families import tiny

    kind, _, method = recipe.partition("_")
    name = TINY[kind]
    size = [w for k, v in tiny.size_of(name).items() for w in (f"--loading.{k}", str(v))]
    words = [
        *("--model", str(_pipeline(folder, name)), *size, "--loading.rank", "2"),
        *("--loading.dtype", "float32"),
        *("--loading.tokens", "32", "--task.reward", "colorfulness", "--geometry.prompts", "2"),
        *("--measured.steps", "2", "--measured.prompts", "2"),
    ]
    if method in ("diffusion_dpo", "flow_dpo"):
        return [*words, "--pairs", str(_pictures(folder, 40))]
    if method == "sft":
        return [*words, "--pictures", str(_captioned(folder))]
    steps = "rollout.noise" if method in WINDOWS else "rollout"
    steps = "sampling" if method.startswith(SAMPLING) else steps
    few = {"sampling": "8", "rollout": "4"}.get(steps, "6")
    prompts = ["--task.prompts", str(_prompts(folder)), f"--{steps}.steps", few]
    return [*words, *prompts, "--geometry.group", "2", "--geometry.minibatches", "1"]


def _of_texts(recipe: str, folder: Path) -> list[str]:
    words = ["--geometry.prompts", "3", "--held-out.pairs", "3"]
    words += ["--reference.file", str(folder / f"{recipe}.safetensors")]
    if recipe == "tiny_llama_dpo":
        return [*words, "--llama.width", "32", "--llama.layers", "2", "--llama.heads", "2",
                "--count", "12"]  # fmt: skip
    return [*words, "--held-out.prompts", "1", "--model.source", str(_llama(folder))]


@cache
def _pipeline(folder: Path, name: str) -> Path:
    from tests.families import tiny

    target = folder / name
    if not target.exists():
        tiny.build(name).save_pretrained(target)
    return target


@cache
def _pictures(folder: Path, side: int) -> Path:
    """Pairs of pictures in a file of ours."""
    from datasets import config
    from PIL import Image

    from scoreward.data.portraits import load
    from scoreward.data.preferences.files import write
    from scoreward.data.preferences.records import ImagePair

    config.HF_DATASETS_CACHE = folder / "datasets"
    captions = load("train").captions
    drawn = (torch.rand(24, side, side, 3, generator=torch.Generator().manual_seed(0)) * 255).byte()
    images = [Image.fromarray(one.numpy()) for one in drawn]
    target = folder / f"pairs{side}.parquet"
    pairs = [ImagePair(captions[i], images[2 * i], images[2 * i + 1], 1.0, 0.5) for i in range(12)]
    write(target, pairs)
    return target


@cache
def _captioned(folder: Path) -> Path:
    from PIL import Image

    target = folder / "captioned"
    target.mkdir(exist_ok=True)
    for i, colour in enumerate(("red", "green", "blue", "black")):
        Image.new("RGB", (64, 48), colour).save(target / f"{i}.png")
        (target / f"{i}.txt").write_text(f"a {colour} wall")
    return target


@cache
def _prompts(folder: Path) -> Path:
    """Instructions about one picture; other models read them as prompts."""
    from tests.families import upstream

    upstream.picture(folder)
    lines = [{"prompt": f"make it {c}", "image": "picture.png"} for c in ("red", "blue", "green")]
    target = folder / "prompts.jsonl"
    target.write_text("\n".join(json.dumps(line) for line in lines))
    return target


@cache
def _llama(folder: Path) -> Path:
    """A tiny Llama with its tokenizer, as transformers saves them."""
    from scoreward.models.texts.loading import TinyLlama

    target, model = folder / "llama", TinyLlama(width=32, layers=2, heads=2).build()
    weights = {n: p.detach() for n, p in model.network.named_parameters()}
    assert model.save is not None
    model.save(weights, target, True)
    return target


@dataclass(frozen=True)
class Told:
    """A reward that tells any two pictures apart, and says nothing from elsewhere."""

    reward: Reward

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Tensor:
        return self.reward(media, prompts) + 0.1 * media.flatten(1).mean(1)


def small(run: Run, folder: Path) -> Run:
    """Two rounds of the first blocks of the network, and as little to measure as there can be."""
    measured, source = run.evaluation, run.source
    if isinstance(measured, Evaluation):
        measured = replace(measured, prompts=list(measured.prompts)[:2], noises=2, shown=2)
        measured = replace(measured, spread_prompts=1, every=2, gap=Gap())
        if run.name in MOVED and not run.name.endswith("_vgrpo"):  # one of a task asks all judges
            measured = replace(measured, scorers={"reward": measured.scorers["reward"]})
    if isinstance(source, Online):  # no round without a spread of rewards
        source = replace(source, rewards={n: Told(r) for n, r in source.rewards.items()})
    if isinstance(run.model.network, PatchTransformer):
        del run.model.network.blocks[2:]
    budget = replace(run.budget, rounds=2, seconds=None, evaluations=None)
    run = replace(run, evaluation=measured, source=source, budget=budget)
    return replace(run, folder=folder, keeping=Keeping(every=2, last=1))


def tried(recipe: str, folder: Path) -> None:
    """The two lives of a run; raises at the first thing that is not as it should be."""
    run = small(build(recipe, words_of(recipe, folder), "test")[0], folder / recipe)
    session = Session(run)
    check(session)
    session.begin()
    before = [p.detach().clone() for p in session.trainer.weights.parameters.values()]
    metrics: list[Mapping[str, float]] = []
    for moment in session.moments():
        metrics.append(moment.metrics)
        if moment.round == 1:
            break  # leaves a checkpoint
    after = session.trainer.weights.parameters.values()
    if not any(bool((p != b).any()) for p, b in zip(after, before, strict=True)):
        raise AssertionError("the round did not change the network")
    lived = devices(session.trainer.memory)
    session = Session(run)
    session.go_on()
    check(session)
    if session.trainer.done != 1 or lived != devices(session.trainer.memory):
        raise AssertionError(f"resumed at {session.trainer.done}, and remembers {lived}")
    metrics += [moment.metrics for moment in session.moments()]
    check(session)
    if broken := [n for one in metrics for n, v in one.items() if not math.isfinite(v)]:
        raise AssertionError(f"not finite: {broken}")
    evaluated = session.folder.records("evaluation")
    if run.evaluation is not None and [one["round"] for one in evaluated] != [0, 2]:
        raise AssertionError(f"{len(evaluated)} evaluations, expected those of rounds 0 and 2")


def devices(tensors: Mapping[str, Tensor]) -> dict[str, torch.device]:
    return {name: tensor.device for name, tensor in tensors.items()}


def check(session: Session) -> None:
    """Weights, snapshots and moments on the device."""
    trainer = session.trainer
    held: dict[str, Tensor] = dict(session.run.model.network.named_parameters())
    held |= {f"buffer {n}": b for n, b in session.run.model.network.named_buffers()}
    for name in trainer.weights.names():
        held |= {f"{name} {n}": t for n, t in trainer.weights.snapshot(name).items()}
    for state in trainer.torch_optimizer.state.values():
        held |= {f"moment {n}": t for n, t in state.items() if n != "step"}
    device = torch.device(fake_device.NAME, 0)
    if away := [n for n, t in held.items() if t.device != device]:
        raise AssertionError(f"{len(away)} tensors are not on {device}, for example {away[0]}")


def begin(wide: str, folder: Path) -> None:
    """The device for this process, and a cache that is nobody's."""
    os.environ["SCOREWARD_CACHE"] = str(folder / "cache")
    torch.set_num_threads(1)
    fake_device.enable(float64=wide == "float64")


def told(**what: Any) -> None:
    print("\n" + json.dumps(what), flush=True)


def attempt(do: Callable[[], None]) -> str:
    """What went wrong, in a line that says where; nothing if nothing did."""
    try:
        do()
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [f for f in frames if f"{os.sep}scoreward{os.sep}" in f.filename] or frames
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return f"{type(error).__name__} at {place}: {error}"[:500]
    return ""


def main(words: list[str]) -> None:
    wide, folder, *recipes = words
    begin(wide, Path(folder))
    for recipe in recipes:
        start = time.process_time()
        error = attempt(lambda: tried(recipe, Path(folder)))  # noqa: B023
        told(recipe=recipe, error=error, seconds=round(time.process_time() - start, 2))


if __name__ == "__main__":
    main(sys.argv[1:])
