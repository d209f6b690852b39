"""One process of a team: python -m tests.systems.worker FOLDER.  RANK and others as of torchrun."""

import atexit
import os
import sys
from pathlib import Path

import torch

from scoreward.training.team import Team
from tests.systems.cases import CASES, measured, outcome


def threads(path: Path) -> None:
    """Write down the names of the threads that live."""
    path.write_text(" ".join(p.read_text().strip() for p in Path("/proc/self/task").glob("*/comm")))


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    # registered before the team's own, so it runs after it: what the interpreter would be left with
    atexit.register(threads, folder / f"rank{os.environ['RANK']}.threads")
    team = Team()
    answers = {name: outcome(name, folder / name) for name in CASES}
    answers["measured"] = measured(folder / "measured")
    torch.save(answers | {"size": team.size}, folder / f"rank{team.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
