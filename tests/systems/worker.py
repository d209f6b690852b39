"""One process of a team: python -m tests.systems.worker FOLDER.  RANK and others as of torchrun."""

import sys
from pathlib import Path

import torch

from scoreward.training.team import Team
from tests.systems.cases import CASES, measured, outcome


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    team = Team()
    answers = {name: outcome(name, folder / name) for name in CASES}
    answers["measured"] = measured(folder / "measured")
    torch.save(answers | {"size": team.size}, folder / f"rank{team.rank}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
