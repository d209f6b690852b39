"""One arm of a comparison: a model on compressed or plain data, trained, timed and measured.

Every arm is an ordinary run, on the same data, with the same sampler and the same seeds; plain data
go through a compression that is the identity, so that both take the same path.
"""

import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from scoreward.chain import draw, uniform
from scoreward.kernel import Heun
from scoreward.keys import Key, normal_each
from scoreward.models.base import Model
from scoreward.models.compressed import Compression, compressed, compression
from scoreward.models.transformer import NetworkSize, PatchTransformer
from scoreward.models.vectors import VectorNetwork, VectorSize, Wordless
from scoreward.objectives.denoising import Denoising
from scoreward.recovery.decoders import Decoder, Fista
from scoreward.recovery.operators import Operator, gaussian
from scoreward.training.checkpoint import newest, read_snapshot
from scoreward.training.evaluation import Evaluation
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.source import Offline

TEXT = 8  # channels of a prompt that says nothing


@dataclass(frozen=True)
class Effort:
    """How long every arm trains and how it is measured."""

    rounds: int = 40
    updates: int = 50  # a round
    batch: int = 64
    every: int = 5  # rounds between measurements
    samples: int = 256  # of a measurement
    steps: int = 20  # Heun steps of the sampler, two network calls each

    @classmethod
    def tiny(cls) -> "Effort":
        """Seconds instead of minutes: to see that everything runs."""
        return cls(rounds=2, updates=3, every=1, samples=24, steps=4)


@dataclass(frozen=True)
class Arm:
    """A name, how the data are compressed, and the network on what is left."""

    name: str
    how: Compression
    network: nn.Module


class Distances:
    """Fréchet distance of the leading 24 components, and sliced W₂, both to held-out data.

    The last is the root mean square over 128 directions; both are 0 for the same samples only.
    """

    def __init__(self, train: Tensor, test: Tensor) -> None:
        flat = train.flatten(1).double()
        self.centre, count = flat.mean(0), min(24, len(flat) - 1, flat.shape[1])
        self.axes = torch.linalg.svd(flat - self.centre, full_matrices=False).Vh[:count].T
        self.test, self.mean, self.root = test.flatten(1).double(), *self._moments(test)
        directions = Key(("slices",)).normal(flat.shape[1], 128, dtype=torch.float64)
        self.directions = directions / directions.norm(dim=0)

    def _moments(self, media: Tensor) -> tuple[Tensor, Tensor]:
        z = (media.flatten(1).double() - self.centre) @ self.axes
        return z.mean(0), torch.cov(z.T)

    def __call__(self, media: Tensor, prompts: Sequence[str]) -> Mapping[str, float]:
        if media.ndim == 4 and media.shape[1] == 3:
            media = media[:, :1]  # grey
        mean, cov = self._moments(media)
        values = torch.linalg.eigvals(cov @ self.root).real.clamp(min=0).sqrt().sum()
        frechet = (mean - self.mean).square().sum() + cov.trace() + self.root.trace() - 2 * values
        return {"frechet": max(0.0, float(frechet)), "sliced": self.sliced(media)}

    def sliced(self, media: Tensor) -> float:
        """Root mean square over directions of one-dimensional W₂."""
        grid = (torch.arange(200, dtype=torch.float64) + 0.5) / 200
        ours, theirs = (
            torch.quantile(x.flatten(1).double() @ self.directions, grid, dim=0)
            for x in (media, self.test)
        )
        return float((ours - theirs).square().mean().sqrt())


def plain(data: Tensor) -> Compression:
    """The identity, standardised like the others."""
    d = data[0].numel()
    eye = Operator(torch.eye(d, dtype=torch.float64), torch.zeros(d, dtype=torch.float64))
    shape = tuple(data.shape[1:])
    return compression(data, eye, "pixel", _as_it_is, shape)


def _as_it_is(matrix: Tensor, y: Tensor) -> Tensor:
    return y


def measured(
    data: Tensor, m: int, basis: str, decoder: Decoder = Fista(0.02, 200), centred: bool = False
) -> Compression:
    """m Gaussian measurements, of the difference from the mean if `centred`."""
    d = data[0].numel()
    operator = gaussian(m, d)
    if centred:
        operator = Operator(operator.matrix, data.flatten(1).double().mean(0))
    return compression(data, operator, basis, decoder)


def transformer(shape: tuple[int, ...], patch: int, hidden: int = 96, depth: int = 4) -> nn.Module:
    """The built-in network on latents of shape (channels, height, width)."""
    channels, height, width = shape
    size = NetworkSize(hidden=hidden, depth=depth, patch=patch, text=TEXT)
    torch.manual_seed(0)
    return Wordless(PatchTransformer((channels, height, width), size), TEXT)


def perceptron(shape: tuple[int, ...], hidden: int, depth: int = 3) -> nn.Module:
    """The MLP on latents of any shape."""
    torch.manual_seed(0)
    return VectorNetwork(shape, VectorSize(hidden, depth))


