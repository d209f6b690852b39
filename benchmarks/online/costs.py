"""What a round of each method costs: network evaluations, seconds, memory, time inside the network.

    python benchmarks/online/costs.py            online methods, each in its own process; costs.json
    python benchmarks/online/costs.py METHOD     one method, as JSON

Rounds of 8 prompts × 8 samples on the portraits, or as near to it as a method's groups allow. The
first round also checks the ratio and is left out; of the following ones the median is kept.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import torch

from scoreward.commands.train import build
from scoreward.methods.pictures import GRADIENTS, PATHS, SAMPLES
from scoreward.training.team import Team
from scoreward.training.trainer import Evaluations, Trainer

HERE = Path(__file__).parent
ROUNDS = 4
SIZES = ["--geometry.prompts", "8", "--geometry.group", "8"]
OTHERS = {
    "branch_grpo": ["--geometry.prompts", "8"],  # its group is what its tree has leaves
    "temp_flow": ["--geometry.prompts", "8", "--geometry.group", "6"],  # branches of a start
    "fdfo": ["--geometry.prompts", "32", "--geometry.group", "2"],  # pairs
}


def measure(method: str) -> dict:
    """Evaluations, CPU seconds and peak memory of a round."""
    torch.set_num_threads(1)
    run, _ = build(f"portraits_{method}", OTHERS.get(method, SIZES), "costs")
    trainer = Trainer(run.model, run.objective, run.source, run.optimizer, Team())
    trainer.step()
    rows = []
    for _ in range(ROUNDS):
        before, start = Evaluations(**vars(trainer.evaluations)), time.process_time()
        inside = sum(trainer.clock.seconds[k] for k in ("forward", "backward"))
        wall = time.perf_counter()
        trainer.step()
        after = trainer.evaluations
        spent = {k: v - vars(before)[k] for k, v in vars(after).items()}
        spent["evaluations"] = after.total - before.total
        now = sum(trainer.clock.seconds[k] for k in ("forward", "backward"))
        rows.append(
            {
                **spent,
                "seconds": time.process_time() - start,
                "share_in_network": (now - inside) / (time.perf_counter() - wall),
            }
        )
    line = {k: median(r[k] for r in rows) for k in rows[0]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"method": method, **line, "peak_gib": peak}


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return
    found = []
    for method in (*SAMPLES, *PATHS, *GRADIENTS):
        words = [sys.executable, __file__, method.name]
        answer = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        found.append(json.loads(answer.splitlines()[-1]))
        print(found[-1], flush=True)
    (HERE / "costs.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
