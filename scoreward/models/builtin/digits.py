"""Handwritten digits as a compressed model: 32 x 32 pictures, 256 numbers for the network."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from scoreward.core.denoiser import Cond
from scoreward.data import digits as data
from scoreward.models.base import Model
from scoreward.models.builtin.vectors import VectorNetwork, VectorSize
from scoreward.models.compressed.decoders import Fista
from scoreward.models.compressed.model import Compression, compressed, compression, stored
from scoreward.models.compressed.operators import gaussian

PATH = Path(str(files("scoreward"))) / "assets" / "digits" / "model.safetensors"
SIZE = VectorSize(hidden=192, depth=3, classes=len(data.WORDS))


@dataclass(frozen=True)
class Measuring:
    """How digits are compressed.  All ours."""

    enlarged: int = 4  # 8 x 8 digits become pictures of 32 x 32
    rows: int = 256  # m, of 1,024 pixels; a digit has about 50 Haar coefficients that are not 0
    seed: int = 0  # of A
    basis: str = "haar"
    decoder: Fista = Fista(penalty=0.05, iterations=100, keep=64)

    def build(self) -> Compression:
        """The compression, standardised on the training digits."""
        images = data.load("train", self.enlarged).images
        operator = gaussian(self.rows, images[0].numel(), self.seed)
        return compression(images, operator, self.basis, self.decoder)


def untrained(measuring: Measuring, size: VectorSize = SIZE, seed: int = 0) -> Model:
    """A model of digits before any training."""
    how = measuring.build()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = VectorNetwork(how.latent, size)
    return around(how, network)


def load(path: Path = PATH, size: VectorSize = SIZE) -> Model:
    """The shipped model, or one that `scoreward export` wrote; its operator comes with it.

    Raises ValueError for a file that holds something else or a network of another size.
    """
    how, weights = stored(path)
    network = VectorNetwork(how.latent, size)
    try:
        network.load_state_dict(weights)
    except RuntimeError:
        raise ValueError(
            f"the weights in {path} are not those of {size}; give the size they were trained with"
        ) from None
    return around(how, network)


def around(how: Compression, network: VectorNetwork) -> Model:
    """Prompts are the digits' names."""
    return compressed(how, network, encode=words, null=nothing)


def words(prompts: Sequence[str]) -> Tensor:
    """1 for "zero" to 10 for "nine"."""
    return data.numbers(prompts) + 1


def nothing(cond: Cond) -> Cond:
    """The unconditional condition: 0."""
    if not isinstance(cond, Tensor):
        raise TypeError("the condition of the digits model is a tensor of numbers")
    return torch.zeros_like(cond)