def coefficients(data: Tensor, how: Compression, share: float) -> float:
    """Mean number of coefficients that hold this share of the energy around what is subtracted."""
    z = how.basis.coefficients(data.flatten(1).double() - how.operator.centre)
    energy = z.square().sort(1, descending=True).values.cumsum(1)
    return float(((energy < share * energy[:, -1:]).sum(1) + 1).double().mean())


def decoding(arm: Arm, test: Tensor) -> float:
    """PSNR in dB of measuring and recovering held-out data: a ceiling of quality."""
    with torch.no_grad():
        found = arm.how.decode(arm.how.encode(test))
    error = (found - test).square().flatten(1).mean(1).clamp(min=1e-12)
    return float((-10 * error.log10()).mean())


def run_arm(arm: Arm, train: Tensor, test: Tensor, effort: Effort) -> tuple[dict, Tensor]:
    """(everything that is reported of an arm, samples of its averaged weights)."""
    model = compressed(arm.how, arm.network)
    with torch.no_grad():
        latents = arm.how.encode(train).float()
    with tempfile.TemporaryDirectory() as folder:
        run = _run(arm.name, model, latents, Distances(train, test), effort, Path(folder) / "run")
        for _ in run.start():
            pass
        last = newest(run.folder / "checkpoints")
        if last is None:
            raise RuntimeError(f"the run of {arm.name} left no checkpoint")
        arm.network.load_state_dict(read_snapshot(last, "ema"), strict=False)
        lines = (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [r for r in map(json.loads, lines) if r["kind"] == "evaluation"]
    curve = [{"seconds": r["seconds"], **r["ode"]["distance"]} for r in records]
    sampling, recovery, samples = timed(model, effort)
    line = {
        "arm": arm.name,
        "m": arm.how.operator.rows,
        "d": arm.how.operator.columns,
        "basis": arm.how.basis.name,
        "parameters": sum(p.numel() for p in arm.network.parameters()),
        "decoding_psnr": decoding(arm, test[:64]),
        "sampling_seconds": sampling,
        "recovery_seconds": recovery,
        "curve": curve,
    }
    return line, samples


def _run(
    name: str, model: Model, latents: Tensor, distance: Distances, effort: Effort, folder: Path
) -> Run:
    """Pretraining, measured along the way."""
    geometry = Geometry(
        prompts=effort.updates * effort.batch,
        group=1,
        minibatches=effort.updates,
        micro_batch=effort.batch,
        rollout_batch=effort.batch,
    )
    sampler = uniform(Heun(), effort.steps)
    return Run(
        name=name,
        model=model,
        objective=Denoising(),
        source=Offline(latents, [""] * len(latents), geometry, 0.0),
        optimizer=Optimizer(lr=1e-3, warmup=20, decay="linear", ema=0.99),
        budget=Budget(rounds=effort.rounds),
        folder=folder,
        evaluation=Evaluation(
            prompts=[""] * effort.samples,
            samplers={"ode": sampler},
            scorers={"level": lambda media, prompts: media.flatten(1).mean(1)},
            tables={"distance": distance},
            every=effort.every,
            shown=8,
            spread_prompts=1,
        ),
        keeping=Keeping(every=effort.every),
    )


@torch.no_grad()
def timed(model: Model, effort: Effort) -> tuple[float, float, Tensor]:
    """(processor seconds of the network and of recovery, per sample; the media)."""
    keys = [Key(("benchmark", i)) for i in range(effort.samples)]
    noise, sampler = normal_each(keys, model.shape), uniform(Heun(), effort.steps)
    draw(sampler, model.denoiser, noise[:4], keys[:4], None)  # warm
    began, latents = time.process_time(), []
    for first in range(0, len(keys), effort.batch):
        piece = slice(first, first + effort.batch)
        latents.append(draw(sampler, model.denoiser, noise[piece], keys[piece], None))
    middle = time.process_time()
    media = torch.cat([model.decode(part) for part in latents])
    end = time.process_time()
    return (middle - began) / len(keys), (end - middle) / len(keys), media


def write(path: Path, lines: Sequence[Mapping]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def report(lines: Sequence[Mapping]) -> None:
    """A Markdown table."""
    print("| arm | m of d | parameters | PSNR of recovery | training s | ms per sample | "
          "of it recovery | Fréchet | sliced W2 |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|")
    for r in lines:
        last, spent = r["curve"][-1], r["sampling_seconds"] + r["recovery_seconds"]
        print(
            f"| {r['arm']} | {r['m']} of {r['d']} | {r['parameters'] / 1e6:.2f} M "
            f"| {r['decoding_psnr']:.1f} | {last['seconds']:.0f} | {1000 * spent:.2f} "
            f"| {1000 * r['recovery_seconds']:.2f} | {last['frechet']:.4g} | {last['sliced']:.4g} |"
        )
