"""Reference curves: each recipe with its own settings, as `scoreward diagnose` compares runs to.

    python -m benchmarks.diagnose.references portraits_vgrpo portraits_mixgrpo ...

One run each, seed 0, no evaluations: the mean reward of every round and what it had cost.
"""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import torch

import scoreward
from scoreward.commands.train import build
from scoreward.training.folder import RunFolder

TARGET = Path(scoreward.__file__).parent / "assets" / "references.jsonl"


def curve(recipe: str, folder: Path) -> dict:
    """A run of the recipe as it is."""
    shutil.rmtree(folder, ignore_errors=True)
    run, _ = build(recipe, [], "reference")
    for _ in replace(run, evaluation=None, folder=folder).start():
        pass
    if (status := RunFolder(folder).about()["status"]) != "finished":
        raise SystemExit(f"{folder} was {status}; nothing is written for it")
    rounds = RunFolder(folder).records("round")
    spent = [r["evaluations"] for r in rounds]
    return {
        "recipe": recipe,
        "seed": 0,
        "lr": run.optimizer.lr,
        "reward": [round(r["reward/mean"], 5) for r in rounds],
        "evaluations": [
            s["behaviour"] + s["training_forward"] + 2 * s["training_backward"] for s in spent
        ],
    }


def main() -> None:
    torch.set_num_threads(1)
    for recipe in sys.argv[1:]:
        line = curve(recipe, Path("runs/reference") / recipe)
        kept = TARGET.read_text().splitlines() if TARGET.exists() else []
        kept = [x for x in kept if json.loads(x)["recipe"] != recipe]
        TARGET.write_text("".join(x + "\n" for x in sorted([*kept, json.dumps(line)])))
        print(recipe, line["reward"][0], "->", line["reward"][-1], flush=True)


if __name__ == "__main__":
    main()
