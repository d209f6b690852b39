"""Run by test_devices.py in a process of its own: commands, and waits, on a device like a card.

python -m tests.systems.on_device_commands commands|waits float64|float32 FOLDER
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from scoreward import cli
from scoreward.commands.serve import ServeOptions
from scoreward.commands.train import build
from scoreward.core.chain import Sampler, draw, rollout, uniform
from scoreward.core.kernel import DDIM, DPMSolverPP, EulerMaruyama, Heun, flow_sde, generalised
from scoreward.core.keys import Key, normal_each
from scoreward.core.process import DiscreteVP, Process, time_grid
from scoreward.methods.sampling import Noisy
from scoreward.objectives.paths.flow_grpo import FlowGRPO
from scoreward.tasks.toy import corner_of, toy_model
from scoreward.training.clock import Clock
from scoreward.training.geometry import Geometry
from scoreward.training.run import Keeping, Run
from scoreward.training.sources.online import Online
from scoreward.training.trainer import Trainer
from tests.support import fake_device
from tests.systems.on_device import _pipeline, attempt, begin, told, words_of

HELD_OUT = ["--held-out.prompts", "2", "--held-out.steps", "2"]
ROUND = ["--geometry.prompts", "2", "--geometry.group", "2"]
WORDS = "a happy person"


def done(*words: str) -> None:
    if (code := cli.main([str(word) for word in words])) != 0:
        raise AssertionError(f"scoreward {' '.join(map(str, words))} ended with {code}")


def trained(folder: Path, recipe: str, *words: str, device: str = "fake:0") -> None:
    """A run that says where it was made."""
    done("train", recipe, "--folder", str(folder), *words)
    made = json.loads((folder / "run.json").read_text())["device"]
    if made != device:
        raise AssertionError(f"made on {made}, expected {device}")


def left(folder: Path, recipe: str, words: Sequence[str], device: str) -> None:
    """A run that was left after its first round, with a checkpoint."""
    words = [*words, "--budget.rounds", "2", "--device", device]
    run = replace(build(recipe, words, "test")[0], folder=folder, keeping=Keeping(every=5))
    for moment in run.start():
        if moment.round == 1:
            break


def resumed(folder: Path, recipe: str, device: str, *more: str) -> None:
    """Left on one device and gone on with, on the same or on another."""
    left(folder, recipe, [*ROUND, *HELD_OUT], device)
    done("resume", str(folder), *more)


def commands(folder: Path) -> dict[str, Callable[[], None]]:
    run, cut = folder / "run", ["--budget.rounds", "2", *ROUND, *HELD_OUT]
    gap = ["--etas", "1", "--steps", "2", "--converged", "0", "--prompts", "2", "--noises", "1"]
    small = ["--geometry.minibatches", "1", "--size.depth", "1", "--budget.rounds", "1"]
    curated = ["--plan.attempts", "1", "--plan.candidates", "1", "--plan.batch", "4"]
    pipeline = ["--model", str(_pipeline(folder, "sd15")), "--loading.height", "32"]

    def sampled(*words: str) -> Callable[[], None]:
        return lambda: done("sample", *words, "--count", "2", "--out", str(folder / "a.png"))

    return {
        "train": lambda: trained(run, "portraits_vgrpo", *cut, "--seed", "1"),
        "train there": lambda: trained(
            folder / "there", "toy_vgrpo", "--budget.rounds", "1", "--device", "fake:1",
            device="fake:1",
        ),
        "train on the cpu": lambda: trained(
            folder / "here", "toy_vgrpo", "--budget.rounds", "1", "--device", "cpu", device="cpu"
        ),
        "resume": lambda: resumed(folder / "r0", "portraits_vgrpo", "auto"),
        "resume with a critic": lambda: resumed(folder / "r1", "portraits_dpok", "auto"),
        "resume of the cpu's": lambda: resumed(
            folder / "r2", "portraits_dpok", "cpu", "--device", "fake"
        ),
        "resume on the cpu": lambda: resumed(
            folder / "r3", "portraits_dpok", "fake", "--device", "cpu"
        ),
        "resume elsewhere": lambda: resumed(
            folder / "r4", "portraits_score_as_action", "fake", "--device", "fake:1"
        ),
        "pretrain": lambda: done(
            "pretrain", "--folder", str(folder / "p"), "--geometry.prompts", "4", *small, *HELD_OUT
        ),
        "sample": sampled(WORDS),
        "sample a run": sampled(WORDS, "--run", str(run), "--guidance", "2"),
        "sample letters": sampled("CAFE", "--built-in", "lettering", "--sampling.eta", "1"),
        "sample emoji": sampled("red heart", "--built-in", "emoji", "--sampling.solver", "heun"),
        "evaluate": lambda: done("evaluate", *HELD_OUT, "--held-out.gap.etas", "1",
                                 "--held-out.gap.steps", "2", "--held-out.gap.converged", "3"),
        "gap": lambda: done("gap", str(run), "--again", *gap),
        "diagnose": lambda: done("diagnose", str(run), "--rounds", "4"),
        "export": lambda: done("export", str(run), "--to", str(folder / "e"), "--device", "fake"),
        "curate": lambda: done(
            "curate", "portraits", "--pairs", "1", "--folder", str(folder / "c"), *curated
        ),
        "plan": lambda: done("plan", "sd15_vgrpo", *pipeline, "--loading.width", "48"),
        "serve-reward": lambda: served("auto"),
        "report": lambda: done("report", str(run)),
    }  # fmt: skip


def served(device: str) -> None:
    where = ServeOptions(["contrast"], device=device).serving().batching.device
    if where != "fake:0":
        raise AssertionError(f"rewards would get their media on {where}")


def waits() -> int:
    """Times that the host has waited for the device."""
    return sum(fake_device.count(what) for what in ("item", "read", "write", "wait"))


def counted(work: Callable[[], object]) -> int:
    work()  # what is made once
    before = waits()
    work()
    return waits() - before


def chains(steps: int) -> dict[str, tuple[Sampler, Process]]:
    """Every kind of step, on a process of formulas and on one of tables."""
    flow, table = toy_model().process, DiscreteVP()
    kernels = {
        "ode": DDIM(generalised(0.0)),
        "sde": DDIM(generalised(1.0)),
        "heun": Heun(),
        "dpm": DPMSolverPP(),
        "flow_sde": EulerMaruyama(flow_sde(0.7, at_one=0.9)),
    }
    made = {name: (uniform(kernel, steps), flow) for name, kernel in kernels.items()}
    tables = {n: k for n, k in kernels.items() if n != "flow_sde"}
    return made | {f"{n}, table": (uniform(k, steps), table) for n, k in tables.items()}


def drawn(sampler: Sampler, process: Process, every: bool) -> int:
    """Waits of a chain."""
    model = replace(toy_model(), process=process)
    model.network.to("fake")
    keys = [Key((i,)) for i in range(4)]
    x, cond = normal_each(keys, (2,)).to("fake"), corner_of(["north east"] * 4).to("fake")
    walk = rollout if every else draw
    return counted(lambda: walk(sampler, model.denoiser, x, keys, cond))


def collected(steps: int, remember: int) -> int:
    """Waits of a whole round's rollout and scoring."""
    run = build("toy_vgrpo", [], "test")[0]
    assert isinstance(run.source, Online)
    geometry = Geometry(prompts=2, group=4, remember=remember)
    source = replace(run.source, geometry=geometry, rollout=Noisy(steps=steps).sampler())
    return of_round(replace(run, source=source, objective=FlowGRPO(kl=0.0)))


