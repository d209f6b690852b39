"""The network of the built-in models: a small rectified-flow transformer on square patches.

Image tokens attend to themselves and to the vectors of the prompt. Text gives keys and values only,
so it costs little; time and the mean vector modulate every block (adaLN-zero). With 16 tokens, as
for portraits, it has 2.8 M parameters and takes 0.2 CPU-seconds for forward and backward of 64
pictures on one thread.
"""

from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from safetensors.torch import load
from torch import Tensor, nn
from torch.nn import functional as F

from scoreward.data.waves import place_waves


@dataclass(frozen=True)
class NetworkSize:
    """Sizes of the network; the weights of the portraits have the defaults."""

    hidden: int = 128  # channels of a token
    depth: int = 8  # blocks
    heads: int = 4  # of attention
    patch: int = 4  # pixels of a token's side
    text: int = 256  # channels of a prompt's vectors
    places: Literal["random", "waves"] = "random"  # how the tokens' places start

    def __post_init__(self) -> None:
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"`hidden` must be a multiple of 2 x heads, got hidden={self.hidden}, "
                f"heads={self.heads}"
            )


class PatchTransformer(nn.Module):
    """(x_t, t, vectors of the prompt) → velocity ε − x0, for pictures of one shape."""

    def __init__(self, shape: tuple[int, int, int], size: NetworkSize) -> None:
        super().__init__()
        self.size, self.shape = size, shape
        channels, height, across = shape
        if height % size.patch or across % size.patch:
            raise ValueError(
                f"`patch` must divide the pictures' {height} x {across} pixels, got {size.patch}"
            )
        width, values = size.hidden, channels * size.patch**2
        self.embed = nn.Linear(values, width)
        grid = (height // size.patch, across // size.patch)
        start = torch.randn(grid[0] * grid[1], width) * 0.02
        if size.places == "waves":
            start = places(grid, size.patch, width)
        self.position = nn.Parameter(start)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.text = nn.Sequential(
            nn.Linear(size.text, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )
        self.pool = nn.Linear(width, width)
        self.blocks = nn.ModuleList(Block(width, size.heads) for _ in range(size.depth))
        self.modulation = zero(nn.Linear(width, 2 * width))
        self.last = zero(nn.Linear(width, values))

    def forward(
        self,
        x: Float[Tensor, "batch channels height width"],
        t: Float[Tensor, " batch"],
        cond: Float[Tensor, "batch vectors text"],
    ) -> Float[Tensor, "batch channels height width"]:
        phrases = self.text(cond)
        state = F.silu(self.time(waves(t, self.size.hidden)) + self.pool(phrases.mean(1)))
        tokens = self.embed(to_patches(x, self.size.patch)) + self.position
        for block in self.blocks:
            tokens = block(tokens, phrases, state)
        scale, shift = self.modulation(state).unsqueeze(1).chunk(2, -1)
        return to_pixels(self.last(modulated(tokens, scale, shift)), self.shape, self.size.patch)


class Block(nn.Module):
    """Attention and MLP, each scaled, shifted and gated by the state."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.modulation = zero(nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, phrases: Tensor, state: Tensor) -> Tensor:
        a, b, c, d, e, f = self.modulation(state).unsqueeze(1).chunk(6, -1)
        x = torch.addcmul(x, c, self.attention(modulated(x, a, b), phrases))
        return torch.addcmul(x, f, self.down(F.gelu(self.up(modulated(x, d, e)))))


class Attention(nn.Module):
    """Image tokens attend to image tokens and phrases; queries and keys are normalised."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.text_kv = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.q_scale = nn.Parameter(torch.ones(width // heads))
        self.k_scale = nn.Parameter(torch.ones(width // heads))

    def forward(self, x: Tensor, phrases: Tensor) -> Tensor:
        batch, tokens, width = x.shape
        query, image_kv = self.qkv(x).split([width, 2 * width], -1)
        both = torch.cat([image_kv, self.text_kv(phrases)], 1)
        query = query.reshape(batch, tokens, self.heads, -1).transpose(1, 2)
        key, value = both.view(batch, both.shape[1], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        query, key = rms(query) * self.q_scale, rms(key) * self.k_scale
        mixed = F.scaled_dot_product_attention(query, key, value)
        return self.out(mixed.transpose(1, 2).reshape(batch, tokens, width))


def rms(x: Tensor) -> Tensor:
    """x over its root mean square, along the last axis."""
    return F.rms_norm(x, (x.shape[-1],), None, 1e-6)


def modulated(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Normalised x, scaled and shifted."""
    return torch.addcmul(shift, rms(x), 1 + scale)


def zero(layer: nn.Linear) -> nn.Linear:
    """A layer that starts as the constant 0."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def waves(t: Float[Tensor, " batch"], width: int) -> Float[Tensor, "batch width"]:
    """Cosines and sines of 1000 t at geometric frequencies."""
    steps = torch.arange(width // 2, device=t.device, dtype=t.dtype) / (width // 2)
    angle = 1000 * t[:, None] * torch.exp(-log(10000) * steps)
    return torch.cat([angle.cos(), angle.sin()], -1)


def places(grid: tuple[int, int], patch: int, width: int) -> Float[Tensor, "tokens width"]:
    """Where each token's middle is, as waves: half of the channels its row, half its column."""
    rows, columns = (patch * (torch.arange(n) + 0.5) for n in grid)
    down, right = (place_waves(pixels, width // 2) for pixels in (rows, columns))
    both = [down[:, None].expand(*grid, -1), right[None].expand(*grid, -1)]
    return torch.cat(both, -1).flatten(0, 1)


def to_patches(
    x: Float[Tensor, "batch channels height width"], patch: int
) -> Float[Tensor, "batch tokens values"]:
    """Pictures as rows of patches."""
    batch, channels, height, width = x.shape
    rows, columns = height // patch, width // patch
    tiles = x.reshape(batch, channels, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5)
    return tiles.reshape(batch, rows * columns, channels * patch**2)


def to_pixels(
    tokens: Float[Tensor, "batch tokens values"], shape: tuple[int, int, int], patch: int
) -> Float[Tensor, "batch channels height width"]:
    """The inverse of `to_patches`."""
    channels, height, width = shape
    rows, columns = height // patch, width // patch
    tiles = tokens.reshape(len(tokens), rows, columns, channels, patch, patch)
    return tiles.permute(0, 3, 1, 4, 2, 5).reshape(len(tokens), *shape)


def stored(path: Path) -> dict[str, Tensor]:
    """The weights of a file in float32."""
    return {name: tensor.float() for name, tensor in load(path.read_bytes()).items()}


def fresh(shape: tuple[int, int, int], size: NetworkSize, seed: int) -> PatchTransformer:
    """A network before any training, the same for a seed; global randomness is left alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PatchTransformer(shape, size)
