"""What only a card can tell, stage by stage: python -m benchmarks.device.check --folder FOLDER

Each stage notes its numbers or its error and lets the next begin; FOLDER/device.json is written
after every stage, so a call that is cut short keeps what it found. Without a card the stages are
the same, and the numbers are a rehearsal.
"""

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from scoreward.methods.sampling import Noisy, Sampling
from scoreward.models.base import Model
from scoreward.models.diffusers import load
from scoreward.objectives.base import Objective
from scoreward.objectives.paths.ddpo import DDPO
from scoreward.objectives.paths.flow_grpo import FlowGRPO
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.training.geometry import Geometry
from scoreward.training.guards import Guards
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Keeping
from scoreward.training.sources.online import Online
from scoreward.training.team import Team
from scoreward.training.trainer import Trainer

LIMIT = 330.0  # seconds after which no further stage begins on a card; a rehearsal has time
DEMO = {"cuda": 60.0, "cpu": 10.0}  # seconds of training of the demo's recipe
PATIENCE = {"cuda": 180.0, "cpu": 900.0}  # seconds for the demo as a whole
STEPS = 4
PROMPTS = ["a red square", "a blue cat on a mat"]


class Notes:
    """Answers by stage, kept on disk."""

    def __init__(self, folder: Path, limit: float) -> None:
        self.limit = limit
        self.path, self.began = folder / "device.json", time.perf_counter()
        self.answers: dict[str, Any] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def stage(self, name: str, work: Callable[[], Any]) -> None:
        """Run a stage; an error is an answer."""
        if self.seconds() > self.limit:
            self.keep(name, {"skipped": f"{self.seconds():.0f} s were used"})
            return
        began = time.perf_counter()
        try:
            answer = work()
        except (Exception, SystemExit) as error:  # a command line that is refused exits
            last = [
                f for f in traceback.extract_tb(error.__traceback__) if "scoreward" in f.filename
            ]
            at = f"{Path(last[-1].filename).name}:{last[-1].lineno}" if last else "outside"
            answer = {"error": f"{type(error).__name__} at {at}: {error}"}
        self.keep(name, answer | {"seconds": round(time.perf_counter() - began, 1)})

    def keep(self, name: str, answer: dict[str, Any]) -> None:
        self.answers[name] = answer
        self.path.write_text(json.dumps(self.answers, indent=1) + "\n")
        print(name, answer, flush=True)

    def seconds(self) -> float:
        return time.perf_counter() - self.began


def about(device: torch.device) -> dict[str, Any]:
    """The machine and the versions."""
    card = None
    if device.type == "cuda":
        found = torch.cuda.get_device_properties(device)
        card = {"name": found.name, "GiB": round(found.total_memory / 2**30, 1)}
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for name in ("diffusers", "transformers", "peft", "accelerate"):
        versions[name] = __import__(name).__version__
    return {"device": str(device), "card": card, "versions": versions}


def demo(device: str, folder: Path) -> dict[str, Any]:
    """The demo's recipe by its command: strict success before and after, time in the network."""
    kind = "cpu" if device == "cpu" else "cuda"
    seconds = DEMO[kind]
    words = ["demo", "--folder", str(folder / "demo"), "--seconds", str(seconds)]
    done = subprocess.run(
        [sys.executable, "-m", "scoreward", *words, "--device", device],
        capture_output=True,
        text=True,
        timeout=PATIENCE[kind],
    )
    if done.returncode:
        return {"error": (done.stderr or done.stdout)[-2000:]}
    lines = [json.loads(x) for x in (folder / "demo" / "metrics.jsonl").read_text().splitlines()]
    last = {kind: [x for x in lines if x["kind"] == kind][-1] for kind in ("evaluation", "profile")}
    first = next(x for x in lines if x["kind"] == "evaluation")
    return {
        "rounds": last["evaluation"]["round"],
        "strict": [x["ode"]["strict"] for x in (first, last["evaluation"])],
        "reward": [x["ode"]["reward"] for x in (first, last["evaluation"])],
        "share_in_network": last["profile"]["share_in_network"],
    }


def redness(media: torch.Tensor, prompts: Any) -> torch.Tensor:
    """Mean of red minus the others."""
    return media[:, 0].flatten(1).mean(1) - media[:, 1:].flatten(1).mean(1)


