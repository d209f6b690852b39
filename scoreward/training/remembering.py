"""Answers of the rollout kept with their graphs, so that an on-policy update need not ask again.

With one update per round the network that samples is the network that is trained. Where the path
is trained on its own states, the rollout has already made the forward pass of the update; keeping
its activations saves that pass, a third of the cost of a trained transition, for memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from scoreward.core.denoiser import Cond, Denoiser
from scoreward.core.prediction import Kind, Prediction


@dataclass
class Remembering:
    """A denoiser that answers with `old`, and at some steps with `current`, keeping those graphs.

    It counts its calls to know the step, since to read the time from a device is to wait for it:
    `begin` a chain before each. `steps` says of every call of a chain which step it is of.
    """

    old: Denoiser
    current: Denoiser
    steps: Sequence[int]
    kept: Sequence[int]
    kind: Kind
    graphs: list[Tensor] = field(default_factory=list)
    calls: int = 0

    def begin(self) -> None:
        """The next call is the first of a chain."""
        self.calls = 0

    def __call__(self, x_t: Tensor, t: Tensor, cond: Cond) -> Prediction:
        step, self.calls = self.steps[self.calls], self.calls + 1
        if step not in self.kept:
            return self.old(x_t, t, cond)
        with torch.enable_grad():
            prediction = self.current(x_t, t, cond)
            answer = prediction.as_(self.kind)
        self.graphs.append(answer)
        return Prediction.of(self.kind, answer.detach(), x_t, t, prediction.process)


def finish_backward(graphs: Sequence[Tensor], collected: Tensor) -> None:
    """Pass the gradients collected at the answers on to the network, piece by piece."""
    if collected.grad is None:
        return
    torch.autograd.backward(list(graphs), list(collected.grad.split([len(g) for g in graphs])))
