"""A problem whose numbers can be worked out by hand."""

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.studies.control.sde import Environment


@dataclass(frozen=True, kw_only=True)
class Clock(Environment):
    """Moves by a·t, is paid its position at the horizon, may not go above `roof`."""

    roof: float = inf

    @property
    def sizes(self) -> tuple[int, int, int]:
        return 1, 1, 1

    def drift(self, x: Tensor, a: Tensor, t: Tensor) -> Tensor:
        return a * t[:, None]

    def diffusion(self, x: Tensor, a: Tensor, t: Tensor) -> Tensor:
        return x.new_zeros(1, 1, 1)

    def reward(self, x: Tensor, a: Tensor, t: Tensor) -> Tensor:
        return t

    def start(self, count: int, key: Key) -> Tensor:
        return torch.zeros(count, 1, dtype=torch.float64)

    def terminal(self, x: Tensor) -> Tensor:
        return x[:, 0]

    def confine(self, x: Tensor, t: Tensor) -> Tensor:
        return x.clamp(max=self.roof)
