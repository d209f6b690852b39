"""Pairs for an analytic network in float64, and every preference loss written out by hand.

Two-dimensional data N(mean of the prompt, 0.25 I) on rectified flow. By hand a loss is a function
of the four errors, whose gradient autograd takes through the velocity written out below.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from scoreward.core.keys import Key
from scoreward.core.policy import DiffusionPolicy
from scoreward.objectives.pictures.diffusion_dpo import DiffusionDPO
from scoreward.objectives.pictures.diffusion_orpo import DiffusionORPO
from scoreward.objectives.pictures.diffusion_rainbow_po import DiffusionRainbowPO
from scoreward.objectives.pictures.dmpo import DMPO
from scoreward.objectives.pictures.dspo import DSPO
from scoreward.objectives.pictures.flow_dpo import FlowDPO
from scoreward.objectives.pictures.inpo import InPO
from scoreward.objectives.pictures.mapo import MaPO
from scoreward.objectives.pictures.pnapo import PNAPO
from scoreward.objectives.pictures.preference import PreferenceObjective
from scoreward.objectives.pictures.rows import PreferenceRows, Preferred
from scoreward.objectives.pictures.smpo import SmPO
from tests.core.laws import F64, real
from tests.objectives.pairing import policy

KEY = Key(("preferring",))
PROMPT = torch.tensor([0, 1, 2, 0, 1])  # of each pair
GAP = real(0.8, 0.1, 0.3, 1.4, 0.5)
BETA = 3.0


def preferred(pairs: int = 5) -> Preferred:
    """Winner, loser, winner, loser, …"""
    index = torch.arange(2 * pairs)
    x0, noise = ((KEY / name).normal(2 * pairs, 2, dtype=F64) for name in ("x0", "noise"))
    sign, gap = 1.0 - 2.0 * (index % 2).double(), GAP[:pairs].repeat_interleave(2)
    cond = PROMPT[:pairs].repeat_interleave(2)
    return Preferred(x0, cond, sign, index // 2, index, sign * gap / 2, gap, noise)


def prepared(
    objective: PreferenceObjective, using: DiffusionPolicy, samples: Preferred | None = None
) -> PreferenceRows:
    with torch.no_grad():
        return objective.ready(samples or preferred(), using, KEY / "round")


def velocity(mean: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """E[ε − x0 | x_t] for data N(mean, 0.25 I), written out."""
    keep, noise = 1 - t[:, None], t[:, None]
    spread = keep * keep / 4 + noise * noise
    clean = mean + keep / 4 / spread * (x - keep * mean)
    eps = noise / spread * (x - keep * mean)
    return eps - clean


@dataclass(frozen=True)
class FourErrors:
    """ℓ_w, ℓ_l, ℓ_ref,w, ℓ_ref,l by hand, and the squared distance of the two winners' answers."""

    w: Tensor
    l: Tensor  # noqa: E741
    rw: Tensor
    rl: Tensor
    t: Tensor
    answers: tuple[Tensor, Tensor, Tensor]  # winner, reference's winner, target

    @property
    def m(self) -> Tensor:
        return self.w - self.l - (self.rw - self.rl).detach()


def by_hand(rows: PreferenceRows, mean: Tensor, reference: Tensor) -> FourErrors:
    """From the noise and the time that the rows say; `mean` [3, 2] may carry gradients."""
    t, errors, answers = rows.t, [], []
    for means in (mean, reference):
        for picture in (rows.winner, rows.loser):
            x = (1 - t[:, None]) * picture.x0 + t[:, None] * picture.eps
            said, target = velocity(means[PROMPT], x, t), picture.eps - picture.x0
            errors.append((said - target).pow(2).sum(1) / 2)
            answers += [said, target]
    w, l, rw, rl = errors  # noqa: E741
    return FourErrors(w, l, rw, rl, t, (answers[0], answers[4], answers[1]))


def softplus(u: Tensor) -> Tensor:
    return torch.log1p(u.exp())


def psi(u: Tensor) -> Tensor:
    return u / (u.exp() - 1)


def rainbow_by_hand(e: FourErrors) -> Tensor:
    centre = (e.rw - e.rl).mean()
    x = -(e.w - e.l - 0.7 * (e.rw - e.rl) - 0.3 * centre) - 0.3 * 0.05
    phi = 10 * (2 / (1 + torch.exp(-GAP / 2)) - 1)
    return softplus(-phi * BETA / 2 * x) + 0.2 * e.w


