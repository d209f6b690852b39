"""A model that lives on y = A x, a random compression of the media, and decodes by sparse recovery.

[csdm] Guo, Li, Tang, Yao, arXiv:2509.03898. The network sees only standardised y; `decode` finds
the sparse x that has this y. To samplers, objectives and rewards it is a model like any other.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from math import isqrt, prod
from pathlib import Path

from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from scoreward.core.denoiser import Cond
from scoreward.core.prediction import Kind
from scoreward.core.process import Process, RectifiedFlow
from scoreward.models.base import Model
from scoreward.models.compressed.bases import Basis, basis
from scoreward.models.compressed.decoders import (
    BasisPursuit,
    Decoder,
    ExactSparse,
    Fista,
    LeastSquares,
    MatchingPursuit,
    check_kept,
)
from scoreward.models.compressed.operators import Operator

DECODERS = {
    "Fista": Fista,
    "BasisPursuit": BasisPursuit,
    "MatchingPursuit": MatchingPursuit,
    "ExactSparse": ExactSparse,
    "LeastSquares": LeastSquares,
}
FORMAT = "scoreward compressed model 1"
FILE = "model.safetensors"


@dataclass(frozen=True)
class Compression:
    """Media in [0, 1] → latents of mean 0 and variance 1, and back.  [csdm] (pipeline)

    One mean and one standard deviation for all m coordinates: they must be undone before decoding,
    and any other scaling would change A.
    """

    operator: Operator
    basis: Basis
    decoder: Decoder
    latent: tuple[int, ...]  # shape of one latent
    mean: float
    std: float

    def __post_init__(self) -> None:
        if prod(self.latent) != self.operator.rows:
            raise ValueError(
                f"latents of shape {self.latent} have {prod(self.latent)} numbers, but the "
                f"operator measures {self.operator.rows}"
            )
        if prod(self.basis.shape) != self.operator.columns:
            raise ValueError(
                f"media of shape {self.basis.shape} have {prod(self.basis.shape)} numbers, but the "
                f"operator expects {self.operator.columns}"
            )
        if not self.std > 0:
            raise ValueError(f"the latents' standard deviation must be positive, got {self.std}")
        if isinstance(self.decoder, Fista | MatchingPursuit) and self.decoder.keep is not None:
            check_kept(self.decoder.keep, self.operator.matrix)
        if _boxed(self.decoder) and (self.basis.name != "pixel" or self.operator.centre.any()):
            raise ValueError(
                "bounds on coefficients are bounds on pixels only in the pixel basis and with an "
                f'operator that subtracts nothing; leave them out in the basis "{self.basis.name}"'
            )

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample of the media."""
        return self.basis.shape

    @cached_property
    def seen(self) -> Float[Tensor, "m d"]:
        """M = A Ψ, the operator in the basis."""
        return self.operator.matrix @ self.basis.matrix.to(self.operator.matrix)

    def encode(self, media: Float[Tensor, "batch *shape"]) -> Float[Tensor, "batch *latent"]:
        """Media in [0, 1] → standardised latents."""
        return ((self.operator(media.flatten(1)) - self.mean) / self.std).unflatten(1, self.latent)

    def decode(self, latents: Float[Tensor, "batch *latent"]) -> Float[Tensor, "batch *shape"]:
        """Standardised latents → media in [0, 1]."""
        return self.recovered(latents).clamp(0, 1)

    def recovered(self, latents: Float[Tensor, "batch *latent"]) -> Float[Tensor, "batch *shape"]:
        """The same before values outside of [0, 1] are cut, for data that are no pictures."""
        y = latents.flatten(1) * self.std + self.mean
        z = self.decoder(self.seen.to(y), y)
        return (self.basis.values(z) + self.operator.centre.to(y)).unflatten(1, self.shape)


