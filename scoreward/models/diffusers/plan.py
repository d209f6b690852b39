"""What a round costs in memory, computed from a model on paper.

Resident is what stays: weights, their snapshots and the optimiser's moments, the samples of a
round. Each phase adds what lives while it runs; the peak is the resident part and the largest
phase. Numbers are bytes of tensors; what rewards take, and a framework's own needs (kernels,
fragmentation, on a GPU about 1 GiB), come on top.
"""

from dataclasses import dataclass
from itertools import pairwise
from math import prod

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from scoreward.core.denoiser import Denoiser, Guided
from scoreward.core.kernel import ddim
from scoreward.core.rows import Looked
from scoreward.models.base import Model
from scoreward.models.diffusers.prompts import Pictures, Prompts
from scoreward.models.diffusers.skeleton import text_on_paper
from scoreward.models.diffusers.text import Text
from scoreward.models.measuring import bytes_of, living


@dataclass(frozen=True)
class Sizes:
    """Of a round on one device: how many rows each phase has."""

    samples: int
    prompts: int
    rollout: int  # samples drawn at once
    scored: int  # samples decoded and scored at once: whole groups
    train: int  # rows of one backward pass, as the network sees them without guidance
    stored: int  # latents kept for each sample: paths, pairs and their old answers
    snapshots: int  # copies of what trains, besides the live weights
    guidance: float


@dataclass(frozen=True)
class Memory:
    """Bytes on one device."""

    parameters: int  # numbers, not bytes
    trainable: int  # numbers, not bytes
    resident: dict[str, int]
    phases: dict[str, int]

    @property
    def peak(self) -> int:
        return sum(self.resident.values()) + max(self.phases.values())


def planned(model: Model, mode: FakeTensorMode, sizes: Sizes) -> Memory:
    """The memory of a model that was loaded without weights."""
    pictures, prompts = model.decode, model.encode
    if not isinstance(pictures, Pictures) or not isinstance(prompts, Prompts):
        raise ValueError("only models loaded from a diffusers pipeline can be planned")
    pipe, network = pictures.pipe, model.network
    with mode:
        text = text_on_paper(prompts.family, pipe, prompts.tokens)
        phases = measured(model, pictures, text, sizes)
    parts = [getattr(pipe, name, None) for name in prompts.reading]
    readers = sum(bytes_of(p) for p in parts if isinstance(p, torch.nn.Module))
    trains = bytes_of(network, trainable=True)
    row = sum(t.numel() * t.element_size() for t in vars(text).values() if t is not None)
    resident = {
        "denoiser, frozen": round((bytes_of(network) - trains) * pictures.rounded),
        "denoiser, trained": trains,
        "snapshots": sizes.snapshots * trains,
        "optimiser": 2 * trains,
        "VAE": 0 if pictures.offload else bytes_of(pipe.vae),
        "text encoders": 0 if prompts.offload else readers,  # they stay once they were asked
        "samples of a round": 4 * sizes.samples * (1 + sizes.stored) * prod(model.shape),
        "conditions of a round": sizes.prompts * row,
    }
    if pictures.offload:
        phases["decoding"] += bytes_of(pipe.vae)
    count = [p.numel() for p in network.parameters()]
    train = [p.numel() for p in network.parameters() if p.requires_grad]
    return Memory(sum(count), sum(train), resident, phases)


def measured(model: Model, pictures: Pictures, text: Text, sizes: Sizes) -> dict[str, int]:
    """Bytes that live at most while samples are drawn, decoded and trained on."""
    denoiser: Denoiser = model.denoiser
    if sizes.guidance != 1:
        denoiser = Guided(denoiser, sizes.guidance, lambda cond: cond)

    def noise(rows: int) -> tuple[Tensor, Looked]:
        return torch.zeros(rows, *model.shape), Looked(text, torch.zeros(rows, dtype=torch.long))

    def rollout() -> None:
        x, cond = noise(sizes.rollout)
        with torch.no_grad():
            for t, s in pairwise((1.0, 0.7, 0.4)):
                now, then = (x.new_full((len(x),), time) for time in (t, s))
                x = ddim()(denoiser(x, now, cond), then).mean

    def decoding() -> None:
        with torch.no_grad():
            pictures(noise(sizes.scored)[0])

    def training() -> None:
        x, cond = noise(sizes.train)
        answer = denoiser(x, torch.full((sizes.train,), 0.5), cond).as_(model.kind)
        (answer - x).square().flatten(1).mean(1).mean().backward()

    found = {}
    for work in (rollout, decoding, training):
        with living(model.network, pictures.pipe.vae) as counted:
            work()
        found[work.__name__] = counted.peak
    for parameter in model.network.parameters():
        parameter.grad = None
    return found
