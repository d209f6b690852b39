"""One process of a team that trains on texts: python -m tests.systems.text_worker FOLDER."""

import os
import sys
from pathlib import Path

import torch
from torch import Tensor

from scoreward.training.geometry import Geometry
from tests.objectives.texts import moved, named, tales, trainer_of

NAMES = ("rainbow_po", "aot_unpaired", "bco", "kto")


def trained(name: str, folder: Path) -> dict[str, Tensor]:
    """Weights after two rounds of five pairs, and what the method kept of them."""
    folder.mkdir(parents=True, exist_ok=True)
    trainer = trainer_of(named(name), folder, tales(7), Geometry(prompts=5, group=1))
    moved(trainer)
    losses = [trainer.step().metrics["loss"] for _ in range(2)]
    live = torch.cat([p.detach().flatten() for p in trainer.weights.parameters.values()])
    return {"live": live, "losses": torch.tensor(losses)} | trainer.memory


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    found = {name: trained(name, folder / "team") for name in NAMES}
    torch.save(found, folder / f"rank{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