def compression(
    media: Float[Tensor, "n *shape"],
    operator: Operator,
    basis_name: str = "haar",
    decoder: Decoder = Fista(),
    latent: tuple[int, ...] | None = None,
) -> Compression:
    """A compression whose mean and std are those of the data.  [csdm] (pipeline)

    Latents are squares (1, √m, √m) where m is a square, else vectors, unless `latent` says more.
    """
    shape = tuple(media.shape[1:])
    if prod(shape) != operator.columns:
        raise ValueError(
            f"media of shape {shape} have {prod(shape)} numbers, but the operator expects "
            f"{operator.columns}"
        )
    y = operator(media.flatten(1).double())
    side = isqrt(operator.rows)
    square = (1, side, side) if side**2 == operator.rows else (operator.rows,)
    return Compression(
        operator,
        basis(basis_name, shape),
        decoder,
        latent or square,
        float(y.mean()),
        float(y.std()),
    )


def without_words(prompts: Sequence[str]) -> Cond:
    """The condition of a model that takes no prompt."""
    return None


def unchanged(cond: Cond) -> Cond:
    """The unconditional condition of a model that takes no prompt."""
    return cond


def compressed(
    how: Compression,
    network: nn.Module,
    process: Process = RectifiedFlow(),
    kind: Kind = "velocity",
    encode: Callable[[Sequence[str]], Cond] = without_words,
    null: Callable[[Cond], Cond] = unchanged,
) -> Model:
    """A model on latents of this compression.  [csdm] (pipeline)

    Grey pictures come out with three equal channels, as every reward expects them.
    """

    def media(latents: Tensor) -> Tensor:
        return in_colour(how.decode(latents), how.shape)

    def store(weights: Mapping[str, Tensor], folder: Path, merged: bool) -> None:
        if merged:
            raise ValueError("a compressed model is one file already; leave out --merged")
        save(folder / FILE, how, network, weights)

    return Model(network, process, kind, how.latent, encode, media, null, save=store)


def in_colour(media: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Pictures of shape (h, w) or (1, h, w) with three channels; anything else as it is."""
    if len(shape) == 2:
        media = media[:, None]
    return media.expand(-1, 3, -1, -1) if media.ndim == 4 and media.shape[1] == 1 else media


def save(
    path: Path, how: Compression, network: nn.Module, weights: Mapping[str, Tensor] | None = None
) -> None:
    """One safetensors file: the operator, the numbers that belong to it, and the weights.

    `weights` replace the network's own of the same name. Raises ValueError for a decoder of the
    caller's own, which a file cannot hold.
    """
    name = type(how.decoder).__name__
    if DECODERS.get(name) is not type(how.decoder):
        raise ValueError(f"a file can hold one of the decoders {', '.join(DECODERS)}, not {name}")
    about = {
        "basis": how.basis.name,
        "shape": how.basis.shape,
        "latent": how.latent,
        "mean": how.mean,
        "std": how.std,
        "decoder": name,
        "settings": asdict(how.decoder),  # pyright: ignore[reportArgumentType]
    }
    operator = {"operator.matrix": how.operator.matrix, "operator.centre": how.operator.centre}
    trained = {**network.state_dict(), **(weights or {})}
    every = operator | {f"network.{n}": v for n, v in trained.items()}
    plain = {n: v.detach().cpu().contiguous() for n, v in every.items()}
    save_file(plain, path, {"format": FORMAT, "compression": json.dumps(about)})


def stored(path: Path) -> tuple[Compression, dict[str, Tensor]]:
    """The compression and the network's weights of a file that `save` wrote."""
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, FileNotFoundError) as error:
        raise ValueError(f"cannot read a compressed model from {path}: {error}") from error
    if about.get("format") != FORMAT:
        raise ValueError(
            f"{path} holds no compressed model; `save` of models/compressed.py writes one"
        )
    said = json.loads(about["compression"])
    # JSON has lists where settings have tuples
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in said["settings"].items()}
    weights = {
        n.removeprefix("network."): v for n, v in tensors.items() if n.startswith("network.")
    }
    how = Compression(
        Operator(tensors["operator.matrix"], tensors["operator.centre"]),
        basis(said["basis"], tuple(said["shape"])),
        DECODERS[said["decoder"]](**settings),
        tuple(said["latent"]),
        said["mean"],
        said["std"],
    )
    return how, weights


def _boxed(decoder: Decoder) -> bool:
    match decoder:
        case Fista(box=box):
            return box is not None
        case BasisPursuit(low=low, high=high):
            return low is not None or high is not None
    return False
