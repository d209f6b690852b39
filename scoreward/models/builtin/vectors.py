"""Small networks for data without prompts or without shape: a residual MLP, and an adapter."""

from dataclasses import dataclass
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from scoreward.core.denoiser import Cond
from scoreward.models.builtin.transformer import modulated, waves, zero


@dataclass(frozen=True)
class VectorSize:
    """Sizes of the MLP."""

    hidden: int = 256  # channels
    depth: int = 4  # blocks
    classes: int = 0  # kinds of samples that a condition can name; 0 for none


class VectorNetwork(nn.Module):
    """(x_t, t, kind) → velocity for samples of any shape, read as vectors.

    A condition is one integer a sample, from 0 (nothing said) to `classes`. The output has a share
    of x_t itself, so that noise need not pass through fewer channels than there are numbers.
    """

    def __init__(self, shape: tuple[int, ...], size: VectorSize = VectorSize()) -> None:
        super().__init__()
        width = size.hidden
        self.size, self.shape = size, shape
        self.embed = nn.Linear(prod(shape), width)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.kinds = nn.Embedding(size.classes + 1, width)
        self.blocks = nn.ModuleList(Residual(width) for _ in range(size.depth))
        self.last = zero(nn.Linear(width, prod(shape)))
        self.share = zero(nn.Linear(width, 1))

    def forward(
        self, x: Float[Tensor, "batch *shape"], t: Float[Tensor, " batch"], cond: Cond = None
    ) -> Float[Tensor, "batch *shape"]:
        state = self.time(waves(t, self.size.hidden))
        if isinstance(cond, Tensor):
            state = state + self.kinds(cond.long())
        state, h = F.silu(state), self.embed(x.flatten(1))
        for block in self.blocks:
            h = block(h, state)
        return (self.last(h) + self.share(state) * x.flatten(1)).unflatten(1, self.shape)


class Residual(nn.Module):
    """An MLP, scaled, shifted and gated by the state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.modulation = zero(nn.Linear(width, 3 * width))

    def forward(
        self, x: Float[Tensor, "batch width"], state: Float[Tensor, "batch width"]
    ) -> Float[Tensor, "batch width"]:
        scale, shift, gate = self.modulation(state).chunk(3, -1)
        return torch.addcmul(x, 1 + gate, self.down(F.gelu(self.up(modulated(x, scale, shift)))))


class Wordless(nn.Module):
    """A network of pictures and prompts, asked without a prompt."""

    def __init__(self, network: nn.Module, text: int) -> None:
        super().__init__()
        self.network, self.text = network, text

    def forward(
        self, x: Float[Tensor, "batch *shape"], t: Float[Tensor, " batch"], cond: Cond = None
    ) -> Float[Tensor, "batch *shape"]:
        return self.network(x, t, x.new_zeros(len(x), 1, self.text))