def trainer(model: Model, objective: Objective, team: Team, prompts: list[str]) -> Trainer:
    """Two updates a round, so the ratio is really measured, in batches of another shape."""
    table = type(model.process).__name__ == "DiscreteVP"
    noisy = Noisy("ddim", 1.0, STEPS) if table else Noisy("flow_sde", 0.7, STEPS)
    rollout = noisy if objective.stores == "paths" else Sampling(steps=STEPS)
    source = Online(
        prompts=prompts,
        rewards={"redness": redness},
        rollout=rollout.sampler(model.grid(STEPS)),
        geometry=Geometry(prompts=1, group=6, minibatches=2, rollout_batch=4, micro_batch=3),
    )
    guards = Guards(verify_every=1, ratio_tolerance=1.0)  # measured, not refused
    return Trainer(model, objective, source, Optimizer(lr=1e-3), team, guards=guards)


def one_round(made: Trainer) -> dict[str, Any]:
    """Ratio before the first update, whether the reference stayed, gradient and memory."""
    device, model = made.team.device, made.model
    x = torch.randn(2, *model.shape, generator=torch.Generator().manual_seed(0)).to(device)
    t, cond = torch.tensor([0.3, 0.8]).to(device), model.encode(made.source.prompts[:1] * 2)  # pyright: ignore
    cond = cond if cond is None else cond.to(device)
    reference = made.reading("reference")
    first = reference(x, t, cond).as_("velocity")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    rounds = [made.step().metrics for _ in range(2)]
    after = reference(x, t, cond).as_("velocity")
    live = made.reading("ema")(x, t, cond).as_("velocity")
    found = {
        "ratio_off_1": max(abs(rounds[1][f"first/ratio/{e}"] - 1) for e in ("min", "max")),
        "tolerance": made.tolerance if made.guards.ratio_tolerance is None else tolerated(made),
        "reference_moved": float((after - first).abs().max()),
        "live_moved": float((live - first).abs().max()),
        "gradient": rounds[1]["gradient/norm"],
    }
    if device.type == "cuda":
        found["GiB"] = round(torch.cuda.max_memory_allocated(device) / 2**30, 3)
    return found


def tolerated(made: Trainer) -> float:
    """What the run would have allowed by itself."""
    from scoreward.training.precision import tolerance

    elements = torch.Size(made.model.shape).numel()
    return tolerance(made.rounding, made.guidance, elements, made.objective.summed)


def family(name: str, device: str, folder: Path) -> dict[str, Any]:
    """A tiny pipeline of a family in bf16: paths and pairs, adapters and all weights."""
    from tests.families import tiny, upstream

    saved = folder / name
    tiny.PIPELINES[name]().save_pretrained(saved)
    prompts, found = upstream.prompts_of(name, folder), {}
    for lora in (True, False):
        for kind in ("path", "samples"):
            model = load(saved, tiny.loading(name, lora=lora, dtype="bf16", cache=False))
            table = type(model.process).__name__ == "DiscreteVP"
            objective = VGRPO(pairs=2, clip=None, anchor=0.1)
            if kind == "path":
                objective = DDPO() if table else FlowGRPO(kl=0.01)
            made = trainer(model, objective, Team("bf16", device), prompts)
            found[f"{'lora' if lora else 'full'} {kind}"] = one_round(made)
    shutil.rmtree(saved, ignore_errors=True)
    return found


def real_size(device: str, folder: Path) -> dict[str, Any]:
    """Stable Diffusion 1.5 at its own size with random weights: memory against the plan."""
    from benchmarks.memory.architectures import write
    from scoreward.commands.plan import on_paper
    from scoreward.commands.train import build

    bare, whole = folder / "bare", folder / "sd15"
    bare.mkdir(parents=True)
    write("sd15", bare)
    weighted(bare, whole)
    words = ["--model", str(whole), "--loading.dtype", "bf16", "--task.reward", "contrast"]
    words += ["--geometry.prompts", "2", "--geometry.group", "4", "--geometry.rollout-batch", "4"]
    words += [
        "--geometry.micro-batch",
        "4",
        "--rollout.steps",
        "8",
        "--folder",
        str(folder / "run"),
    ]
    _, memory, cost = on_paper("sd15_ddpo", [*words, "--model", str(bare)])
    run, _ = build("sd15_ddpo", words, "check")
    made = Trainer(
        run.model, run.objective, run.source, run.optimizer, Team(run.mixed_precision, device),
        guidance=run.guidance,
    )  # fmt: skip
    if made.team.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    metrics = made.step().metrics
    seconds = time.perf_counter() - began
    made.step()
    measured = None
    if made.team.device.type == "cuda":
        measured = round(torch.cuda.max_memory_allocated() / 2**30, 2)
    return {
        "planned_GiB": round(memory.peak / 2**30, 2),
        "measured_GiB": measured,
        "planned_evaluations": cost.behaviour + 3 * cost.trained,
        "evaluations": made.evaluations.total // 2,
        "round_seconds": [round(seconds, 1), round(time.perf_counter() - began - seconds, 1)],
        "ratio": [metrics.get(f"first/ratio/{e}") for e in ("min", "max")],
        "share_in_network": made.clock.profile(time.perf_counter() - began)["share_in_network"],
    }


