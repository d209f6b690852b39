"""A learned energy: one number per picture, low on data and high on samples.

The network and its Adam moments are two kinds of flat vectors in `Policy.memory`, so a checkpoint
holds them and resuming is exact.
"""

from dataclasses import dataclass
from functools import lru_cache
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from scoreward.core.denoiser import Cond
from scoreward.core.keys import Key
from scoreward.core.rows import whole

WEIGHTS, MEAN, SPREAD, STEPS = (f"energy/{name}" for name in ("weights", "mean", "spread", "steps"))


@dataclass(frozen=True)
class EnergyInput:
    """What an energy is a function of: pictures [channels, height, width] or vectors [values]."""

    shape: tuple[int, ...]
    cond: int  # channels of a condition's vectors, 0 without one
    timed: bool  # whether it sees the time of a state
    width: int = 128  # ours


class Energy(nn.Module):
    """(x, t, vectors of the prompt) → energy: three convolutions, or one layer for vectors.

    Each phrase of a prompt is read on its own before the mean over phrases, or "a red hat, a green
    shirt" would be the same prompt as "a green hat, a red shirt".
    """

    def __init__(self, layout: EnergyInput) -> None:
        super().__init__()
        self.layout, width = layout, layout.width
        self.trunk = convolutions(layout.shape) if len(layout.shape) == 3 else nn.Flatten()
        inside = prod(layout.shape)
        if len(layout.shape) == 3:
            inside = 96 * prod(-(-side // 4) for side in layout.shape[1:])
        self.first = nn.Linear(inside + layout.timed, width)
        self.phrase = nn.Linear(layout.cond, width) if layout.cond else None
        self.prompt = nn.Linear(width, width) if layout.cond else None
        self.second, self.last = nn.Linear(width, width), nn.Linear(width, 1)

    def forward(
        self, x: Float[Tensor, "batch *shape"], t: Float[Tensor, " batch"], cond: Tensor | None
    ) -> Float[Tensor, " batch"]:
        seen = self.trunk(x)
        hidden = self.first(torch.cat([seen, t[:, None]], 1) if self.layout.timed else seen)
        if self.phrase is not None and self.prompt is not None and cond is not None:
            hidden = hidden + self.prompt(F.silu(self.phrase(cond)).mean(1))
        return self.last(F.silu(self.second(F.silu(hidden))))[:, 0]


def convolutions(shape: tuple[int, ...]) -> nn.Sequential:
    """To a quarter of the side, 96 channels."""
    return nn.Sequential(
        *(nn.Conv2d(shape[0], 32, 3, padding=1), nn.SiLU()),
        *(nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.SiLU()),
        *(nn.Conv2d(64, 96, 3, stride=2, padding=1), nn.SiLU(), nn.Flatten()),
    )


@lru_cache(maxsize=8)
def skeleton(layout: EnergyInput) -> Energy:
    """The network without weights."""
    with torch.device("meta"):
        return Energy(layout)


def fresh(layout: EnergyInput, key: Key) -> Float[Tensor, " weights"]:
    """Weights of scale 1/√inputs, zero biases, and a last layer of zeros: the energy 0."""
    parts = []
    for name, p in skeleton(layout).named_parameters():
        scale = 0.0 if p.ndim == 1 or name == "last.weight" else prod(p.shape[1:]) ** -0.5
        parts.append(scale * (key / name).normal(p.numel()))
    return torch.cat(parts)


def energy(
    layout: EnergyInput,
    weights: Float[Tensor, " weights"],
    x: Float[Tensor, "batch *shape"],
    t: Float[Tensor, " batch"],
    cond: Cond,
) -> Float[Tensor, " batch"]:
    """The energy of states, differentiable in the weights and in x."""
    network = skeleton(layout)
    sizes = {name: p.shape for name, p in network.named_parameters()}
    parts = weights.to(x).split([size.numel() for size in sizes.values()])
    named = {n: part.view(s) for (n, s), part in zip(sizes.items(), parts, strict=True)}
    given = phrases(cond)
    return functional_call(network, named, (x, t, None if given is None else given.to(x)))


def phrases(cond: Cond) -> Tensor | None:
    """A condition as vectors [batch, phrases, channels], None without one.  ValueError else."""
    given = whole(cond)
    if given is None:
        return None
    if not isinstance(given, Tensor) or given.ndim not in (1, 2, 3):
        raise ValueError(
            "the energy reads conditions that are class numbers [batch], vectors [batch, channels] "
            f"or phrases [batch, phrases, channels]; got {type(given).__name__}, so give the model "
            "another `encode`, or train without a condition"
        )
    return given if given.ndim == 3 else given.reshape(len(given), 1, -1)


@torch.no_grad()
def adam(memory: dict[str, Tensor], slope: Tensor, rate: float, betas: tuple[float, float]) -> None:
    """One step of Adam, without weight decay, on the weights in memory."""
    k, slope = float(memory[STEPS]) + 1, slope.detach().to(memory[WEIGHTS])
    mean = torch.lerp(slope, memory[MEAN], betas[0])
    spread = torch.lerp(slope.square(), memory[SPREAD], betas[1])
    scale = (spread / (1 - betas[1] ** k)).sqrt() + 1e-8
    memory[WEIGHTS] = memory[WEIGHTS] - rate / (1 - betas[0] ** k) * mean / scale
    memory[MEAN], memory[SPREAD], memory[STEPS] = mean, spread, torch.tensor(k)
