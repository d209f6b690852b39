"""Every online method on the portraits with default settings: does it train, what does it cost?

    python -m benchmarks.online.everyone METHOD      one line of everyone.jsonl
    python -m benchmarks.online.everyone all         all of them, each in its own process

30,000 network evaluations, one seed, 256 test prompts. Nothing is tuned here; the comparison of
tuned methods is run.py's.
"""

import resource
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.online.run import HERE, cost_of, finished, save
from benchmarks.online.tasks import moved
from scoreward.commands.train import build
from scoreward.methods.pictures import GRADIENTS, PATHS, SAMPLES
from scoreward.training.folder import RunFolder
from scoreward.training.run import Budget, Keeping

EVALUATIONS = 30_000
FOLDER = Path("runs/everyone")
SIZES = {
    "fdfo": "--geometry.prompts 32 --geometry.group 2",
    "temp_flow": "--geometry.prompts 8 --geometry.group 6",  # at each of nine steps
}
USUAL = "--geometry.prompts 8 --geometry.group 8"


def methods() -> list[str]:
    """All online methods."""
    return [method.name for method in (*SAMPLES, *PATHS, *GRADIENTS)]


def measure(method: str) -> None:
    """Train, and keep the end with what it cost."""
    torch.set_num_threads(1)
    words = SIZES.get(method, USUAL).split()
    run, _ = build(f"portraits_{method}", words, "everyone")
    run, folder = moved(run, "portraits", "test"), FOLDER / method
    if run.evaluation is None:
        raise SystemExit(f"{method} has no evaluation")
    shutil.rmtree(folder, ignore_errors=True)
    samplers = {"ode": run.evaluation.samplers["ode"]}
    every = max(1, round(EVALUATIONS / cost_of(run)))
    run = replace(
        run,
        budget=Budget(evaluations=EVALUATIONS),
        optimizer=replace(run.optimizer, total=None),
        evaluation=replace(run.evaluation, samplers=samplers, every=every),
        keeping=Keeping(every=10_000, last=1),
        folder=folder,
    )
    curve = finished(run)
    names = ("reward", "judge", "strict", "diversity", "nearest", "palette", "drift")
    line = {"method": method, "words": " ".join(words)}
    line |= {name: [curve[name][0], curve[name][-1]] for name in names}
    line |= {"evaluations": curve["evaluations"][-1], "seconds": curve["seconds"][-1]}
    profile = RunFolder(folder).records("profile")[-1]
    line["share_in_network"] = profile["share_in_network"]
    line["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    save(HERE / "everyone.jsonl", line, ("method",))
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    if sys.argv[1:] != ["all"]:
        for method in sys.argv[1:]:
            measure(method)
        return
    for method in methods():
        subprocess.run([sys.executable, "-m", "benchmarks.online.everyone", method], check=True)


if __name__ == "__main__":
    main()
