"""Train arms of preference methods on the portraits and append what came out to a JSONL file.

    python benchmarks/preferences/arms.py tune        choices, on validation prompts
    python benchmarks/preferences/arms.py test        Diffusion-DPO as shipped, on test prompts
    python benchmarks/preferences/arms.py methods     every other method, on test prompts
    python benchmarks/preferences/arms.py rainbow     RainbowPO's components

An arm is a method on the portraits with options, named by both. What is already in the file is not
done again.
"""

import json
import shlex
import sys
import tempfile
import time
from pathlib import Path

import torch

from scoreward.commands.train import build
from scoreward.methods.pictures import PAIRS
from scoreward.training.folder import RunFolder

HERE = Path(__file__).parent
SEEDS = (0, 1, 2)
ON_STEPS = ("d3po", "spo", "lpo")


def tune() -> list[str]:
    """β and learning rate of Diffusion-DPO."""
    short = "portraits_diffusion_dpo --held-out.split validation --budget.rounds 150"
    return [
        f"{short} --objective.beta {beta} --optimizer.lr {lr}"
        for beta, lr in [(100, 1e-4), (500, 1e-4), (2000, 1e-4), (500, 5e-5), (500, 2e-4)]
    ]


def test() -> list[str]:
    """Diffusion-DPO as shipped, on test prompts."""
    return [f"portraits_diffusion_dpo --seed {seed}" for seed in SEEDS]


def methods() -> list[str]:
    """Every other method as shipped, on test prompts."""
    return [f"portraits_{method}" for method in (*(one.name for one in PAIRS[1:]), *ON_STEPS)]


def rainbow() -> list[str]:
    """One component at a time, at equal updates; γ needs α < 1, φ is β by the gap of scores."""
    start = "portraits_rainbow_po --held-out.split validation --budget.rounds 75"
    arms = [
        "--objective.alpha 1.0",
        "--objective.alpha 0.95",
        "--objective.alpha 0.95 --objective.no-centred",
        "--objective.alpha 0.95 --objective.gamma 1e-3",
        "--objective.phi gap --objective.beta 410",
    ]
    return [f"{start} {arm} --seed {seed}" for seed in SEEDS[:2] for arm in arms]


GROUPS = {"tune": tune, "test": test, "methods": methods, "rainbow": rainbow}


def main() -> None:
    group = sys.argv[1] if len(sys.argv) > 1 else ""
    if group not in GROUPS:
        raise SystemExit(f"say which: {', '.join(GROUPS)}")
    torch.set_num_threads(1)
    path = HERE / f"{group}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    done = {json.loads(line)["arm"] for line in lines}
    for arm in GROUPS[group]():
        if arm in done:
            continue
        result = trained(arm)
        print(json.dumps(result), flush=True)
        with path.open("a") as stream:
            stream.write(json.dumps(result) + "\n")


def trained(arm: str) -> dict:
    """Train an arm; what its first and its last evaluation say."""
    recipe, *words = shlex.split(arm)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        whole = ["--folder", f"{folder}/run", "--held-out.every", "10000", *words]
        run, _ = build(recipe, whole, "arms")
        made = time.perf_counter() - start
        for _ in run.start():
            pass
        records = RunFolder(run.folder)
        before, after = (records.records("evaluation")[i] for i in (0, -1))
        last = records.records("round")[-20:]
    return {
        "arm": arm,
        "before": picked(before),
        "after": picked(after),
        "pairs_seconds": round(made, 1),
        "seconds": round(after["wall"], 1),
        "rows": {name: mean(last, name) for name in ("loss", *sorted(told(last)))},
    }


def told(records: list[dict]) -> set[str]:
    """The metrics of errors and of the implicit reward."""
    starts = ("error/", "implicit/", "gain/", "safeguard/")
    return {name for name in records[-1] if name.startswith(starts)}


def mean(records: list[dict], name: str) -> float:
    return round(sum(r[name] for r in records) / len(records), 5)


def picked(evaluation: dict) -> dict:
    """The numbers that decide, rounded."""
    names = ("reward", "judge", "strict", "nearest", "diversity", "drift")
    found = {
        sampler: {n: round(evaluation[sampler][n], 4) for n in names if n in evaluation[sampler]}
        for sampler in ("ode", "sde")
    }
    probes = evaluation.get("probes", {})
    return found | {"pairs": {k: round(v, 4) for k, v in probes.items()}}


if __name__ == "__main__":
    main()
