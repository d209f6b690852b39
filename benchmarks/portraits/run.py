"""V-GRPO on the pixel portraits against its controls.

    python benchmarks/portraits/run.py vgrpo --seed 0   one run, a line in results.jsonl
    python benchmarks/portraits/run.py all              everything, about 1.5 hours
    python benchmarks/portraits/run.py table            the figures of results.jsonl

Arms: `vgrpo` is what the demo runs; `unanchored` the same without anchor; `naive` without anchor,
with the verifier's confidence as reward and group-wise deviations; `pretraining` goes on with
pretraining for the same evaluations; `guidance` is the base with guidance 2.5 (twice the cost of a
sample). Measured on test prompts, whose attribute combinations nothing was trained or tuned on.
"""

import argparse
import fcntl
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import torch

from scoreward.core.advantage import Advantages
from scoreward.core.denoiser import Guided
from scoreward.models.builtin import portraits as builtin
from scoreward.objectives.samples.vgrpo import VGRPO
from scoreward.recipes import recipe
from scoreward.rewards.portraits import AttributeReward
from scoreward.tasks.builtin import HeldOut
from scoreward.tasks.portraits import PORTRAITS, verifier
from scoreward.training.evaluations.pictures import evaluate
from scoreward.training.folder import RunFolder
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Run
from scoreward.training.team import Team

HERE = Path(__file__).parent
RESULTS = HERE / "results.jsonl"
PROMPTS = 512
PLACES = ("folder", "origin")  # of one machine, so not kept
EVERY = 25  # rounds between evaluations
SEEDS = {"vgrpo": 3, "unanchored": 1, "naive": 1, "pretraining": 3}
COST = 192  # network evaluations of one pretraining step: 64 pictures, trained ones count three


def held_out(every: int) -> HeldOut:
    """Test prompts, more of them than in the demo."""
    return HeldOut(split="test", prompts=PROMPTS, every=every)


def vgrpo() -> Run:
    return recipe("vgrpo", on="portraits").run(held_out=held_out(EVERY))


def unanchored() -> Run:
    return recipe("vgrpo", on="portraits").run(
        objective=VGRPO(clip=None, anchor=0.0), held_out=held_out(EVERY)
    )


def naive() -> Run:
    """No anchor, the verifier's confidence as reward, each group divided by its own deviation."""
    run = recipe("vgrpo", on="portraits").run(
        objective=VGRPO(clip=None, anchor=0.0),
        advantages=Advantages(scale="group", floor=1e-4),
        held_out=held_out(EVERY),
    )
    confidence = AttributeReward(verifier("a"))
    return replace(run, source=replace(run.source, rewards={"confidence": confidence}))


def pretraining() -> Run:
    """The evaluations of the `vgrpo` arm spent on pretraining steps instead."""
    steps = evaluations_of("vgrpo") // COST
    settings = Optimizer(lr=5e-4, betas=(0.9, 0.99), weight_decay=1e-4, decay="linear", ema=0.99)
    return recipe("pretrain", on="portraits").run(
        optimizer=settings,
        geometry=Geometry(prompts=64 * 10, group=1, minibatches=10),
        budget=Budget(rounds=steps // 10),
        held_out=held_out(max(1, steps // 30)),
        start=Path(str(builtin.portraits.path)),
    )


ARMS: dict[str, Callable[[], Run]] = {
    "vgrpo": vgrpo,
    "unanchored": unanchored,
    "naive": naive,
    "pretraining": pretraining,
}


def train(arm: str, seed: int, runs: Path) -> None:
    """One run of one arm, and its line in results.jsonl."""
    folder = runs / f"{arm}-{seed}"
    shutil.rmtree(folder, ignore_errors=True)
    run = replace(ARMS[arm](), folder=folder, seed=seed)
    for moment in run.start():
        if moment.evaluation:
            ode = moment.evaluation["ode"]
            print(arm, seed, moment.round, {k: ode[k] for k in ("reward", "judge", "strict")})
    record(arm, seed, folder)


def record(arm: str, seed: int, folder: Path) -> None:
    """The curve of a run, without what only the folder needs."""
    lines = RunFolder(folder).records("evaluation")
    about = RunFolder(folder).about()
    curve = [
        {
            "round": line["round"],
            "seconds": line["seconds"],
            "evaluations": cost(line["evaluations"]),
            "ode": line["ode"],
            "sde": line["sde"],
        }
        for line in lines
    ]
    profile = RunFolder(folder).records("profile")[-1]
    save(
        {
            "arm": arm,
            "seed": seed,
            "prompts": PROMPTS,
            "share_in_network": profile["share_in_network"],
            "settings": {k: v for k, v in about["settings"].items() if k not in PLACES},
            "curve": curve,
        }
    )


def guidance() -> None:
    """The base model with guidance 2.5: no training, twice the evaluations per picture."""
    model = builtin.portraits()
    denoiser = Guided(model.denoiser, 2.5, model.null)
    numbers = evaluate(PORTRAITS.evaluation(held_out(1)), model, denoiser, Team()).numbers
    point = {"round": 0, "seconds": 0.0, "evaluations": 0, **numbers}
    save({"arm": "guidance", "seed": 0, "prompts": PROMPTS, "settings": {}, "curve": [point]})


def save(line: dict) -> None:
    """Add a line, replacing an earlier one of the same arm and seed; safe beside other runs."""
    with (HERE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = [r for r in results() if (r["arm"], r["seed"]) != (line["arm"], line["seed"])]
        rows = sorted([*kept, line], key=lambda r: (r["arm"], r["seed"]))
        RESULTS.write_text("".join(json.dumps(r) + "\n" for r in rows))


def results() -> list[dict]:
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text().splitlines()]


def cost(evaluations: dict[str, int]) -> int:
    """Behaviour + training forward + 2 × training backward."""
    trained = evaluations["training_forward"] + 2 * evaluations["training_backward"]
    return evaluations["behaviour"] + trained


def evaluations_of(arm: str) -> int:
    """Evaluations that the runs of an arm took in all."""
    taken = [r["curve"][-1]["evaluations"] for r in results() if r["arm"] == arm]
    if not taken:
        raise SystemExit(f"run the arm {arm!r} first: its evaluations are the budget of the others")
    return taken[0]


def table() -> None:
    """Mean and standard deviation over seeds of the last evaluation, before it the base."""
    rows = results()
    names = ("reward", "judge", "strict", "palette", "diversity", "nearest")
    print("arm", "sampler", *names, sep=" | ")
    for sampler in ("ode", "sde"):
        print_row("base", sampler, names, [r["curve"][0] for r in rows if r["arm"] == "vgrpo"][:1])
        for arm in ("guidance", *ARMS):
            print_row(arm, sampler, names, [r["curve"][-1] for r in rows if r["arm"] == arm])


def print_row(arm: str, sampler: str, names: tuple[str, ...], points: list[dict]) -> None:
    if not points:
        return
    cells = []
    for name in names:
        values = [p[sampler][name] for p in points]
        spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
        cells.append(f"{mean(values):.3f}{spread}")
    print(arm, sampler, *cells, sep=" | ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=[*ARMS, "guidance", "all", "table"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "table":
        return table()
    if options.what in ("guidance", "all"):
        guidance()
    for arm in ARMS if options.what == "all" else {options.what} & set(ARMS):
        for seed in range(SEEDS[arm]) if options.what == "all" else [options.seed]:
            train(arm, seed, options.runs)
    return None


if __name__ == "__main__":
    main()
