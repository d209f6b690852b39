"""Rewards that take a known time per picture, and a process that serves them.

    python -m benchmarks.reward_server.work PORT STEPS      serves until it is stopped

`Busy` computes, in one thread, on the processor: STEPS matrix products and tanh for each picture.
`Asleep` sleeps, as a processor does while an accelerator works; its number is the mean brightness.
"""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from scoreward.rewards.remote.server import create_app, listen, serve

ROWS, WIDTH = 64, 256
PICTURES, PER_PICTURE = 64, 0.010  # of a round; seconds of the reward
KILL_AFTER = 0.1  # seconds into the round, which takes about 0.35 with two servers


@dataclass(frozen=True)
class Busy:
    """A recurrent network without a purpose, one picture after the other."""

    steps: int

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Tensor:
        weight = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(0)) / WIDTH**0.5
        return torch.stack([self.one(picture, weight) for picture in media])

    def one(self, picture: Tensor, weight: Tensor) -> Tensor:
        state = F.adaptive_avg_pool2d(picture, 8).reshape(-1, 1).expand(-1, WIDTH)[:ROWS] * 4 - 2
        for _ in range(self.steps):
            state = torch.tanh(1.5 * state @ weight + 0.1)
        return state.mean()


@dataclass(frozen=True)
class Asleep:
    """Brightness, after a sleep for each picture."""

    seconds: float

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Tensor:
        time.sleep(self.seconds * len(media))
        return media.flatten(1).mean(1)


def rewards(steps: int) -> dict[str, Busy | Asleep]:
    return {"busy": Busy(steps), "asleep": Asleep(PER_PICTURE)}


def main() -> None:
    torch.set_num_threads(1)
    port, steps = (int(word) for word in sys.argv[1:])
    bound = listen(port=port)
    serve(create_app(rewards(steps)), bound)


if __name__ == "__main__":
    main()
