"""The two-dimensional toy: three Gaussians, a bounded reward, and a model that starts exact.

The velocity is the exact one of the mixture plus a small network that starts at zero, so before
training there is no model error, and the gap at the start is that of the mixture itself.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from scoreward.core.process import RectifiedFlow
from scoreward.models.analytic import ExactDenoiser, Mixture
from scoreward.models.base import Model

DATA = Mixture(
    means=torch.tensor([[-1.5, 0.0], [1.0, 1.2], [1.0, -1.2]]),
    variances=torch.tensor([0.16, 0.16, 0.16]),
    weights=torch.tensor([1 / 3, 1 / 3, 1 / 3]),
)
WIDTH = 64


def reward(media: Tensor, prompts: Sequence[str]) -> Tensor:
    """sigmoid(2 x₁) exp(−x₂²/2): in [0, 1], highest far to the right between two of the modes."""
    return torch.sigmoid(2 * media[:, 0]) * torch.exp(-0.5 * media[:, 1] ** 2)


class Steered(nn.Module):
    """Exact velocity of the mixture plus what is trained."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Linear(6, WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU()
            )
            self.out = nn.Linear(WIDTH, 2)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.exact = ExactDenoiser(DATA, RectifiedFlow())

    def forward(self, x: Tensor, t: Tensor, cond: Tensor) -> Tensor:
        time = t[:, None]
        waves = [torch.sin(3 * time), torch.cos(3 * time), time]
        change = self.out(self.layers(torch.cat([x, *waves, time**2], 1)))
        return self.exact(x, t).as_("velocity") + change


def model(seed: int) -> Model:
    """The toy as a model whose prompts say nothing."""

    def encode(prompts: Sequence[str]) -> Tensor:
        return torch.zeros(len(prompts), 1)

    flow = RectifiedFlow()
    return Model(Steered(seed), flow, "velocity", (2,), encode, lambda x: x, lambda cond: cond)
