"""One process of a team that trains in fewer bits: python -m tests.systems.precise FOLDER."""

import os
import sys
from pathlib import Path

import torch

from tests.training.readings import question, said, trainer

METHODS = ("portraits_vgrpo", "portraits_flow_grpo", "portraits_diffusion_nft", "text_dpo")
PRECISIONS = ("no", "bf16", "fp16")


def outcome(name: str, precision: str, folder: Path) -> dict[str, torch.Tensor]:
    """First answer, the reference's after two rounds, the live one, and the weights."""
    made = trainer(name, precision, False, folder)
    asked = question(name, made.model)
    first = said(made.reading("reference")(*asked))
    for _ in range(2):
        made.step()
    weights = torch.cat([p.detach().flatten() for p in made.weights.parameters.values()])
    after, live = (said(made.reading(n)(*asked)) for n in ("reference", "ema"))
    return {"first": first, "after": after, "live": live, "weights": weights}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    answers = {
        f"{name} {precision}": outcome(name, precision, folder / precision)
        for name in METHODS
        for precision in PRECISIONS
    }
    torch.save(answers, folder / f"rank{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