def of_pipeline(recipe: str, steps: int, folder: Path) -> int:
    """The same of a network of diffusers, in more steps than it asks for."""
    run = build(recipe, words_of(recipe, folder), "test")[0]
    assert isinstance(run.source, Online)
    times = tuple(0.99 * t for t in time_grid(steps))
    kernel = run.source.sampler(0).kernels[0]
    return of_round(
        replace(run, source=replace(run.source, rollout=Sampler(times, (kernel,) * steps)))
    )


def of_round(run: Run) -> int:
    source = run.source
    trainer = Trainer(
        run.model, run.objective, source, run.optimizer, run.team(), guidance=run.guidance
    )

    def work() -> Tensor:
        made, _ = trainer.work(1)
        with torch.no_grad():
            return source.collect(1, trainer.key, made).samples.x0

    return counted(work)


def timed(sections: int) -> int:
    """Waits of a clock, which measures all the same."""
    clock, before = Clock(device=torch.device("fake", 0)), waits()
    for _ in range(sections):
        with clock.section("forward"):
            time.sleep(0.001)
    clock.settle()
    if not clock.seconds["forward"] >= 0.001 * sections:
        raise AssertionError(f"{sections} sections of a millisecond took {clock.seconds}")
    return waits() - before


def refusals() -> dict[str, Callable[[], object]]:
    """What a card does not do, and this device must not do either."""
    here = torch.ones(3)
    one, other = here.to("fake:0"), here.to("fake:1")
    return {
        "cpu": lambda: one + here,
        "other": lambda: torch.cat([one, other]),
        "network": lambda: torch.nn.Linear(3, 1)(one),
        "convolution": lambda: torch.nn.Conv1d(1, 1, 1)(one[None, None]),
        "in place": lambda: here.add_(one),
        "generator": lambda: torch.rand(3, generator=torch.Generator(), device="fake"),
        "float64": lambda: one.double(),
    }


def main(words: list[str]) -> None:
    what, wide, folder = words
    begin(wide, Path(folder))
    if what == "refusals":
        for name, do in refusals().items():
            told(mixed=name, error=attempt(lambda: (do(), None)[1]))  # noqa: B023
        return
    if what == "commands":
        for name, do in commands(Path(folder)).items():
            told(command=name, error=attempt(do))
        return
    for every in (False, True):
        short, long = chains(4), chains(12)
        for name in short:
            told(sampler=name, few=drawn(*short[name], every), many=drawn(*long[name], every))
    told(sampler="clock", few=timed(4), many=timed(12))
    for remember in (0, 1000):
        told(sampler=f"round, {remember} kept", few=collected(4, remember),
             many=collected(12, remember))  # fmt: skip
    for recipe in ("sd15_ddpo", "sdxl_ddpo", "sd35_vgrpo", "flux_vgrpo", "kontext_vgrpo"):
        few, many = (of_pipeline(recipe, steps, Path(folder)) for steps in (4, 8))
        told(sampler=recipe, few=few, many=many)


if __name__ == "__main__":
    main(sys.argv[1:])
