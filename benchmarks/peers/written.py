"""A round of a public program written down: its samples, weights and gradient.  Plain torch.

python -m benchmarks.peers.written MODULE:NAME FOLDER FILE [OPTION...]
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import settings


def plain(name: str) -> str:
    """A parameter's name without what peft puts before it."""
    return name.removeprefix("base_model.model.")


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(1)
    settings.MAX_NORM = 1e9  # the gradient as it is
    module, _, name = sys.argv[1].partition(":")
    program = import_module(f"benchmarks.peers.{module}")
    arm = program.ARMS[name](Path(sys.argv[2]), *sys.argv[4:])
    network = arm.modules["denoiser"]
    for _ in range(2):
        arm.round()
    trained = {plain(n): p for n, p in network.named_parameters() if p.requires_grad}
    gradients: dict[str, Tensor] = {}

    def note(*_: Any) -> None:
        gradients.update({n: p.grad.clone() for n, p in trained.items() if p.grad is not None})

    weights = {n: p.detach().clone() for n, p in trained.items()}
    arm.inner_optimizer.register_step_pre_hook(note)
    batches = arm.watched()
    arm.round()
    torch.save({"weights": weights, "gradients": gradients, "batches": batches}, sys.argv[3])


if __name__ == "__main__":
    main()