def dspo_by_hand(e: FourErrors) -> Tensor:
    answer, first, target = e.answers
    doubt = 1 / (1 + torch.exp(-0.5 * 0.3 * e.m))
    moved = answer - first.detach()
    return (answer - target - 0.3 * doubt[:, None] * moved).pow(2).sum(1) / 2


def dmpo_by_hand(e: FourErrors) -> Tensor:
    p = 1 / (1 + torch.exp(0.5 * BETA * e.m))
    return p * (p / 0.99).log() + (1 - p) * ((1 - p) / 0.01).log()


METHODS: dict[str, tuple[PreferenceObjective, Callable[[FourErrors], Tensor]]] = {
    "diffusion_dpo": (DiffusionDPO(beta=BETA), lambda e: softplus(0.5 * BETA * e.m)),
    "diffusers": (DiffusionDPO(beta=BETA, units="diffusers_sd"), lambda e: softplus(BETA * e.m)),
    "sums": (
        DiffusionDPO(beta=BETA, units="pseudo_code"),
        lambda e: softplus(BETA * 2 * e.m),  # two elements
    ),
    "hinge": (
        DiffusionDPO(beta=2 * BETA, link="hinge"),
        lambda e: torch.clamp(1 + BETA * e.m, min=0),
    ),
    "ipo": (
        DiffusionDPO(beta=2 * BETA, link="ipo"),
        lambda e: (-e.m - 1 / (2 * BETA)) ** 2,
    ),
    "ipo_scaled": (
        DiffusionDPO(beta=2 * BETA, link="ipo_scaled"),
        lambda e: (-BETA * e.m - 0.5) ** 2,
    ),
    "flow_dpo": (FlowDPO(beta=BETA), lambda e: softplus(0.5 * BETA * e.m)),
    "flow_dpo_timed": (
        FlowDPO(beta=BETA, timed=True),
        lambda e: softplus(0.5 * BETA * (1 - e.t) ** 2 * e.m),
    ),
    "mapo": (
        MaPO(steps=20.0),
        lambda e: e.w + 0.1 * softplus(-20 * (psi(e.w / 2) - psi(e.l / 2))),
    ),
    "mapo_paper": (
        MaPO(beta=4.0, form="paper"),
        lambda e: e.w + softplus(-(psi(e.w) ** 4 - psi(e.l) ** 4)) / 4,
    ),
    "diffusion_orpo": (
        DiffusionORPO(sharpness=3.0),
        lambda e: e.w + 0.1 * softplus(-3 * (e.l - e.w)),
    ),
    "orpo_as_coded": (
        DiffusionORPO(as_coded=True),
        lambda e: e.w + 0.1 * softplus(-(e.w - e.l)),
    ),
    "dspo": (DSPO(beta=0.3), dspo_by_hand),
    "inpo": (InPO(beta=BETA), lambda e: softplus(0.5 * BETA * e.m)),
    "smpo": (
        SmPO(beta=BETA, low=0.0, high=2.0),
        lambda e: softplus(5 * BETA * (2 / (1 + torch.exp(-GAP / 2)) - 1) * e.m),
    ),
    "dmpo": (DMPO(beta=BETA), dmpo_by_hand),
    "pnapo": (
        PNAPO(beta=BETA),
        lambda e: softplus(BETA * (2 / (1 + torch.exp(-GAP)) - 1) * e.m),
    ),
    "rainbow_po": (
        DiffusionRainbowPO(beta=BETA, alpha=0.7, gamma=0.05, phi="gap", span=2.0, sft=0.2),
        rainbow_by_hand,
    ),
}
"""Every method on pairs with a loss by hand."""

AT_REFERENCE = {
    "diffusion_dpo": log(2),
    "diffusers": log(2),
    "sums": log(2),
    "hinge": 1.0,
    "ipo": 1 / (4 * BETA**2),
    "ipo_scaled": 0.25,
    "flow_dpo": log(2),
    "flow_dpo_timed": log(2),
    "inpo": log(2),
    "smpo": log(2),
    "pnapo": log(2),
    "dmpo": 1.614463,  # with a = 0.01, whatever β
}
"""The loss where the network is the reference."""


def means(using: DiffusionPolicy, which: str) -> Tensor:
    """A copy of the means of the current or the reference network."""
    reading = getattr(using, which)
    return reading.network.mean.detach().clone()


__all__ = ["policy"]
