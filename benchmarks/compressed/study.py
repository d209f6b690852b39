"""One arm of a comparison: a model on compressed or plain data, trained, measured and timed.

Every arm is an ordinary run, on the same data, with the same sampler and the same seeds; plain data
go through a compression that is the identity, so that both take the same path. Training is counted
in updates. What an update and a sample cost is measured apart, all arms in turns, and several
times, because a shared machine is never equally fast.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from scoreward.core.chain import draw, uniform
from scoreward.core.kernel import Heun
from scoreward.core.keys import Key, normal_each
from scoreward.models.base import Model
from scoreward.models.builtin.transformer import NetworkSize, PatchTransformer
from scoreward.models.builtin.vectors import VectorNetwork, VectorSize, Wordless
from scoreward.models.compressed.decoders import Decoder, Fista
from scoreward.models.compressed.model import Compression, compressed, compression
from scoreward.models.compressed.operators import Operator, gaussian
from scoreward.objectives.samples.denoising import Denoising
from scoreward.training.checkpoint import newest, read_snapshot
from scoreward.training.evaluations.pictures import Evaluation
from scoreward.training.geometry import Geometry
from scoreward.training.optimizer import Optimizer
from scoreward.training.run import Budget, Keeping, Run
from scoreward.training.sources.stored import Offline

Network = Callable[[tuple[int, ...], int], nn.Module]
"""(shape of a latent, seed) → a network."""

TEXT = 8  # channels of a prompt that says nothing
REPEATS = 5  # of every timing


@dataclass(frozen=True)
class Effort:
    """How long every arm trains and how it is measured."""

    rounds: int = 30
    updates: int = 50  # a round
    batch: int = 64
    every: int = 5  # rounds between measurements
    samples: int = 512  # of a measurement
    steps: int = 10  # Heun steps of the sampler, two network calls each but the last

    @classmethod
    def tiny(cls) -> "Effort":
        """Seconds instead of minutes: to see that everything runs."""
        return cls(rounds=2, updates=3, every=1, samples=24, steps=4)


@dataclass(frozen=True)
class Arm:
    """A name, how the data are compressed, and the network on what is left; both take a seed."""

    name: str
    how: Callable[[int], Compression]
    network: Network
    lr: float = 1e-3


@dataclass(frozen=True)
class Data:
    """What to learn and what to be measured against."""

    train: Tensor
    test: Tensor

    def validating(self) -> "Data":
        """Four fifths to learn, the rest to be measured against: to choose settings.

        Every fifth hundred is left out, so that a series is left out in all its seasons.
        """
        out = torch.arange(len(self.train)) // 100 % 5 == 4
        return Data(self.train[~out], self.train[out])


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


def plain(data: Tensor, centred: bool = False) -> Callable[[int], Compression]:
    """The identity, standardised like the others, of the difference from the mean if `centred`."""
    d = data[0].numel()
    centre = data.flatten(1).double().mean(0) if centred else torch.zeros(d, dtype=torch.float64)
    eye = Operator(torch.eye(d, dtype=torch.float64), centre)
    how = compression(data, eye, "pixel", _as_it_is, tuple(data.shape[1:]))
    return lambda seed: how


def _as_it_is(matrix: Tensor, y: Tensor) -> Tensor:
    return y


def measured(
    data: Tensor, m: int, basis: str, decoder: Decoder = Fista(0.02, 200), centred: bool = False
) -> Callable[[int], Compression]:
    """m Gaussian measurements, of the difference from the mean if `centred`."""

    def how(seed: int) -> Compression:
        operator = gaussian(m, data[0].numel(), seed)
        if centred:
            operator = Operator(operator.matrix, data.flatten(1).double().mean(0))
        return compression(data, operator, basis, decoder)

    return how


def transformer(patch: int, hidden: int = 96, depth: int = 4) -> Network:
    """The built-in network on latents of shape (channels, height, width)."""

    def network(shape: tuple[int, ...], seed: int) -> nn.Module:
        channels, height, width = shape
        size = NetworkSize(hidden=hidden, depth=depth, patch=patch, text=TEXT)
        torch.manual_seed(seed)
        return Wordless(PatchTransformer((channels, height, width), size), TEXT)

    return network


def perceptron(hidden: int = 192, depth: int = 3) -> Network:
    """The MLP on latents of any shape."""

    def network(shape: tuple[int, ...], seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return VectorNetwork(shape, VectorSize(hidden, depth))

    return network


def coefficients(data: Tensor, how: Compression, share: float) -> float:
    """Mean number of coefficients that hold this share of the energy around what is subtracted."""
    z = how.basis.coefficients(data.flatten(1).double() - how.operator.centre)
    energy = z.square().sort(1, descending=True).values.cumsum(1)
    return float(((energy < share * energy[:, -1:]).sum(1) + 1).double().mean())


def decoding(how: Compression, test: Tensor) -> float:
    """PSNR in dB of measuring and recovering held-out data: a ceiling of quality."""
    with torch.no_grad():
        found = how.decode(how.encode(test))
    error = (found - test).square().flatten(1).mean(1).clamp(min=1e-12)
    return float((-10 * error.log10()).mean())


def trained(arm: Arm, data: Data, effort: Effort, seed: int) -> tuple[dict, Tensor]:
    """(a line with the distances along the updates, samples of the averaged weights)."""
    how = arm.how(seed)
    network = arm.network(how.latent, seed)
    model, latents = _prepared(how, network, data)
    with tempfile.TemporaryDirectory() as folder:
        distances = Distances(data.train, data.test)
        run = _run(arm, model, latents, distances, effort, Path(folder) / "run", seed)
        finished = [moment.round for moment in run.start()][-1]
        if finished < effort.rounds:
            raise SystemExit(f"{arm.name} was interrupted; its run is not recorded")
        last = newest(run.folder / "checkpoints")
        if last is None:
            raise RuntimeError(f"the run of {arm.name} left no checkpoint")
        network.load_state_dict(read_snapshot(last, "ema"), strict=False)
        lines = (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [r for r in map(json.loads, lines) if r["kind"] == "evaluation"]
    line = {
        "kind": "run",
        "arm": arm.name,
        "seed": seed,
        "m": how.operator.rows,
        "d": how.operator.columns,
        "basis": how.basis.name,
        "lr": arm.lr,
        "parameters": sum(p.numel() for p in network.parameters()),
        "decoding_psnr": round(decoding(how, data.test[:64]), 2),
        "updates": [r["round"] * effort.updates for r in records],
    }
    for name in ("frechet", "sliced"):
        line[name] = [float(f"{r['ode']['distance'][name]:.5g}") for r in records]
    noise, keys = _noise(model, effort.samples, seed + 1000)
    with torch.no_grad():
        samples = model.decode(_drawn(model, effort, noise, keys))
    return line, samples


def costs(arms: Sequence[Arm], data: Data, effort: Effort) -> Iterator[dict]:
    """Processor seconds of an update and of a sample, arms in turns, `REPEATS` times."""
    built = {}
    for arm in arms:
        how = arm.how(0)
        network = arm.network(how.latent, 0)
        built[arm.name] = _prepared(how, network, data)
    few = replace(effort, rounds=3, updates=max(2, effort.updates // 4), every=100, samples=8)
    for repeat in range(REPEATS):
        for arm in arms:
            model, latents = built[arm.name]
            update = _update_seconds(arm, model, latents, few)
            network, recovery = _sample_seconds(model, effort)
            yield {
                "kind": "cost",
                "arm": arm.name,
                "repeat": repeat,
                "update": update,
                "network": network,
                "recovery": recovery,
            }


def _prepared(how: Compression, network: nn.Module, data: Data) -> tuple[Model, Tensor]:
    with torch.no_grad():
        return compressed(how, network), how.encode(data.train).float()


def _update_seconds(arm: Arm, model: Model, latents: Tensor, effort: Effort) -> float:
    """Of rounds that nothing is measured in, so all but the first and the last."""
    ends = []
    with tempfile.TemporaryDirectory() as folder:
        run = _run(arm, model, latents, lambda *_: {}, effort, Path(folder) / "run", 0)
        for moment in run.start():
            if moment.round < effort.rounds:
                ends.append(time.process_time())
    return (ends[-1] - ends[0]) / (len(ends) - 1) / effort.updates


@torch.no_grad()
def _sample_seconds(model: Model, effort: Effort) -> tuple[float, float]:
    """(processor seconds of the network, of recovery), a sample."""
    noise, keys = _noise(model, effort.batch, 0)
    began = time.process_time()
    latents = _drawn(model, effort, noise, keys)
    middle = time.process_time()
    model.decode(latents)
    return (middle - began) / len(keys), (time.process_time() - middle) / len(keys)


def _noise(model: Model, count: int, seed: int) -> tuple[Tensor, list[Key]]:
    keys = [Key(("benchmark", seed, i)) for i in range(count)]
    return normal_each(keys, model.shape), keys


@torch.no_grad()
def _drawn(model: Model, effort: Effort, noise: Tensor, keys: Sequence[Key]) -> Tensor:
    sampler, parts = uniform(Heun(), effort.steps), []
    for first in range(0, len(keys), effort.batch):
        piece = slice(first, first + effort.batch)
        parts.append(draw(sampler, model.denoiser, noise[piece], keys[piece], None))
    return torch.cat(parts)


def _run(
    arm: Arm,
    model: Model,
    latents: Tensor,
    distance: Callable[[Tensor, Sequence[str]], Mapping[str, float]],
    effort: Effort,
    folder: Path,
    seed: int,
) -> Run:
    """Pretraining, measured along the way."""
    geometry = Geometry(
        prompts=effort.updates * effort.batch,
        group=1,
        minibatches=effort.updates,
        micro_batch=effort.batch,
        rollout_batch=effort.batch,
    )
    return Run(
        name="compressed",
        model=model,
        objective=Denoising(),
        source=Offline(latents, [""] * len(latents), geometry, 0.0),
        optimizer=Optimizer(lr=arm.lr, warmup=20, ema=0.99),
        budget=Budget(rounds=effort.rounds),
        folder=folder,
        seed=seed,
        evaluation=Evaluation(
            prompts=[""] * effort.samples,
            samplers={"ode": uniform(Heun(), effort.steps)},
            scorers={"level": lambda media, prompts: media.flatten(1).mean(1)},
            tables={"distance": distance},
            every=effort.every,
            shown=8,
            spread_prompts=1,
        ),
        keeping=Keeping(every=effort.every),
    )