def weighted(bare: Path, whole: Path) -> None:
    """A folder of configurations as a pipeline with random weights in bf16."""
    import diffusers as installed

    diffusers: Any = installed
    index = json.loads((bare / "model_index.json").read_text())
    pipeline = getattr(diffusers, index["_class_name"])
    parts: dict[str, Any] = {}
    for name, entry in index.items():
        if name.startswith("_") or not isinstance(entry, list) or entry[0] is None:
            continue
        kind: Any = getattr(__import__(entry[0]), entry[1])
        if hasattr(kind, "config_class") and entry[0] == "transformers":
            parts[name] = kind(kind.config_class.from_pretrained(bare / name)).bfloat16()
        elif hasattr(kind, "from_config") and entry[0] == "diffusers":
            made = kind.from_config(kind.load_config(bare / name))
            parts[name] = made.bfloat16() if isinstance(made, torch.nn.Module) else made
        else:
            parts[name] = kind.from_pretrained(bare / name)
    missing = dict.fromkeys(("safety_checker", "feature_extractor", "image_encoder"))
    taken = {k: v for k, v in missing.items() if k in index}
    made = pipeline(**{**taken, **parts})
    made.save_pretrained(whole)


def resumed(device: str, folder: Path) -> dict[str, Any]:
    """A run that stops in the middle and goes on ends as one that does not stop."""
    ends = {}
    for name, cuts in (("whole", (4,)), ("parts", (2, 4))):
        for budget in cuts:
            known = folder / name
            first = not known.exists()
            words = ["toy_vgrpo", "--budget.rounds", "4"]
            words += ["--folder", str(known), "--device", device]
            ends[name] = last_weights(known, words, None if budget == 4 else budget, first)
    off = max(float((ends["whole"][n] - t).abs().max()) for n, t in ends["parts"].items())
    return {"largest_difference": off, "equal": off == 0.0}


def last_weights(
    folder: Path, words: list[str], stop_after: int | None, first: bool
) -> dict[str, torch.Tensor]:
    """The live weights that a run, or the rest of it, leaves."""
    from scoreward.commands.train import build
    from scoreward.training.checkpoint import newest, read_snapshot

    run, _ = build(words[0], words[1:], "check")
    run = replace(run, folder=folder, evaluation=None, keeping=Keeping(every=1))
    for moment in run.start() if first else run.resume():
        if stop_after is not None and moment.round == stop_after:
            break
    path = newest(folder / "checkpoints")
    return {} if path is None else read_snapshot(path, "live")


def stages(device: str, folder: Path, only: set[str]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """All stages, the important ones first."""
    from tests.families import tiny

    yield "demo", lambda: demo(device, folder)
    yield "resume", lambda: resumed(device, folder / "resume")
    for name in tiny.PIPELINES:
        if not only or name in only:
            yield f"family {name}", lambda name=name: family(name, device, folder / "families")
    if Team("no", device).device.type == "cuda":
        yield "real size", lambda: real_size(device, folder / "real")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--device", default="auto")
    options.add_argument("--folder", type=Path, default=Path("runs/device"))
    options.add_argument("--families", default="", help="a few, separated by commas; default: all")
    given = options.parse_args()
    device, only = Team("no", given.device).device, set(filter(None, given.families.split(",")))
    notes = Notes(given.folder, float("inf") if device.type == "cpu" else LIMIT)
    notes.keep("about", about(device))
    with tempfile.TemporaryDirectory() as scratch:
        for name, work in stages(str(device), Path(scratch), only):
            notes.stage(name, work)
    notes.keep("total", {"seconds": round(notes.seconds(), 1)})
    if failed := [n for n, a in notes.answers.items() if "error" in a]:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
